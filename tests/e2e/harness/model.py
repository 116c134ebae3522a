"""What the API must show after a sequence of answered requests.

The model is told every request that was answered with success and whose task succeeded, and computes
what the Describe Actions must answer. It knows nothing of how clbd does it. What clbd chooses itself
(ids, VIPs, generated names, times) is taken over when first seen and must never change afterwards.
"""

import copy
import re

LISTENER_DEFAULTS = {
    "listenerName": "",
    "sessionExpire": 0,
    "healthSwitch": 1,
    "timeOut": 2,
    "intervalTime": 5,
    "healthNum": 3,
    "unhealthNum": 3,
}
TCP_DEFAULTS = {**LISTENER_DEFAULTS, "scheduler": "wrr"}
HTTP_DEFAULTS = {**LISTENER_DEFAULTS, "httpHash": "wrr", "httpCode": 31, "httpCheckPath": "/"}
RULE_DEFAULTS = {
    "httpHash": "wrr",
    "sessionExpire": 0,
    "healthSwitch": 1,
    "timeOut": 2,
    "intervalTime": 5,
    "healthNum": 3,
    "unhealthNum": 3,
    "httpCode": 31,
    "httpCheckPath": "/",
    "httpCheckDomain": "",
    "httpCheckMethod": "GET",
}
_NUMBERS = {"sessionExpire", "healthSwitch", "timeOut", "intervalTime", "healthNum", "unhealthNum", "httpCode"}
_INDEXED = re.compile(r"^([A-Za-z]+)\.(\d+)(?:\.([A-Za-z]+))?$")
_MODIFIER = re.compile(r"^(\^~|~\*|~|=|)[ \t]*(.*)$", re.DOTALL)


def rows(params, name):
    """The elements of an array parameter in the order of their indexes: strings or dicts."""
    found = {}
    for key, value in params.items():
        match = _INDEXED.match(key)
        if not match or match[1] != name or value == "":
            continue
        if match[3] is None:
            found[int(match[2])] = value
        else:
            found.setdefault(int(match[2]), {})[match[3]] = value
    return [found[index] for index in sorted(found)]


def _given(fields, defaults):
    given = {name: fields[name] for name in defaults if name in fields}
    return {name: int(value) if name in _NUMBERS else value for name, value in given.items()}


def defaults_of(protocol):
    """The settings of a classic listener."""
    return HTTP_DEFAULTS if protocol == 1 else TCP_DEFAULTS


def _domain_key(domain):
    return domain if domain.startswith("~") else domain.lower()


def _url(url):
    """As it is answered: only a first / is added."""
    return url if url.startswith(("/", "=", "~", "^~")) else "/" + url


def _url_key(url):
    return _MODIFIER.match(_url(url)).groups()


def _target(backend):
    return backend.get("eniIp") or backend["instanceId"], int(backend["port"])


def _bind(bound, params):
    for backend in rows(params, "backends"):
        target = _target(backend)
        bound[target] = int(backend["weight"]) if "weight" in backend else bound.get(target, 10)


def _weigh(bound, params):
    for backend in rows(params, "backends"):
        assert _target(backend) in bound, (params, bound)
        bound[_target(backend)] = int(backend.get("weight", 10))


def _moved(bound, params):
    """Each keeps its place in the order of binding."""
    moves = {_target(backend): backend for backend in rows(params, "backends")}
    assert set(moves) <= set(bound), (params, bound)
    moved = {}
    for target, weight in bound.items():
        backend = moves.get(target)
        place = target if backend is None else (target[0], int(backend["newPort"]))
        moved[place] = weight if backend is None else int(backend.get("weight", weight))
    return moved


def _end_redirect(rule):
    for field in ("targetuListenerId", "targetuLocationId", "bAutoCreated"):
        rule.pop(field, None)


