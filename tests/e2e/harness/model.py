"""What the API must show after a sequence of answered requests, for classic instances.

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
    "scheduler": "wrr",
}
_NUMBERS = {"sessionExpire", "healthSwitch", "timeOut", "intervalTime", "healthNum", "unhealthNum"}
_INDEXED = re.compile(r"^([A-Za-z]+)\.(\d+)(?:\.([A-Za-z]+))?$")


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


class Model:
    """`balancers`: id to {"attributes", "listeners": {id: fields}, "backends": {id: weight}}, in order of creation."""

    def __init__(self):
        self.balancers = {}

    def copy(self):
        return copy.deepcopy(self)

    def __eq__(self, other):
        return self.view() == other.view()

    def view(self):
        """Plain lists, so that order counts when two are compared."""
        return [
            (name, entry["attributes"], list(entry["listeners"].items()), list(entry["backends"].items()))
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

    def _CreateLoadBalancerListeners(self, params, answer):
        listeners = self._entry(params)["listeners"]
        wanted = rows(params, "listeners")
        assert len(wanted) == len(answer["listenerIds"]), (params, answer)
        for name, fields in zip(answer["listenerIds"], wanted):
            listeners[name] = {
                "loadBalancerPort": int(fields["loadBalancerPort"]),
                "instancePort": int(fields["instancePort"]),
                "protocol": int(fields["protocol"]),
                **LISTENER_DEFAULTS,
                **self._given(fields),
            }

    def _ModifyLoadBalancerListener(self, params, _):
        self._entry(params)["listeners"][params["listenerId"]].update(self._given(params))

    @staticmethod
    def _given(fields):
        given = {name: fields[name] for name in LISTENER_DEFAULTS if name in fields}
        return {name: int(value) if name in _NUMBERS else value for name, value in given.items()}

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

    def adopt(self, seen):
        """Takes over from `seen` the attributes that clbd chose."""
        for name, entry in self.balancers.items():
            if name in seen.balancers:
                for field, value in seen.balancers[name]["attributes"].items():
                    entry["attributes"].setdefault(field, value)


ATTRIBUTES = ("loadBalancerType", "forward", "projectId", "loadBalancerName", "domain", "loadBalancerVips", "createTime")
LISTENER_FIELDS = ("loadBalancerPort", "instancePort", "protocol", *LISTENER_DEFAULTS)


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
                continue
            for listener in api.listeners(row["loadBalancerId"]):
                entry["listeners"][listener["listenerId"]] = {field: listener.get(field) for field in LISTENER_FIELDS}
            for backend in api.backends(row["loadBalancerId"]):
                entry["backends"][backend["instanceId"]] = backend["weight"]
        if not answer["loadBalancerSet"]:
            break
        offset += len(answer["loadBalancerSet"])
    return seen


def difference(expected, seen):
    """The differing instances of two models, for an error message; "" if there are none."""
    lines = []
    for name in sorted({**expected.balancers, **seen.balancers}):
        one, other = expected.balancers.get(name), seen.balancers.get(name)
        same = one == other and list(one["listeners"]) == list(other["listeners"]) and list(one["backends"]) == list(other["backends"]) if one and other else False
        if not same:
            lines.append(f"{name}:\n  expected {one}\n  seen     {other}")
    return "\n".join(lines)
