"""Valid requests drawn at random from what a model says is possible now."""

READS = [
    ("InquiryLBPrice", {"loadBalancerType": "2", "timeUnit": "h"}),
    ("DescribeLoadBalancers", {"forward": "-1", "limit": "5", "orderBy": "domain", "orderType": "0", "searchKey": "a"}),
    ("DescribeLoadBalancers", {"loadBalancerType": "2", "withRs": "1", "projectId": "0", "offset": "1"}),
    ("DescribeLoadBalancersTaskResult", {"requestId": "1"}),
]
READS_OF_CLASSIC = [
    ("DescribeLoadBalancerListeners", {"protocol": "2", "offset": "0", "limit": "4"}),
    ("DescribeLoadBalancerBackends", {"offset": "0", "limit": "4"}),
    ("DescribeLBHealthStatus", {}),
]
READS_OF_APPLICATION = [
    ("DescribeForwardLBListeners", {"protocol": "1", "offset": "0", "limit": "4"}),
    ("DescribeForwardLBBackends", {"loadBalancerPort": "80"}),
    ("DescribeForwardLBHealthStatus", {}),
]
DOMAINS = ["www.a.com", "WWW.b.com", "*.c.com", "www.d.*", r"~^e\d+\.com$", ".f.com"]
URLS = ["/", "/x", "y", "= /z", "^~ /static", r"~ \.php$", r"~* \.(gif|jpg)$"]


def numbered(array, elements):
    """Dotted names for an array of dicts."""
    return {f"{array}.{index}.{field}": str(value) for index, fields in enumerate(elements) for field, value in fields.items()}