class Model:
    """`balancers`: id to {"attributes", "listeners": {id: fields}, "backends": {id: weight}}, in order of creation.

    Listeners of application-based instances have "rules", a list of fields with "backends": {(name, port): weight}; those
    of TCP have such "backends" themselves.
    """

    def __init__(self):
        self.balancers = {}

    def copy(self):
        return copy.deepcopy(self)

    def __eq__(self, other):
        return self.view() == other.view()

    def view(self):
        """Plain lists, so that order counts when two are compared."""

        def listener(fields):
            rules = [{**rule, "backends": list(rule["backends"].items())} for rule in fields.get("rules", [])]
            return {**fields, "rules": rules, "backends": list(fields.get("backends", {}).items())}

        return [
            (name, entry["attributes"], [(one, listener(fields)) for one, fields in entry["listeners"].items()], list(entry["backends"].items()))
            for name, entry in sorted(self.balancers.items())
        ]

    def _entry(self, params):
        return self.balancers[params.get("loadBalancerId") or params["loadBalanceId"]]

    def apply(self, action, params, answer):
        """One answered request. `params`: a dict of dotted names, values as text; empty is absent."""
        params = {name: value for name, value in params.items() if value != ""}
        handler = getattr(self, f"_{action}", None)
        if handler:
            handler(params, answer)

    def _CreateLoadBalancer(self, params, answer):
        for index, name in enumerate(next(iter(answer["unLoadBalancerIds"].values()))):
            attributes = {"loadBalancerType": int(params["loadBalancerType"]), "forward": int(params.get("forward", 0))}
            attributes["projectId"] = int(params.get("projectId", 0))
            wanted = params.get("loadBalancerName")
            if wanted and index == 0 and not any(e["attributes"].get("loadBalancerName") == wanted for e in self.balancers.values()):
                attributes["loadBalancerName"] = wanted
            self.balancers[name] = {"attributes": attributes, "listeners": {}, "backends": {}}

    def _DeleteLoadBalancers(self, params, _):
        for name in rows(params, "loadBalancerIds"):
            self.balancers.pop(name, None)

    def _ModifyLoadBalancerAttributes(self, params, _):
        attributes = self._entry(params)["attributes"]
        if "loadBalancerName" in params:
            attributes["loadBalancerName"] = params["loadBalancerName"]
        if "domainPrefix" in params:
            attributes["domain"] = params["domainPrefix"] + ".clb.internal"

    # Classic instances

    def _CreateLoadBalancerListeners(self, params, answer):
        listeners = self._entry(params)["listeners"]
        wanted = rows(params, "listeners")
        assert len(wanted) == len(answer["listenerIds"]), (params, answer)
        for name, fields in zip(answer["listenerIds"], wanted):
            protocol = int(fields["protocol"])
            listeners[name] = {
                "loadBalancerPort": int(fields["loadBalancerPort"]),
                "instancePort": int(fields["instancePort"]),
                "protocol": protocol,
                **defaults_of(protocol),
                **_given(fields, defaults_of(protocol)),
            }

    def _ModifyLoadBalancerListener(self, params, _):
        listener = self._entry(params)["listeners"][params["listenerId"]]
        listener.update(_given(params, defaults_of(listener["protocol"])))

    def _DeleteLoadBalancerListeners(self, params, _):
        for name in rows(params, "listenerIds"):
            self._entry(params)["listeners"].pop(name, None)

    def _ModifyLBHealth(self, params, _):
        fields = {"healthSwitch": int(params["switch"])}
        fields |= {name: int(params[name]) for name in ("timeOut", "intervalTime", "healthNum", "unhealthNum")}
        for listener in self._entry(params)["listeners"].values():
            listener.update(fields)

    def _RegisterInstancesWithLoadBalancer(self, params, _):
        bound = self._entry(params)["backends"]
        for backend in rows(params, "backends"):
            name = backend["instanceId"]
            bound[name] = int(backend["weight"]) if "weight" in backend else bound.get(name, 10)

    def _ModifyLoadBalancerBackends(self, params, _):
        for backend in rows(params, "backends"):
            self._entry(params)["backends"][backend["instanceId"]] = int(backend["weight"])

    def _DeregisterInstancesFromLoadBalancer(self, params, _):
        for backend in rows(params, "backends"):
            self._entry(params)["backends"].pop(backend["instanceId"])

    # Application-based instances

    def _ModifyForwardLBName(self, params, _):
        self._entry(params)["attributes"]["loadBalancerName"] = params["loadBalancerName"]

    def _CreateForwardLBSeventhLayerListeners(self, params, answer):
        listeners = self._entry(params)["listeners"]
        wanted = rows(params, "listeners")
        assert len(wanted) == len(answer["listenerIds"]), (params, answer)
        for name, fields in zip(answer["listenerIds"], wanted):
            listeners[name] = {
                "loadBalancerPort": int(fields["loadBalancerPort"]),
                "protocol": int(fields["protocol"]),
                "listenerName": fields.get("listenerName", ""),
                "rules": [],
            }

    def _DeleteForwardLBListener(self, params, _):
        for name in [params["listenerId"]] if "listenerId" in params else rows(params, "listenerIds"):
            listener = self._entry(params)["listeners"].pop(name, {})
            self._forget_redirects_to(params, listener.get("rules", []))

    def _CreateForwardLBFourthLayerListeners(self, params, answer):
        listeners = self._entry(params)["listeners"]
        wanted = rows(params, "listeners")
        assert len(wanted) == len(answer["listenerIds"]), (params, answer)
        for name, fields in zip(answer["listenerIds"], wanted):
            place = {"loadBalancerPort": int(fields["loadBalancerPort"]), "protocol": int(fields["protocol"])}
            listeners[name] = {**place, **TCP_DEFAULTS, **_given(fields, TCP_DEFAULTS), "backends": {}}

    def _listener(self, params):
        return self._entry(params)["listeners"][params["listenerId"]]

    def _ModifyForwardLBFourthListener(self, params, _):
        self._listener(params).update(_given(params, TCP_DEFAULTS))

    def _RegisterInstancesWithForwardLBFourthListener(self, params, _):
        _bind(self._listener(params)["backends"], params)

    def _ModifyForwardFourthBackendsWeight(self, params, _):
        _weigh(self._listener(params)["backends"], params)

    def _ModifyForwardFourthBackendsPort(self, params, _):
        listener = self._listener(params)
        listener["backends"] = _moved(listener["backends"], params)

    def _DeregisterInstancesFromForwardLBFourthListener(self, params, _):
        for backend in rows(params, "backends"):
            self._listener(params)["backends"].pop(_target(backend))

    def _all_rules(self, params):
        return [rule for listener in self._entry(params)["listeners"].values() for rule in listener.get("rules", [])]

    def _forget_redirects_to(self, params, gone):
        """Redirects go with the rule that they lead to."""
        ids = {rule["locationId"] for rule in gone}
        for rule in self._all_rules(params):
            if rule.get("targetuLocationId") in ids:
                _end_redirect(rule)

    def _ManualRewrite(self, params, _):
        by_id = {rule["locationId"]: rule for rule in self._all_rules(params)}
        for pair in rows(params, "rewriteInfo"):
            to = {"targetuListenerId": params["targetuListenerId"], "targetuLocationId": pair["targetLocation"], "bAutoCreated": 0}
            by_id[pair["sourceLocation"]].update(to)

    def _DeleteRewrite(self, params, _):
        by_id = {rule["locationId"]: rule for rule in self._all_rules(params)}
        for pair in rows(params, "delRewriteInfo"):
            _end_redirect(by_id[pair["sourceLocation"]])

    def _rules(self, params):
        return self._entry(params)["listeners"][params["listenerId"]]["rules"]

    def _selected(self, params):
        ids = rows(params, "locationIds")
        return [
            rule
            for rule in self._rules(params)
            if (not ids or rule["locationId"] in ids)
            and ("domain" not in params or _domain_key(params["domain"]) == _domain_key(rule["domain"]))
            and ("url" not in params or _url_key(params["url"]) == _url_key(rule["url"]))
        ]

    def _CreateForwardLBListenerRules(self, params, _):
        for fields in rows(params, "rules"):
            rule = {"locationId": None, "domain": fields["domain"], "url": _url(fields["url"]), "backends": {}}
            self._rules(params).append({**rule, **RULE_DEFAULTS, **_given(fields, RULE_DEFAULTS)})

    def _ModifyForwardLBRulesDomain(self, params, _):
        for rule in self._rules(params):
            if _domain_key(rule["domain"]) == _domain_key(params["domain"]):
                rule["domain"] = params["newDomain"]

    def _ModifyLoadBalancerRulesProbe(self, params, _):
        (rule,) = [rule for rule in self._rules(params) if rule["locationId"] == params["locationId"]]
        if "url" in params:
            rule["url"] = _url(params["url"])
        rule.update(_given(params, RULE_DEFAULTS))

    def _DeleteForwardLBListenerRules(self, params, _):
        gone = self._selected(params)
        for rule in gone:
            self._rules(params).remove(rule)
        self._forget_redirects_to(params, gone)

    def _RegisterInstancesWithForwardLBSeventhListener(self, params, _):
        for rule in self._selected(params):
            _bind(rule["backends"], params)

    def _ModifyForwardSeventhBackends(self, params, _):
        for rule in self._selected(params):
            _weigh(rule["backends"], params)

    def _ModifyForwardSeventhBackendsPort(self, params, _):
        for rule in self._selected(params):
            rule["backends"] = _moved(rule["backends"], params)

    def _DeregisterInstancesFromForwardLB(self, params, _):
        for rule in self._selected(params):
            for backend in rows(params, "backends"):
                rule["backends"].pop(_target(backend), None)

    def adopt(self, seen):
        """Takes over from `seen` what clbd chose: attributes, and the ids of rules."""
        for name, entry in self.balancers.items():
            if name not in seen.balancers:
                continue
            for field, value in seen.balancers[name]["attributes"].items():
                entry["attributes"].setdefault(field, value)
            for listener, fields in entry["listeners"].items():
                ids = {
                    (rule["domain"], rule["url"]): rule["locationId"]
                    for rule in seen.balancers[name]["listeners"].get(listener, {}).get("rules", [])
                }
                for rule in fields.get("rules", []):
                    if rule["locationId"] is None:
                        rule["locationId"] = ids.get((rule["domain"], rule["url"]))


