"""Valid requests drawn at random from what a model says is possible now."""

READS = [
    ("InquiryLBPrice", {"loadBalancerType": "2", "timeUnit": "h"}),
    ("DescribeLoadBalancers", {"forward": "-1", "limit": "5", "orderBy": "domain", "orderType": "0", "searchKey": "a"}),
    ("DescribeLoadBalancers", {"loadBalancerType": "2", "withRs": "1", "projectId": "0", "offset": "1"}),
    ("DescribeLoadBalancersTaskResult", {"requestId": "1"}),
]
READS_OF_ONE = [
    ("DescribeLoadBalancerListeners", {"protocol": "2", "offset": "0", "limit": "4"}),
    ("DescribeLoadBalancerBackends", {"offset": "0", "limit": "4"}),
    ("DescribeLBHealthStatus", {}),
]


class Changes:
    """Draws changes of classic instances.

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
            action, params = self.rng.choice(READS_OF_ONE)
            return action, {"loadBalancerId": self.rng.choice(sorted(balancers)), **params}
        action, params = self.rng.choice(READS)
        return action, dict(params)

    def change(self, balancers):
        """(Action, parameters as a dict of dotted names)."""
        rng = self.rng
        if not balancers or (len(balancers) < self.most and rng.random() < 0.15):
            return "CreateLoadBalancer", {"loadBalancerType": "2", "loadBalancerName": self.name()}
        name = rng.choice(sorted(balancers))
        entry = balancers[name]
        taken = {listener["loadBalancerPort"] for listener in entry["listeners"].values()}
        free = [port for port in self.ports if port not in taken]
        choices = ["rename", "bind"]
        choices += ["listen"] if free else []
        choices += ["modify", "unlisten"] if entry["listeners"] else []
        choices += ["weight", "unbind"] if entry["backends"] else []
        choices += ["delete"] if len(balancers) > 2 else []
        action, params = getattr(self, f"_{rng.choice(choices)}")(name, entry, free)
        return action, params

    def conflict(self, balancers):
        """A listener on a port that has one; a plain change if there is no listener yet."""
        name = next((name for name, entry in balancers.items() if entry["listeners"]), None)
        if name is None:
            return self.change(balancers)
        taken = next(iter(balancers[name]["listeners"].values()))["loadBalancerPort"]
        return self._listen(name, None, [taken])

    def _rename(self, name, _entry, _free):
        return "ModifyLoadBalancerAttributes", {"loadBalancerId": name, "loadBalancerName": self.name()}

    def _listen(self, name, _entry, free):
        params = {"loadBalancerId": name}
        for index, port in enumerate(self.rng.sample(free, min(len(free), self.rng.randint(1, 3)))):
            fields = {"loadBalancerPort": port, "instancePort": 9, "protocol": 2, "healthSwitch": 0}
            params |= {f"listeners.{index}.{field}": str(value) for field, value in fields.items()}
        return "CreateLoadBalancerListeners", params

    def _modify(self, name, entry, _free):
        change = {"listenerName": f"n{self.rng.getrandbits(32):x}", "intervalTime": str(self.rng.randint(60, 300))}
        change |= self.rng.choice([{}, {"scheduler": "least_conn", "sessionExpire": "0"}, {"scheduler": "wrr", "sessionExpire": "30"}])
        return "ModifyLoadBalancerListener", {"loadBalancerId": name, "listenerId": self.rng.choice(list(entry["listeners"])), **change}

    def _unlisten(self, name, entry, _free):
        return "DeleteLoadBalancerListeners", {"loadBalancerId": name, "listenerIds.0": self.rng.choice(list(entry["listeners"]))}

    def _bind(self, name, _entry, _free):
        params = {"loadBalancerId": name}
        for index, address in enumerate(self.rng.sample(self.addresses, self.rng.randint(1, 3))):
            params |= {f"backends.{index}.instanceId": address, f"backends.{index}.weight": str(self.rng.randint(0, 100))}
        return "RegisterInstancesWithLoadBalancer", params

    def _weight(self, name, entry, _free):
        bound = self.rng.choice(list(entry["backends"]))
        weight = str(self.rng.randint(0, 100))
        return "ModifyLoadBalancerBackends", {"loadBalancerId": name, "backends.0.instanceId": bound, "backends.0.weight": weight}

    def _unbind(self, name, entry, _free):
        bound = self.rng.choice(list(entry["backends"]))
        return "DeregisterInstancesFromLoadBalancer", {"loadBalancerId": name, "backends.0.instanceId": bound}

    def _delete(self, name, _entry, _free):
        return "DeleteLoadBalancers", {"loadBalancerIds.0": name}
