"""clbd, configured through its Action API as a user does it."""

import re
import subprocess
import time

from harness import prometheus
from harness.api import IN_PROGRESS, SUCCEEDED
from harness.gateway import Gateway, binary

from . import ROOT, machine
from .process import Process
from .proxies import Proxy, new_rule

# A form of this many rules stays far below [limits] api_body_bytes.
RULES_PER_CALL = 500


class PinnedGateway(Gateway):
    """The end-to-end tests' gateway, on one core, ending with us."""

    def __init__(self, folder, core, logged=False, program=None):
        super().__init__(folder, {"log": {"level": "error"}, "access_log": {"enabled": logged}}, workers=1)
        self.core = core
        self.program = program or binary()

    def launch(self, *more):
        self._starts += 1
        self.pinned = Process([self.program, "--config", self.config_file, *more], self.core, self.folder / f"clbd-{self._starts}.log")
        self.process = self.pinned.popen
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # Politely first: a build that counts what runs (deploy/pgo/record) writes it when it ends.
        if self.process:
            self.pinned.stop()
        self.close()


class Clbd(Proxy):
    """clbd with one worker."""

    kind = "clbd"
    change_name = "Action API"

    def __init__(self, name="clbd", path=None):
        self.path = path or binary()
        text = subprocess.run([self.path, "--version"], capture_output=True, text=True, check=True).stdout
        profile = subprocess.run([ROOT / "deploy/pgo/check", self.path], capture_output=True, text=True, check=False).stdout
        super().__init__(name, ", ".join([re.sub(r"^clbd\s+", "", " ".join(text.split())), *profile.split("\n")[:1]]))

    def start(self, stack, bench, setup, folder):
        self.setup = setup
        self.gateway = stack.enter_context(PinnedGateway(folder / self.name, bench.cores.proxy, setup.logged, self.path))
        self.gateway.start()
        self.process = self.gateway.pinned
        self.api = self.gateway.api()
        port = self.gateway.port()
        vip = self._classic(port) if setup.tcp or setup.udp else self._http(port)
        self.address = (vip, port)
        self._serving() if setup.udp else self._listening()
        return self

    def _classic(self, port):
        """A classic instance: its backends are reached at the listener's instancePort."""
        host, backend_port = self.setup.backend
        self.balancer, vip = self.api.create_load_balancer()
        self.api.create_listener(self.balancer, port, backend_port, healthSwitch=0, protocol=3 if self.setup.udp else 2)
        self.api.bind(self.balancer, dict.fromkeys([host, *self.setup.more_hosts], 10))
        return vip

    def _http(self, port):
        """An application instance with the setup's rules, all bound to the one backend."""
        self.balancer, vip = self.api.create_load_balancer(forward=1)
        listeners = [{"loadBalancerPort": port, **self._protocol()}]
        own = {"loadBalancerId": self.balancer}
        (self.listener,) = self.api.call("CreateForwardLBSeventhLayerListeners", {**own, "listeners": listeners})["listenerIds"]
        own["listenerId"] = self.listener
        for first in range(0, len(self.setup.rules), RULES_PER_CALL):
            self._done("CreateForwardLBListenerRules", {"rules": [_rule(*pair) for pair in self.setup.rules[first : first + RULES_PER_CALL]]})
        self._done("RegisterInstancesWithForwardLBSeventhListener", {"backends": [self._backend()]})
        return vip

    def _protocol(self):
        if not self.setup.tls:
            return {"protocol": 1}
        return {"protocol": 4, "SSLMode": "unidirectional", **self.setup.tls.upload()}

    def _done(self, action, parameters):
        return self.api.done(action, {"loadBalancerId": self.balancer, "listenerId": self.listener, **parameters})

    def _at_once(self, action, parameters):
        """As `_done`, asking for the task's end without a pause. Returns when the call was answered."""
        answer = self.api.call(action, {"loadBalancerId": self.balancer, "listenerId": self.listener, **parameters})
        answered = time.monotonic_ns()
        while (result := self.api.task(answer["requestId"]))[0] == IN_PROGRESS:
            pass
        if result[0] != SUCCEEDED:
            raise RuntimeError(f"{action}: the task failed: {result[1]}")
        return answered

    def _backend(self):
        host, port = self.setup.backend
        return {"instanceId": host, "port": port, "weight": 10}

    def metric(self, name):
        """The sum of a metric's samples."""
        samples, _ = prometheus.parse(self.gateway.admin("/metrics").body.decode())
        return sum(value for sample, _, value in samples if sample == name)

    def control_time(self):
        """The workers serve traffic; all other threads are the control plane."""
        return machine.run_time(self.process.pid, lambda name: not name.startswith("worker-"))

    def prepare_change(self, number):
        domain, path = new_rule(number)

        rule = {"rules": [_rule(domain, path)]}
        backend = {"domain": domain, "url": path, "backends": [self._backend()]}

        def change():
            # A rule answers 503 until a backend is bound to it: two calls, one after the other's task.
            return [
                self._at_once("CreateForwardLBListenerRules", rule),
                self._at_once("RegisterInstancesWithForwardLBSeventhListener", backend),
            ]

        return change


def _rule(domain, path):
    return {"domain": domain, "url": path, "healthSwitch": 0}
