"""Many clients that read and change the same few instances at once, each in its own rhythm.

Every process of a crowd runs this file with what it is to do on its standard input, and prints what was
answered. Changes are asynchronous ones: their requestId tells in which order the gateway took them.
"""

import json
import math
import pathlib
import random
import subprocess
import sys
import threading
import time

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness import model
from harness.api import Api, Key

# One process of threads would wait for itself more than for the gateway.
CLIENTS_PER_PROCESS = 25
PLACES = [(f"h{number}.example", f"/{path}") for number in range(8) for path in ("", "a", "b")]


def _element(array, **fields):
    return {f"{array}.0.{name}": str(value) for name, value in fields.items()}


class Client(threading.Thread):
    """Asks at random moments, on average `rate` times a second, until `end`."""

    def __init__(self, plan, seed, end):
        super().__init__(daemon=True)
        self.rng = random.Random(seed)
        self.plan, self.end = plan, end
        self.api = Api(tuple(plan["address"]), plan["certificate"], Key(*plan["key"]))
        self.reads, self.changes, self.refusals, self.error = [], [], {}, None

    def run(self):
        try:
            while (wait := self.rng.expovariate(self.plan["rate"])) < self.end - time.monotonic():
                time.sleep(wait)
                (self._read if self.rng.random() < self.plan["reads"] else self._change)()
        except Exception as error:
            self.error = f"{type(error).__name__}: {error}"
        finally:
            self.api.close()

    def _read(self):
        classic = {"loadBalancerId": self.rng.choice(self.plan["classic"])}
        lb, listener = self.rng.choice(self.plan["web"])
        action, params = self.rng.choice(
            [
                ("DescribeLoadBalancers", {"forward": "-1"}),
                ("DescribeLoadBalancerListeners", classic),
                ("DescribeLoadBalancerBackends", classic),
                ("DescribeLBHealthStatus", classic),
                ("DescribeForwardLBListeners", {"loadBalancerId": lb}),
                ("DescribeForwardLBBackends", {"loadBalancerId": lb, "listenerIds.0": listener}),
                ("DescribeForwardLBHealthStatus", {"loadBalancerIds.0": lb}),
            ]
        )
        began = time.monotonic()
        self.api.call(action, params)
        self.reads.append(round((time.monotonic() - began) * 1000, 3))

    def _change(self):
        action, params = self._of_classic() if self.rng.random() < 0.3 else self._of_rules()
        answer = self.api.answer(action, params)
        if answer["code"] == 0:
            self.changes.append((answer["requestId"], action, params, answer))
        elif answer["code"] in (4000, 5000, 5100):
            # Another client was first.
            self.refusals[action] = self.refusals.get(action, 0) + 1
        else:
            raise AssertionError(f"{action} {params}: {answer}")

    def _of_classic(self):
        own = {"loadBalancerId": self.rng.choice(self.plan["classic"])}
        backend = {"instanceId": self.rng.choice(self.plan["backends"])}
        weighed = {**own, **_element("backends", **backend, weight=self.rng.randint(0, 100))}
        return self.rng.choice(
            [
                ("RegisterInstancesWithLoadBalancer", weighed),
                ("ModifyLoadBalancerBackends", weighed),
                ("DeregisterInstancesFromLoadBalancer", {**own, **_element("backends", **backend)}),
                ("CreateLoadBalancerListeners", {**own, **self._listener()}),
            ]
        )

    def _listener(self):
        port = self.rng.choice(self.plan["ports"])
        return _element("listeners", loadBalancerPort=port, instancePort=9, protocol=2, healthSwitch=0)

    def _of_rules(self):
        lb, listener = self.rng.choice(self.plan["web"])
        domain, url = self.rng.choice(PLACES)
        own = {"loadBalancerId": lb, "listenerId": listener}
        place = {**own, "domain": domain, "url": url}
        target = {"instanceId": self.rng.choice(self.plan["backends"]), "port": self.rng.randint(9000, 9001)}
        weight = self.rng.randint(0, 100)
        return self.rng.choice(
            [
                ("CreateForwardLBListenerRules", {**own, **_element("rules", domain=domain, url=url, healthSwitch=0)}),
                ("CreateForwardLBListenerRules", {**own, **_element("rules", domain=domain, url=url, healthSwitch=0, httpHash="ip_hash")}),
                ("DeleteForwardLBListenerRules", place),
                ("ModifyForwardLBRulesDomain", {**own, "domain": domain, "newDomain": self.rng.choice(PLACES)[0]}),
                ("RegisterInstancesWithForwardLBSeventhListener", {**place, **_element("backends", **target, weight=weight)}),
                ("RegisterInstancesWithForwardLBSeventhListener", {**place, **_element("backends", **target)}),
                ("ModifyForwardSeventhBackends", {**place, **_element("backends", **target, weight=weight)}),
                ("ModifyForwardSeventhBackendsPort", {**place, **_element("backends", **target, newPort=self.rng.randint(9000, 9001))}),
                ("DeregisterInstancesFromForwardLB", {**place, **_element("backends", **target)}),
            ]
        )