ATTRIBUTES = ("loadBalancerType", "forward", "projectId", "loadBalancerName", "domain", "loadBalancerVips", "createTime")
LISTENER_FIELDS = ("loadBalancerPort", "instancePort", "protocol")
FORWARD_FIELDS = ("loadBalancerPort", "protocol", "listenerName")


def _observe_application(api, name, entry):
    backends = {}
    for listener in api.call("DescribeForwardLBBackends", {"loadBalancerId": name})["data"]:
        for pool in listener.get("rules", [listener]):
            bound = {(row["unInstanceId"] or row["lanIp"], row["port"]): row["weight"] for row in pool["backends"]}
            backends[pool.get("locationId") or pool["listenerId"]] = bound
    for listener in api.forward_listeners(name):
        of_listener = {field: listener[field] for field in FORWARD_FIELDS}
        if "rules" in listener:
            of_listener["rules"] = [{**rule, "backends": backends.pop(rule["locationId"])} for rule in listener["rules"]]
        else:
            of_listener |= {field: listener[field] for field in TCP_DEFAULTS}
            of_listener["backends"] = backends.pop(listener["listenerId"])
        entry["listeners"][listener["listenerId"]] = of_listener
    assert not backends, f"backends of rules that do not exist: {backends}"


def observe(api):
    """What the Describe Actions of a gateway answer now, as a Model."""
    seen = Model()
    offset, total = 0, 1
    while offset < total:
        page = {"forward": -1, "offset": offset, "limit": 100, "orderBy": "createTime", "orderType": 0}
        answer = api.call("DescribeLoadBalancers", page)
        total = answer["totalCount"]
        for row in answer["loadBalancerSet"]:
            entry = {"attributes": {field: row[field] for field in ATTRIBUTES}, "listeners": {}, "backends": {}}
            seen.balancers[row["loadBalancerId"]] = entry
            if row["forward"] == 1:
                _observe_application(api, row["loadBalancerId"], entry)
                continue
            for listener in api.listeners(row["loadBalancerId"]):
                fields = (*LISTENER_FIELDS, *defaults_of(listener["protocol"]))
                entry["listeners"][listener["listenerId"]] = {field: listener.get(field) for field in fields}
            for backend in api.backends(row["loadBalancerId"]):
                entry["backends"][backend["instanceId"]] = backend["weight"]
        if not answer["loadBalancerSet"]:
            break
        offset += len(answer["loadBalancerSet"])
    return seen


def difference(expected, seen):
    """The differing instances of two models, for an error message; "" if there are none."""
    one, other = ({name: rest for name, *rest in model.view()} for model in (expected, seen))
    lines = [f"{name}:\n  expected {one.get(name)}\n  seen     {other.get(name)}" for name in sorted({**one, **other}) if one.get(name) != other.get(name)]
    return "\n".join(lines)
