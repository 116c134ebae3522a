"""What is measured in paired rounds, and the rounds."""

import sys
from dataclasses import dataclass, field

from . import h2
from .stats import Ratio, median

MIB = 1 << 20


@dataclass
class Workload:
    """One way to load every proxy."""

    key: str
    title: str
    setup: str
    """Which of the bench's setups it uses."""
    options: tuple = ()
    """More arguments of clb-bench load."""
    connections: int = 64
    open: bool = False
    """At the bench's fixed rate instead of as fast as it goes."""
    handshakes: str = ""
    """What all TLS handshakes must be: "full" or "resumed"; "" if it does not matter."""
    per: str = "request"
    """What CPU time is divided by: "request" or "datagram", or "GiB" of bodies."""

    def run(self, bench, proxy):
        kind = "open" if self.open else "closed"
        more = ["--connections", self.connections, *self.options, *(["--rate", bench.rate] if self.open else [])]
        found = bench.tool.load(kind, proxy.address, proxy.pids(), bench.seconds, bench.warm_up, *map(str, more), *bench.requests(self.setup))
        self._check(proxy, found)
        return Sample(found, self.per)

    def _check(self, proxy, found):
        """That the handshakes were what the workload says. Without a warm-up each slot's first one may still be a full one."""
        full, resumed = found["full_handshakes"], found["resumed_handshakes"]
        wrong = {"": 0, "full": resumed, "resumed": max(0, full - self.connections)}[self.handshakes]
        if wrong or (self.handshakes and not full + resumed) or (self.handshakes == "resumed" and not resumed):
            raise RuntimeError(f"{proxy.name}: {full} full and {resumed} resumed handshakes, where all had to be {self.handshakes}: {found}")

    @property
    def unit(self):
        return "s/GiB" if self.per == "GiB" else "µs"


class Sample:
    """One load run."""

    def __init__(self, found, per):
        self.found = found
        amount = (found["bytes_in"] + found["bytes_out"]) / (1 << 30) if per == "GiB" else found["requests"] / 1e6
        if amount <= 0:
            raise RuntimeError(f"nothing was served: {found}")
        self.cpu = found["cpu_seconds"] / amount
        """In µs a request or s/GiB."""
        self.own_cpu = found["own_cpu_seconds"] / amount
        self.rate = found["requests"] / found["seconds"]
        self.mib_rate = (found["bytes_in"] + found["bytes_out"]) / found["seconds"] / MIB
        self.busy = found["cpu_seconds"] / found["seconds"]
        """The share of the proxy's core that it used."""

    def __getattr__(self, name):
        return self.__dict__["found"][name]


class H2Workload(Workload):
    """HTTP/2 over TLS 1.3, with h2load as the client; the options are the octets of each answer."""

    def run(self, bench, proxy):
        return Sample(h2.load(bench, proxy, self.connections, H2_STREAMS, *self.options), self.per)


class UdpWorkload(Workload):
    """Datagrams, as many on their way as the options say."""

    def run(self, bench, proxy):
        options = ["--connections", self.connections, *self.options]
        found = bench.tool.load("udp", proxy.address, proxy.pids(), bench.seconds, bench.warm_up, *map(str, options))
        return Sample(found, self.per)


H2_STREAMS = 8

HTTP = [
    Workload("keepalive", "keep-alive, small answers", "one"),
    Workload("rate", "the same at a fixed rate", "one", open=True),
    Workload("fresh", "a new connection per request", "one", ("--new-connections",), connections=32),
    Workload("download", "1 MiB answers", "one", ("--answer", MIB), connections=8, per="GiB"),
    Workload("upload", "1 MiB request bodies", "one", ("--body", MIB), connections=8, per="GiB"),
    Workload("rules", "many rules", "many"),
    Workload("logged", "keep-alive with the access log on", "logged"),
]

TCP = [
    Workload("connections", "connect, 64 octets echoed, close", "echo", ("--echo", 64, "--new-connections"), connections=32),
    Workload("pingpong", "64 octets to and fro", "echo", ("--echo", 64)),
    Workload("bulk", "bulk to the client", "bulk", ("--answer", 16 * MIB), connections=8, per="GiB"),
    Workload("bulk-up", "bulk to the backend", "bulk", ("--body", 16 * MIB), connections=8, per="GiB"),
]

UDP = [
    UdpWorkload("single", "64 octets, one on its way", "echo", ("--datagram", 64), per="datagram"),
    UdpWorkload("single-1200", "1,200 octets, one on its way", "echo", ("--datagram", 1200), per="datagram"),
    UdpWorkload("queued-64", "64 octets, 16 on their way", "echo", ("--datagram", 64, "--window", 16), connections=8, per="datagram"),
    UdpWorkload("queued", "1,200 octets, 16 on their way", "echo", ("--datagram", 1200, "--window", 16), connections=8, per="datagram"),
]

NEW = ("--new-connections",)
TLS12 = ("--tls-version", "1.2")

HTTPS = [
    Workload("p256", "full handshake, P-256", "p256", NEW, connections=32, handshakes="full"),
    Workload("rsa", "full handshake, RSA-2048", "rsa", NEW, connections=32, handshakes="full"),
    Workload("resumed", "resumed handshake", "p256", (*NEW, "--resume"), connections=32, handshakes="resumed"),
    Workload("https", "HTTPS keep-alive, small answers", "p256"),
    Workload("answers", "HTTPS, 1 MiB answers", "p256", ("--answer", MIB), connections=8, per="GiB"),
    H2Workload("h2", "HTTP/2, 8 streams each", "p256", (256,), connections=16),
    H2Workload("h2-answers", "HTTP/2, 1 MiB answers, 8 streams each", "p256", (MIB,), connections=2, per="GiB"),
    Workload("tls12", "TLS 1.2: full handshake, P-256", "p256", (*NEW, *TLS12), connections=32, handshakes="full"),
    Workload("tls12-resumed", "TLS 1.2: resumed handshake", "p256", (*NEW, *TLS12, "--resume"), connections=32, handshakes="resumed"),
    Workload("tls12-https", "TLS 1.2: keep-alive, small answers", "p256", TLS12),
]


@dataclass
class Results:
    """All samples: `samples[workload.key][proxy name]` is a list, one a round."""

    workloads: list
    names: list
    samples: dict = field(default_factory=dict)

    def of(self, key, name):
        return self.samples.get(key, {}).get(name, [])

    def values(self, key, name, figure="cpu"):
        return [getattr(sample, figure) for sample in self.of(key, name)]

    def ratio(self, key, ours, theirs, figure="cpu", other_key=None):
        """The ratios of `ours` to `theirs`, round by round."""
        return Ratio(self.values(key, ours, figure), self.values(other_key or key, theirs, figure))

    def median(self, key, name, figure="cpu"):
        return median(self.values(key, name, figure))


def paired_rounds(bench, workloads, rounds):
    """Every round runs every workload on every proxy, one right after the other; who begins changes."""
    names = list(bench.fleets[workloads[0].setup])
    results = Results(workloads, names, {workload.key: {name: [] for name in names} for workload in workloads})
    for number in range(rounds):
        turn = number % len(names)
        for workload in workloads:
            for name in names[turn:] + names[:turn]:
                sample = workload.run(bench, bench.fleets[workload.setup][name])
                results.samples[workload.key][name].append(sample)
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return results
