"""A long run of mixed traffic through a gateway that is changed, upgraded and whose backends fail, with what it took."""

import pathlib
import random
import socket
import ssl
import threading
import time

import websockets.sync.client
import websockets.sync.server

from . import load
from .api import Api
from .certs import Authority
from .datagrams import Client
from .gateway import FULL
from .http2 import Http2, trust
from .wait import until
from .world import HOST, Busy, Keeping, World

DRAIN = 20
SAMPLE = 5.0


class Echo:
    """A WebSocket server that sends back what it gets."""

    def __init__(self, address, port):
        def serve(connection):
            for message in connection:
                connection.send(message)

        self.server = websockets.sync.server.serve(serve, address, port)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.thread.join(5)


class Sample:
    """What a process holds at one moment."""

    def __init__(self, began, pid):
        status = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
        self.time, self.pid = time.monotonic() - began, pid
        self.kib = int(status["RssAnon"].split()[0])
        self.descriptors = len(list(pathlib.Path(f"/proc/{pid}/fd").iterdir()))


class Soak:
    def __init__(self, new_gateway, folder, seed):
        self.random = random.Random(seed)
        self.ca = Authority(folder / "ca")
        self.gateway = new_gateway({"timeouts": {"drain": f"{DRAIN}s"}}).start()
        self.world = World(self.gateway, self.ca)
        self.pairs = [self.ca.pair(f"www{number}") for number in range(4)]
        self.echo = Echo(self.gateway.backend_address(4), self.gateway.port())
        self.lock = threading.Lock()
        self.samples, self.work, self.upgrades, self.made = [], [], [], {}
        self.tls = ssl.create_default_context(cafile=self.ca.file)
        self.tls.check_hostname = False
        self.prepare()

    def prepare(self):
        """A WebSocket rule, and an HTTP listener whose backends' health flaps."""
        world, api, gateway = self.world, self.world.api, self.gateway
        register = "RegisterInstancesWithForwardLBSeventhListener"
        own = {"loadBalancerId": world.balancer, "listenerId": world.http}
        api.create_rules(world.balancer, world.http, (HOST, "/chat"), healthSwitch=0)
        backends = [{"instanceId": gateway.backend_address(4), "port": self.echo.server.socket.getsockname()[1]}]
        api.done(register, {**own, "backends": backends, "url": "/chat", "domain": HOST})
        checked = {"healthSwitch": 1, "intervalTime": 5, "healthNum": 2, "unhealthNum": 2, "httpCode": 2, "httpCheckPath": "/health"}
        api.create_rules(world.balancer, world.http, ("flaps.example.com", "/"), **checked)
        backends = [{"instanceId": gateway.backend_address(number), "port": world.webs[0].port} for number in (1, 2)]
        api.done(register, {**own, "backends": backends, "url": "/", "domain": "flaps.example.com"})
        self.side = self.gateway.port()

    # What is done all the time

    def each_a_while(self, work, pause):
        def again():
            work()
            time.sleep(pause * self.random.uniform(0.5, 1.5))

        again.__qualname__ = getattr(work, "__qualname__", repr(work))
        return again

    def one_connection(self):
        client = Keeping(self.world.front("http"))
        client.ask()
        client.close()

    def one_handshake(self):
        client = Keeping(self.world.front("https"), self.tls)
        client.ask()
        client.close()

    def websocket(self):
        ip, port = self.world.front("http")
        plain = socket.create_connection((ip, port), timeout=10)
        with websockets.sync.client.connect(f"ws://{HOST}:{port}/chat", sock=plain) as connection:
            for number in range(self.random.randint(1, 40)):
                connection.send(f"{number}")
                assert connection.recv(timeout=10) == f"{number}"
                time.sleep(0.1)

    def tcp(self):
        held = load.Held(self.world.front("tcp"))
        try:
            for _ in range(self.random.randint(1, 40)):
                held.check()
                time.sleep(0.1)
        finally:
            held.close()

    def udp(self, some):
        for client, server in some:
            assert client.ask() == server, "another server"

    def flap(self):
        """A backend says that it is not well, for a while, and is."""
        web = self.random.choice(self.world.webs)
        web.probed = 503 if web.probed == 200 else 200

    def change(self):
        """One change through the API, with a connection of its own; what was made by the last one of its kind is taken away again."""
        api = Api(self.gateway.api_address, str(self.gateway.certificate), FULL)
        world, rng, made = self.world, self.random, self.made
        own = {"loadBalancerId": world.balancer, "listenerId": world.http}
        kind = rng.choice(["weights", "rule", "listener", "balancer", "name"])
        undone = made.pop(kind, None)
        answer = {}
        try:
            if kind == "weights":
                weights = [{"instanceId": self.gateway.backend_address(n), "port": world.echo, "weight": rng.randint(1, 100)} for n in (1, 2, 3)]
                answer = api.call("ModifyForwardFourthBackendsWeight", {**world.tcp, "backends": weights})
            elif kind == "rule" and undone:
                answer = api.call("DeleteForwardLBListenerRules", {**own, "domain": undone, "url": "/"})
            elif kind == "rule":
                made[kind] = f"{rng.getrandbits(32):x}.example.com"
                rule = {"domain": made[kind], "url": "/", "healthSwitch": 0}
                answer = api.call("CreateForwardLBListenerRules", {**own, "rules": [rule]})
            elif kind == "listener" and undone:
                answer = api.call("DeleteForwardLBListener", {"loadBalancerId": world.balancer, "listenerId": undone})
            elif kind == "listener":
                wanted = [{"loadBalancerPort": self.side, "protocol": 1}]
                answer = api.call("CreateForwardLBSeventhLayerListeners", {"loadBalancerId": world.balancer, "listeners": wanted})
                (made[kind],) = answer["listenerIds"]
            elif kind == "balancer" and undone:
                answer = api.call("DeleteLoadBalancers", {"loadBalancerIds": [undone]})
            elif kind == "balancer":
                answer = api.call("CreateLoadBalancer", {"loadBalancerType": 2})
                ((made[kind],),) = answer["unLoadBalancerIds"].values()
            else:
                api.call("ModifyForwardLBName", {"loadBalancerId": world.balancer, "loadBalancerName": f"soak-{rng.getrandbits(16):x}"})
            # Each asks for itself whether it succeeded; that one in fifty is asked after is enough here.
            if "requestId" in answer and rng.randrange(50) == 0:
                assert api.wait_task(answer["requestId"]) == (0, "")
        finally:
            api.close()

    def replace_certificate(self):
        api = Api(self.gateway.api_address, str(self.gateway.certificate), FULL)
        try:
            (row,) = [row for row in api.forward_listeners(self.world.balancer) if row["listenerId"] == self.world.https]
            pair = self.random.choice(self.pairs)
            api.call("ReplaceCert", {"oldCertId": row["certId"], "newCertContent": pair.certificate, "newCertKey": pair.key, "newCertName": "soak"})
        finally:
            api.close()

    def run(self, seconds):
        world = self.world
        some = [Client(world.front("udp")) for _ in range(20)]
        sessions = [(client, client.ask()) for client in some]
        keeping = [Keeping(world.front("http")) for _ in range(3)] + [Keeping(world.front("https"), self.tls) for _ in range(2)]
        keeping.append(Keeping(world.front("http"), host="flaps.example.com"))
        http2 = [Http2(world.front("https"), trust(self.ca.file), HOST) for _ in range(2)]
        works = [(client.ask, 0.02) for client in keeping] + [(client.ask, 0.1) for client in http2]
        works += [(self.one_connection, 0.05), (self.one_handshake, 0.1), (lambda: self.udp(sessions), 0.1)]
        works += [(self.websocket, 0.1)] * 3 + [(self.tcp, 0.1)] * 3
        works += [(self.change, 0.1), (self.replace_certificate, 3.0), (self.flap, 15.0)]
        self.work = [Busy(self.each_a_while(*work)) for work in works]
        began = time.monotonic()
        # In the first half, so that the second is of one process.
        due = [seconds * 0.15, seconds * 0.35]
        for busy in self.work:
            busy.__enter__()
        try:
            while (now := time.monotonic() - began) < seconds:
                if due and now >= due[0]:
                    due.pop(0)
                    self.upgrades.append(self.gateway.upgrade())
                self.samples.append(Sample(began, self.gateway.process.pid))
                time.sleep(min(SAMPLE, seconds / 40))
        finally:
            for busy in self.work:
                busy.__exit__()
            for client in [*some, *keeping, *http2]:
                client.close()
        for old in self.upgrades:
            assert old.wait(DRAIN + 10) == 0

    # What came of it

    def failures(self):
        return [failure for busy in self.work for failure in busy.failures]

    def last(self):
        """The samples of the second half."""
        end = self.samples[-1].time
        return [sample for sample in self.samples if sample.time >= end / 2]

    def slope(self):
        """By how much memory rises over the second half, as a share of it: a line through the samples (least squares)."""
        last = self.last()
        mean_time = sum(sample.time for sample in last) / len(last)
        mean = sum(sample.kib for sample in last) / len(last)
        above = sum((sample.time - mean_time) * (sample.kib - mean) for sample in last)
        below = sum((sample.time - mean_time) ** 2 for sample in last)
        return above / below * (last[-1].time - last[0].time) / mean

    def is_flat(self):
        """Under a hundredth; not asked of short runs, in which caches fill."""
        return self.samples[-1].time < 3600 or self.slope() < 0.01

    def descriptors_come_back(self):
        """Once everybody has gone it holds as many as the program that has just started did."""
        fresh = min(sample.descriptors for sample in self.samples[:3])

        def now():
            return Sample(0, self.gateway.process.pid).descriptors

        until(lambda: now() <= fresh + 16, f"about {fresh} descriptors again", 90, interval=0.5)
        return True

    def report(self):
        counts = {}
        for busy in self.work:
            name = busy.work.__qualname__
            counts[name] = counts.get(name, 0) + busy.count
        lines = [f"{name}: {count}" for name, count in counts.items()]
        step = max(1, len(self.samples) // 20)
        lines += [f"{sample.time:7.0f} s  process {sample.pid}  {sample.kib} KiB  {sample.descriptors} descriptors" for sample in self.samples[::step]]
        lines.append(f"{len(self.failures())} failures, {len(self.upgrades)} upgrades, memory over the second half: {self.slope():+.2%}")
        return "\n".join(lines)

    def close(self):
        self.echo.close()
        self.world.close()
