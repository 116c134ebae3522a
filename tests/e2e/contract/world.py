"""A gateway that has one of everything, and for each Action a request that it takes."""

import contextlib

from harness.certs import Authority
from harness.web import get

from .table import indexed

SITE, OTHER = "www.example.com", "www.example.org"
# What must stand beside a parameter so that the rules across parameters hold (actions.md B.3).
BESIDE = {"timeOut": {"intervalTime": "300"}, "intervalTime": {"timeOut": "2"}}
# Ports of the VIP that no other listener of the world has.
PORTS = iter(range(20000, 30000))


class World:
    """Instances of both families with listeners, rules, backends, certificates and a redirect."""

    def __init__(self, gateway):
        self.api = gateway.api()
        self.port = gateway.port()
        self.bound, self.unbound = "ins-1234test", gateway.backend_address(5)
        self.lan_ip = gateway.backend_address(1)
        authority = Authority(gateway.folder / "ca")
        self.authority, self.pair = authority, authority.pair("www")
        self.upload = self.pair.upload()
        self.ca = {"certCaContent": authority.certificate, "certCaName": "ca"}
        self._classic()
        self._application()
        self.certificate = self.api.listeners(self.classic)[2]["certId"]

    @staticmethod
    def configure(gateway):
        gateway.config["instances"] = [{"id": "ins-1234test", "ip": gateway.backend_address(1), "name": "web-1", "wan_ips": ["203.0.113.5"]}]
        gateway.write_config()

    def _classic(self):
        api = self.api
        self.classic, self.vip = api.create_load_balancer()
        self.private, _ = api.create_load_balancer(3)
        self.tcp = api.create_listener(self.classic, next(PORTS), self.port)
        self.http = api.create_listener(self.classic, next(PORTS), self.port, protocol=1)
        self.https = api.create_listener(self.classic, next(PORTS), self.port, protocol=4, SSLMode="mutual", **self.upload, **self.ca)
        api.bind(self.classic, {self.bound: 10})

    def _application(self):
        api = self.api
        self.application, _ = api.create_application()
        self.spare, _ = api.create_application()
        port = next(PORTS)
        self.seventh = api.create_http(self.application, port)
        self.secure = api.create_http(self.application, 443, protocol=4, SSLMode="mutual", **self.upload, **self.ca)
        self.rules = api.create_rules(self.application, self.seventh, (SITE, "/"), (SITE, "/a"), (OTHER, "/b"))
        self.secure_rules = api.create_rules(self.application, self.secure, (SITE, "/"), (SITE, "/a"))
        self.register(self.seventh, "RegisterInstancesWithForwardLBSeventhListener")
        answer = api.done("CreateForwardLBFourthLayerListeners", flat(self._CreateForwardLBFourthLayerListeners(None)))
        self.fourth = answer["listenerIds"][0]
        self.register(self.fourth, "RegisterInstancesWithForwardLBFourthListener")
        # The last rule is redirected; the others have backends.
        self.redirect = {"sourceLocation": self.rules[2], "targetLocation": self.secure_rules[1]}
        self.api.done("ManualRewrite", self._rewrite("rewriteInfo", self.redirect))
        # So that the log has a row.
        get((api.load_balancer(self.application)["loadBalancerVips"][0], port), SITE)

    def register(self, listener, action, **more):
        self.api.done(action, {"loadBalancerId": self.application, "listenerId": listener, "backends": [{"instanceId": self.bound, "port": self.port}], **more})

    def _rewrite(self, name, pair):
        return {"loadBalancerId": self.application, "sourceuListenerId": self.seventh, "targetuListenerId": self.secure, name: [pair]}

    # Requests, flat, as the table names parameters.

    NEEDS_OTHERS = {"filter.n.key": "_log_filtered", "namespace": "_monitored_in", "dimensions.n.name": "_monitored_by"}
    """Parameters whose value decides what must stand beside them, and what makes such a request."""

    def request(self, action, param=None, value=""):
        """A request of this Action that is taken; with `param`, one that is taken with this value of it."""
        request = flat(getattr(self, f"_{action.name}")(param))
        if param is None:
            return request
        for last, text in BESIDE.get(param.last, {}).items():
            request[sibling(param, last)] = text
        if value == "unidirectional":
            request = {name: text for name, text in request.items() if "certCa" not in name}
        if param.last == "protocol" and value == "4" and action.writes:
            https = {"SSLMode": "unidirectional", **self.upload}
            request |= {sibling(param, last): text for last, text in https.items()}
        if param.name in self.NEEDS_OTHERS:
            request = flat(getattr(self, self.NEEDS_OTHERS[param.name])(value))
        return {**request, param.first: value}

    @contextlib.contextmanager
    def room(self, action):
        """Takes away what a request has made."""
        before = self._instances() if action.name == "CreateLoadBalancer" else None
        yield
        if before is not None:
            made = [name for name in self._instances() if name not in before]
            if made:
                self.api.done("DeleteLoadBalancers", {"loadBalancerIds": made})

    def _instances(self):
        # At most 100 are answered at once; the world has a few.
        found = self.api.call("DescribeLoadBalancers", {"forward": -1, "limit": 100})["loadBalancerSet"]
        return [one["loadBalancerId"] for one in found]

    def _of(self, listener, **more):
        balancer = self.classic if listener in (self.tcp, self.http, self.https) else self.application
        return {"loadBalancerId": balancer, "listenerId": listener, **more}

    def _InquiryLBPrice(self, _):
        return {"loadBalancerType": 2}

    def _CreateLoadBalancer(self, _):
        return {"loadBalancerType": 2}

    def _DescribeLoadBalancers(self, _):
        return {}

    def _DeleteLoadBalancers(self, _):
        return {"loadBalancerIds": [self.api.create_load_balancer()[0]]}

    def _DescribeLoadBalancersTaskResult(self, _):
        return {"requestId": self.api.done("ModifyLoadBalancerAttributes", {"loadBalancerId": self.classic})["requestId"]}

    def _GetCertListWithLoadBalancer(self, _):
        return {"certIds": [self.certificate]}

    def _DescribeLoadBalancerLog(self, param):
        request = {"loadBalancerId": self.application}
        if param and param.name == "filter.n.value":
            request["filter"] = [{"key": "server_name"}]
        return request

    def _log_filtered(self, key):
        value = {"status": "200", "remote_addr": "127.0.0.1"}.get(key.removesuffix("_not"), "1")
        pair = {"request_time_less_than": "request_time_greater_than", "request_time_greater_than": "request_time_less_than"}
        more = [{"key": pair[key], "value": "0"}] if key in pair else []
        return {"loadBalancerId": self.application, "filter": [{"key": key, "value": value}, *more]}

    def _GetMonitorData(self, _):
        vip = self.api.load_balancer(self.application)["loadBalancerVips"][0]
        return {"namespace": "qce/loadbalance", "metricName": "QPS", "dimensions": [{"name": "vip", "value": vip}], "startTime": "2026-1-1 0:0:0", "endTime": "2026-01-01 01:00:00"}

    def _monitored_in(self, namespace):
        balancer = self.private if namespace.endswith("private") else self.classic
        vip = self.api.load_balancer(balancer)["loadBalancerVips"][0]
        return {**self._GetMonitorData(None), "namespace": namespace, "metricName": "connum", "dimensions": [{"name": "vip", "value": vip}]}

    def _monitored_by(self, name):
        request = self._GetMonitorData(None)
        (vip,) = request["dimensions"]
        listener = next(one for one in self.api.forward_listeners(self.application) if one["listenerId"] == self.seventh)
        lb = self.api.load_balancer(self.application)
        sets = [
            ("vip", vip["value"]), ("loadBalancerPort", listener["loadBalancerPort"]), ("protocol", "http"), ("domain", SITE), ("url", "/"),
            ("vpcId", lb["vpcId"]), ("lanIp", self.lan_ip), ("port", self.port),
        ]  # fmt: skip
        needed = {"vip": 1, "loadBalancerPort": 3, "protocol": 3, "domain": 4, "url": 5, "vpcId": 7, "lanIp": 7, "port": 8}[name]
        chosen = sets[:needed]
        chosen.sort(key=lambda pair: pair[0] != name)
        return {**request, "dimensions": [{"name": key, "value": value} for key, value in chosen]}

    def _ReplaceCert(self, param):
        if param and param.last.startswith("newCert") and param.last != "newCertId":
            return {"oldCertId": self.certificate, "newCertContent": self.pair.certificate, "newCertKey": self.pair.key, "newCertName": "www"}
        return {"oldCertId": self.certificate, "newCertId": self.certificate}

    def _ModifyLoadBalancerAttributes(self, _):
        return {"loadBalancerId": self.classic}

    def _listener(self, param, classic):
        """What a listener has that can have `param`."""
        last = param.last if param else ""
        port = {"loadBalancerPort": next(PORTS), **({"instancePort": self.port} if classic else {})}
        if last == "SSLMode" or last.lower().startswith("cert"):
            return {**port, "protocol": 4, "SSLMode": "mutual", **self.upload, **self.ca}
        return {**port, "protocol": 1 if last.startswith("http") or not classic else 2}

    def _CreateLoadBalancerListeners(self, param):
        return {"loadBalancerId": self.classic, "listeners": [self._listener(param, True)]}

    def _DescribeLoadBalancerListeners(self, _):
        return {"loadBalancerId": self.classic}

    def _ModifyLoadBalancerListener(self, param):
        last = param.last if param else ""
        if last == "SSLMode" or last.startswith("cert"):
            return self._of(self.https, SSLMode="mutual", **self.upload, **self.ca)
        return self._of(self.http if last.startswith("http") else self.tcp)

    def _DeleteLoadBalancerListeners(self, _):
        return {"loadBalancerId": self.classic, "listenerIds": [self.api.create_listener(self.classic, next(PORTS), self.port)]}

    def _RegisterInstancesWithLoadBalancer(self, _):
        return {"loadBalancerId": self.classic, "backends": [{"instanceId": self.bound}]}

    def _DescribeLoadBalancerBackends(self, _):
        return {"loadBalancerId": self.classic}

    def _ModifyLoadBalancerBackends(self, _):
        return {"loadBalancerId": self.classic, "backends": [{"instanceId": self.bound, "weight": 10}]}

    def _DeregisterInstancesFromLoadBalancer(self, _):
        self.api.bind(self.classic, {self.unbound: 1})
        return {"loadBalancerId": self.classic, "backends": [{"instanceId": self.unbound}]}

    def _DescribeLBHealthStatus(self, _):
        return {"loadBalancerId": self.classic}

    def _DescribeLoadBalancersByInstances(self, _):
        return {"backendInstanceName": "web-1"}

    def _DescribeLBHealth(self, _):
        return {"loadBalancerId": self.classic}

    def _ModifyLBHealth(self, _):
        return {"loadBalancerId": self.classic, "switch": 1, "timeOut": 4, "intervalTime": 5, "healthNum": 3, "unhealthNum": 3}

    def _ModifyForwardLBName(self, _):
        return {"loadBalancerId": self.application, "loadBalancerName": "name"}

    def _DescribeForwardLBListeners(self, _):
        return {"loadBalancerId": self.application}

    def _CreateForwardLBSeventhLayerListeners(self, param):
        return {"loadBalancerId": self.application, "listeners": [self._listener(param, False)]}

    def _ModifyForwardLBSeventhListener(self, param):
        last = param.last if param else ""
        if last == "SSLMode" or last.startswith("cert"):
            return self._of(self.secure, SSLMode="mutual", **self.upload, **self.ca)
        return self._of(self.seventh)

    def _CreateForwardLBFourthLayerListeners(self, param):
        # Elsewhere the ends of the range of ports may be taken.
        return {"loadBalancerId": self.spare if param else self.application, "listeners": [{"loadBalancerPort": next(PORTS), "protocol": 2}]}

    def _ModifyForwardLBFourthListener(self, _):
        return self._of(self.fourth)

    def _DeleteForwardLBListener(self, _):
        return self._of(self.api.create_http(self.application, next(PORTS)))

    def _CreateForwardLBListenerRules(self, _):
        return self._of(self.seventh, rules=[{"domain": f"d{next(PORTS)}.example.com", "url": "/"}])

    def _ModifyForwardLBRulesDomain(self, _):
        domain = f"d{next(PORTS)}.example.com"
        self.api.create_rules(self.application, self.seventh, (domain, "/"))
        return self._of(self.seventh, domain=domain, newDomain=f"new.{domain}")

    def _ModifyLoadBalancerRulesProbe(self, _):
        return self._of(self.seventh, locationId=self.rules[0])

    def _DeleteForwardLBListenerRules(self, _):
        return self._of(self.seventh, locationIds=self.api.create_rules(self.application, self.seventh, (f"d{next(PORTS)}.example.com", "/")))

    def _DescribeForwardLBHealthStatus(self, _):
        return {"loadBalancerIds": [self.application]}

    def _DescribeForwardLBBackends(self, _):
        return {"loadBalancerId": self.application}

    def _RegisterInstancesWithForwardLBSeventhListener(self, _):
        return self._rule_backends()

    def _rule_backends(self, backend=None, rule=0, **more):
        one = {"instanceId": backend or self.bound, "port": self.port, **more}
        return self._of(self.seventh, locationIds=[self.rules[rule]], backends=[one])

    def _spare_rule_backend(self):
        self.api.done("RegisterInstancesWithForwardLBSeventhListener", self._rule_backends(self.unbound, 1))
        return self._rule_backends(self.unbound, 1)

    def _DeregisterInstancesFromForwardLB(self, _):
        return self._spare_rule_backend()

    def _ModifyForwardSeventhBackendsPort(self, _):
        request = self._spare_rule_backend()
        request["backends"][0]["newPort"] = next(PORTS)
        return request

    def _ModifyForwardSeventhBackends(self, _):
        return self._rule_backends()

    def _listener_backends(self, backend=None, **more):
        return self._of(self.fourth, backends=[{"instanceId": backend or self.bound, "port": self.port, **more}])

    def _spare_listener_backend(self):
        self.api.done("RegisterInstancesWithForwardLBFourthListener", self._listener_backends(self.unbound))
        return self._listener_backends(self.unbound)

    def _RegisterInstancesWithForwardLBFourthListener(self, _):
        return self._listener_backends()

    def _DeregisterInstancesFromForwardLBFourthListener(self, _):
        return self._spare_listener_backend()

    def _ModifyForwardFourthBackendsPort(self, _):
        request = self._spare_listener_backend()
        request["backends"][0]["newPort"] = next(PORTS)
        return request

    def _ModifyForwardFourthBackendsWeight(self, _):
        return self._listener_backends(weight=10)

    def _DescribeRewrite(self, _):
        return {}

    def _ManualRewrite(self, _):
        return self._rewrite("rewriteInfo", self.redirect)

    def _AutoRewrite(self, _):
        return {"loadBalancerId": self.application, "listenerId": self.secure}

    def _DeleteRewrite(self, _):
        self.api.done("ManualRewrite", self._ManualRewrite(None))
        return self._rewrite("delRewriteInfo", self.redirect)


def flat(value, prefix=""):
    """Nested lists and dicts as the API's names with dots."""
    if isinstance(value, dict):
        return {name: text for key, inner in value.items() for name, text in flat(inner, f"{prefix}{key}.").items()}
    if isinstance(value, list):
        return {name: text for index, inner in enumerate(value) for name, text in flat(inner, f"{prefix}{index}.").items()}
    return {prefix.rstrip("."): str(value)}


def sibling(param, last):
    """The name of another parameter of the same element."""
    head, dot, _ = indexed(param.name, 0).rpartition(".")
    return f"{head}{dot}{last}"