def main():
    plan = json.load(sys.stdin)
    end = time.monotonic() + plan["seconds"]
    clients = [Client(plan, f"{plan['seed']}/{number}", end) for number in range(plan["clients"])]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    refusals = {}
    for client in clients:
        for action, count in client.refusals.items():
            refusals[action] = refusals.get(action, 0) + count
    found = {
        "reads": [read for client in clients for read in client.reads],
        "changes": [change for client in clients for change in client.changes],
        "refusals": refusals,
        "errors": [client.error for client in clients if client.error],
    }
    json.dump(found, sys.stdout)


class Crowd:
    """`clients` clients for `seconds`, and what became of them."""

    def __init__(self, gateway, clients=200, seconds=120, seed=0, rate=2.5, reads=0.5, instances=4):
        self.gateway = gateway
        self.api = gateway.api()
        self.plan = {
            "address": gateway.api_address,
            "certificate": str(gateway.certificate),
            "rate": rate,
            "reads": reads,
            "seconds": seconds,
            "ports": [gateway.port() for _ in range(6)],
            "backends": [gateway.backend_address(number) for number in range(1, 5)],
            "classic": [self.api.create_load_balancer()[0] for _ in range(instances)],
            "web": [],
        }
        for _ in range(instances):
            balancer, _ = self.api.create_application()
            self.plan["web"].append((balancer, self.api.create_http(balancer, gateway.port())))
        self.clients, self.seed = clients, seed

    def run(self, key):
        """Runs them all to their end, and compares what the gateway shows with what it has answered."""
        expected = model.observe(self.api)
        self.plan["key"] = (key.secret_id, key.secret_key)
        processes = []
        for first in range(0, self.clients, CLIENTS_PER_PROCESS):
            plan = {**self.plan, "clients": min(CLIENTS_PER_PROCESS, self.clients - first), "seed": f"{self.seed}/{first}"}
            process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            process.stdin.write(json.dumps(plan))
            process.stdin.close()
            processes.append(process)
        found = []
        for process in processes:
            with process.stdout as answered:
                found.append(json.load(answered))
        assert [process.wait(30) for process in processes] == [0] * len(processes)
        # The gateway has closed the one that waited for all this.
        self.api = self.gateway.api()
        errors = [error for part in found for error in part["errors"]]
        assert not errors, errors[:5]
        self.reads = sorted(read for part in found for read in part["reads"])
        self.changes = sorted((change for part in found for change in part["changes"]), key=lambda change: change[0])
        self.refused = sum(sum(part["refusals"].values()) for part in found)
        assert len({request_id for request_id, *_ in self.changes}) == len(self.changes)
        # Nothing hangs, and no change fails later.
        for request_id, *_ in self.changes[-1:] + self.changes[:: max(1, len(self.changes) // 500)]:
            assert self.api.wait_task(request_id) == (0, ""), request_id
        for _, action, params, answer in self.changes:
            expected.apply(action, params, answer)
        seen = model.observe(self.api)
        expected.adopt(seen)
        assert seen == expected, model.difference(expected, seen)
        return self

    def percentile(self, share):
        """Milliseconds that this share of the reads, in percent, took at most."""
        return self.reads[max(0, math.ceil(len(self.reads) * share / 100) - 1)]


if __name__ == "__main__":
    main()