class Changes:
    """Draws changes of instances of both families.

    `tag` begins every name that is given, so that an instance tells whose it is. `addresses`: what may
    be bound; `ports`: where listeners may be made.
    """

    def __init__(self, rng, tag, addresses, ports, most=4):
        self.rng = rng
        self.tag = tag
        self.addresses = addresses
        self.ports = ports
        self.most = most

    def name(self):
        return f"{self.tag}-{self.rng.getrandbits(48):x}"

    def read(self, balancers):
        if balancers and self.rng.random() < 0.5:
            name = self.rng.choice(sorted(balancers))
            forward = balancers[name]["attributes"]["forward"]
            action, params = self.rng.choice(READS_OF_APPLICATION if forward else READS_OF_CLASSIC)
            return action, {"loadBalancerId": name, **params}
        action, params = self.rng.choice(READS)
        return action, dict(params)

    def change(self, balancers):
        """(Action, parameters as a dict of dotted names)."""
        rng = self.rng
        if not balancers or (len(balancers) < self.most and rng.random() < 0.15):
            forward = {"forward": str(rng.randint(0, 1))}
            return "CreateLoadBalancer", {"loadBalancerType": "2", "loadBalancerName": self.name(), **forward}
        name = rng.choice(sorted(balancers))
        entry = balancers[name]
        taken = {listener["loadBalancerPort"] for listener in entry["listeners"].values()}
        free = [port for port in self.ports if port not in taken]
        draw = self._of_application if entry["attributes"]["forward"] else self._of_classic
        choices = draw(entry, free) + (["delete"] if len(balancers) > 2 else [])
        return getattr(self, f"_{rng.choice(choices)}")(name, entry, free)

    def conflict(self, balancers):
        """A listener on a port that has one; a plain change if there is no listener yet."""
        name = next((name for name, entry in balancers.items() if entry["listeners"]), None)
        if name is None:
            return self.change(balancers)
        taken = next(iter(balancers[name]["listeners"].values()))["loadBalancerPort"]
        listen = self._listen_http if balancers[name]["attributes"]["forward"] else self._listen
        return listen(name, None, [taken])

    def _delete(self, name, _entry, _free):
        return "DeleteLoadBalancers", {"loadBalancerIds.0": name}

    # Classic instances

    @staticmethod
    def _of_classic(entry, free):
        choices = ["rename", "bind"]
        choices += ["listen"] if free else []
        choices += ["modify", "unlisten"] if entry["listeners"] else []
        choices += ["weight", "unbind"] if entry["backends"] else []
        return choices

    def _rename(self, name, _entry, _free):
        return "ModifyLoadBalancerAttributes", {"loadBalancerId": name, "loadBalancerName": self.name()}

    def _listen(self, name, _entry, free):
        listeners = []
        for port in self.rng.sample(free, min(len(free), self.rng.randint(1, 3))):
            of_protocol = self.rng.choice([{"protocol": 2}, {"protocol": 1, "httpHash": "ip_hash", "httpCode": 6}])
            listeners.append({"loadBalancerPort": port, "instancePort": 9, "healthSwitch": 0, **of_protocol})
        return "CreateLoadBalancerListeners", {"loadBalancerId": name, **numbered("listeners", listeners)}

    def _modify(self, name, entry, _free):
        listener = self.rng.choice(list(entry["listeners"]))
        scheduler = "httpHash" if entry["listeners"][listener]["protocol"] == 1 else "scheduler"
        change = {"listenerName": f"n{self.rng.getrandbits(32):x}", "intervalTime": str(self.rng.randint(60, 300))}
        change |= self.rng.choice([{}, {scheduler: "least_conn", "sessionExpire": "0"}, {scheduler: "wrr", "sessionExpire": "30"}])
        return "ModifyLoadBalancerListener", {"loadBalancerId": name, "listenerId": listener, **change}

    def _unlisten(self, name, entry, _free):
        return "DeleteLoadBalancerListeners", {"loadBalancerId": name, "listenerIds.0": self.rng.choice(list(entry["listeners"]))}

    def _bind(self, name, _entry, _free):
        addresses = self.rng.sample(self.addresses, self.rng.randint(1, 3))
        backends = [{"instanceId": address, "weight": self.rng.randint(0, 100)} for address in addresses]
        return "RegisterInstancesWithLoadBalancer", {"loadBalancerId": name, **numbered("backends", backends)}

    def _weight(self, name, entry, _free):
        bound = self.rng.choice(list(entry["backends"]))
        weight = str(self.rng.randint(0, 100))
        return "ModifyLoadBalancerBackends", {"loadBalancerId": name, "backends.0.instanceId": bound, "backends.0.weight": weight}

    def _unbind(self, name, entry, _free):
        bound = self.rng.choice(list(entry["backends"]))
        return "DeregisterInstancesFromLoadBalancer", {"loadBalancerId": name, "backends.0.instanceId": bound}

    # Application-based instances

    def _of_application(self, entry, free):
        listeners = self._seventh(entry).values()
        choices = ["rename_forward"]
        choices += ["listen_http"] * 2 + ["listen_tcp"] if free else []
        choices += ["unlisten_http"] if entry["listeners"] else []
        choices += ["rules"] * 4 if listeners else []
        choices += ["modify_tcp"] + ["bind_tcp"] * 2 if self._fourth(entry) else []
        choices += ["weight_tcp", "move_tcp", "unbind_tcp"] if any(listener["backends"] for listener in self._fourth(entry).values()) else []
        choices += ["redirect"] * 2 if self._redirectable(entry) else []
        choices += ["unredirect"] if self._redirected(entry) else []
        choices += ["domain", "unrule"] + ["bind_rules"] * 3 if any(listener["rules"] for listener in listeners) else []
        # Rules tell their ids in lists only.
        choices += ["probe"] * 2 if any(rule["locationId"] for listener in listeners for rule in listener["rules"]) else []
        bound = any(rule["backends"] for listener in listeners for rule in listener["rules"])
        choices += ["weight_rules", "move_rules", "unbind_rules"] if bound else []
        return choices

    @staticmethod
    def _seventh(entry):
        return {name: listener for name, listener in entry["listeners"].items() if "rules" in listener}

    @staticmethod
    def _fourth(entry):
        return {name: listener for name, listener in entry["listeners"].items() if "rules" not in listener}

    def _redirected(self, entry):
        """(listener, rule) of each rule that is redirected; rules tell their ids in lists only."""
        return [(name, rule) for name, listener in self._seventh(entry).items() for rule in listener["rules"] if "targetuLocationId" in rule]

    def _redirectable(self, entry):
        """Pairs of (listener, rule) that can become a redirect: of two listeners, and neither a chain nor a loop."""
        rules = [(name, rule) for name, listener in self._seventh(entry).items() for rule in listener["rules"] if rule["locationId"]]
        targets = {rule.get("targetuLocationId") for _, rule in rules}
        free = [(name, rule) for name, rule in rules if "targetuLocationId" not in rule]
        sources = [(name, rule) for name, rule in free if rule["locationId"] not in targets]
        return [(source, target) for source in sources[:4] for target in free[-4:] if source[0] != target[0]]

    def _redirect(self, name, entry, _free):
        (source_listener, source), (target_listener, target) = self.rng.choice(self._redirectable(entry))
        listeners = {"sourceuListenerId": source_listener, "targetuListenerId": target_listener}
        pair = {"sourceLocation": source["locationId"], "targetLocation": target["locationId"]}
        return "ManualRewrite", {"loadBalancerId": name, **listeners, **numbered("rewriteInfo", [pair])}

    def _unredirect(self, name, entry, _free):
        listener, rule = self.rng.choice(self._redirected(entry))
        listeners = {"sourceuListenerId": listener, "targetuListenerId": rule["targetuListenerId"]}
        pair = {"sourceLocation": rule["locationId"], "targetLocation": rule["targetuLocationId"]}
        return "DeleteRewrite", {"loadBalancerId": name, **listeners, **numbered("delRewriteInfo", [pair])}

    def _listen_tcp(self, name, _entry, free):
        listener = {"loadBalancerPort": self.rng.choice(free), "protocol": 2, "healthSwitch": 0}
        listener |= self.rng.choice([{}, {"scheduler": "least_conn"}, {"sessionExpire": 30, "listenerName": "tcp"}])
        return "CreateForwardLBFourthLayerListeners", {"loadBalancerId": name, **numbered("listeners", [listener])}

    def _modify_tcp(self, name, entry, _free):
        change = {"listenerName": f"n{self.rng.getrandbits(32):x}", "intervalTime": str(self.rng.randint(60, 300))}
        change |= self.rng.choice([{}, {"scheduler": "least_conn", "sessionExpire": "0"}, {"scheduler": "wrr", "sessionExpire": "30"}])
        listener = self.rng.choice(list(self._fourth(entry)))
        return "ModifyForwardLBFourthListener", {"loadBalancerId": name, "listenerId": listener, **change}

    def _bind_tcp(self, name, entry, _free):
        listener = {"loadBalancerId": name, "listenerId": self.rng.choice(list(self._fourth(entry)))}
        return "RegisterInstancesWithForwardLBFourthListener", {**listener, **numbered("backends", self._some_backends())}

    def _bound_tcp(self, name, entry):
        bound = [(listener, target) for listener, fields in self._fourth(entry).items() for target in fields["backends"]]
        listener, (address, port) = self.rng.choice(bound)
        return {"loadBalancerId": name, "listenerId": listener}, {"instanceId": address, "port": port}

    def _weight_tcp(self, name, entry, _free):
        place, target = self._bound_tcp(name, entry)
        backends = [{**target, "weight": self.rng.randint(0, 100)}]
        return "ModifyForwardFourthBackendsWeight", {**place, **numbered("backends", backends)}

    def _move_tcp(self, name, entry, _free):
        place, target = self._bound_tcp(name, entry)
        backends = [{**target, "newPort": self.rng.randint(10000, 60000)}]
        return "ModifyForwardFourthBackendsPort", {**place, **numbered("backends", backends)}

    def _unbind_tcp(self, name, entry, _free):
        place, target = self._bound_tcp(name, entry)
        return "DeregisterInstancesFromForwardLBFourthListener", {**place, **numbered("backends", [target])}

    def _rename_forward(self, name, _entry, _free):
        return "ModifyForwardLBName", {"loadBalancerId": name, "loadBalancerName": self.name()}

    def _listen_http(self, name, _entry, free):
        ports = self.rng.sample(free, min(len(free), self.rng.randint(1, 2)))
        listeners = [{"loadBalancerPort": port, "protocol": 1} for port in ports]
        return "CreateForwardLBSeventhLayerListeners", {"loadBalancerId": name, **numbered("listeners", listeners)}

    def _unlisten_http(self, name, entry, _free):
        return "DeleteForwardLBListener", {"loadBalancerId": name, "listenerId": self.rng.choice(list(entry["listeners"]))}

    def _rules(self, name, entry, _free):
        listener = self.rng.choice(list(self._seventh(entry)))
        taken = {(rule["domain"].lower(), rule["url"]) for rule in entry["listeners"][listener]["rules"]}
        places = [(d, u) for d in DOMAINS for u in URLS if (d.lower(), u if u.startswith(("/", "=", "~", "^")) else "/" + u) not in taken]
        rules = []
        for domain, url in self.rng.sample(places, min(len(places), self.rng.randint(1, 3))):
            more = self.rng.choice([{}, {"httpHash": "ip_hash", "httpCode": 3}, {"sessionExpire": 30, "httpCheckDomain": "up.a.com"}])
            rules.append({"domain": domain, "url": url, "healthSwitch": 0, **more})
        if not rules:
            return self._rename_forward(name, entry, None)
        return "CreateForwardLBListenerRules", {"loadBalancerId": name, "listenerId": listener, **numbered("rules", rules)}

    def _rule(self, name, entry, wanted=lambda rule: True):
        """The ids of a rule of which something is wanted, and the rule."""
        found = [(listener, rule) for listener, fields in self._seventh(entry).items() for rule in fields["rules"] if wanted(rule)]
        listener, rule = self.rng.choice(found)
        return {"loadBalancerId": name, "listenerId": listener}, rule

    def _domain(self, name, entry, _free):
        listener, rule = self._rule(name, entry)
        # A domain that no rule has yet.
        return "ModifyForwardLBRulesDomain", {**listener, "domain": rule["domain"], "newDomain": f"h{self.rng.getrandbits(40):x}.com"}

    def _probe(self, name, entry, _free):
        listener, rule = self._rule(name, entry, lambda rule: rule["locationId"])
        change = self.rng.choice(
            [
                {"url": f"/p{self.rng.getrandbits(40):x}", "intervalTime": str(self.rng.randint(60, 300)), "timeOut": "9"},
                {"httpHash": "least_conn", "sessionExpire": "0"},
                {"httpHash": "wrr", "sessionExpire": "3600", "httpCheckMethod": "HEAD"},
                {},
            ]
        )
        return "ModifyLoadBalancerRulesProbe", {**listener, "locationId": rule["locationId"], **change}

    def _selection(self, rule):
        """Conditions that the rule fulfils."""
        by_place = {"domain": rule["domain"], "url": rule["url"]}
        if not rule["locationId"]:
            return by_place
        return self.rng.choice([{"locationIds.0": rule["locationId"]}, by_place, {"locationIds.0": rule["locationId"], **by_place}])

    def _unrule(self, name, entry, _free):
        listener, rule = self._rule(name, entry)
        return "DeleteForwardLBListenerRules", {**listener, **self._selection(rule)}

    def _bind_rules(self, name, entry, _free):
        listener, rule = self._rule(name, entry)
        select = self._selection(rule) if self.rng.random() < 0.7 else {}
        return "RegisterInstancesWithForwardLBSeventhListener", {**listener, **select, **numbered("backends", self._some_backends())}

    def _some_backends(self):
        backends = []
        for address in self.rng.sample(self.addresses, self.rng.randint(1, 3)):
            weight = self.rng.choice([{}, {"weight": self.rng.randint(0, 100)}])
            backends.append({self.rng.choice(["instanceId", "eniIp"]): address, "port": self.rng.randint(9000, 9002), **weight})
        return backends

    def _bound(self, name, entry):
        listener, rule = self._rule(name, entry, lambda rule: rule["backends"])
        address, port = self.rng.choice(list(rule["backends"]))
        return {**listener, **self._selection(rule)}, {"instanceId": address, "port": port}

    def _weight_rules(self, name, entry, _free):
        place, target = self._bound(name, entry)
        backends = [{**target, "weight": self.rng.randint(0, 100)}]
        return "ModifyForwardSeventhBackends", {**place, **numbered("backends", backends)}

    def _move_rules(self, name, entry, _free):
        place, target = self._bound(name, entry)
        backends = [{**target, "newPort": self.rng.randint(10000, 60000)}]
        return "ModifyForwardSeventhBackendsPort", {**place, **numbered("backends", backends)}

    def _unbind_rules(self, name, entry, _free):
        place, target = self._bound(name, entry)
        return "DeregisterInstancesFromForwardLB", {**place, **numbered("backends", [target])}
