"""What is measured in paired rounds, and the rounds."""

import sys
from dataclasses import dataclass, field

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
    per: str = "request"
    """What CPU time is divided by: "request", or "GiB" of bodies."""

    def run(self, bench, proxy):
        kind = "open" if self.open else "closed"
        more = ["--connections", self.connections, *self.options, *(["--rate", bench.rate] if self.open else [])]
        found = bench.tool.load(kind, proxy.address, proxy.pids(), bench.seconds, bench.warm_up, *map(str, more), *bench.requests(self.setup))
        return Sample(found, self.per)

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


HTTP = [
    Workload("keepalive", "keep-alive, small answers", "one"),
    Workload("rate", "the same at a fixed rate", "one", open=True),
    Workload("fresh", "a new connection per request", "one", ("--new-connections",), connections=32),
    Workload("download", "1 MiB answers", "one", ("--answer", MIB), connections=8, per="GiB"),
    Workload("upload", "1 MiB request bodies", "one", ("--body", MIB), connections=8, per="GiB"),
    Workload("rules", "many rules", "many"),
]

TCP = [
    Workload("connections", "connect, 64 octets echoed, close", "echo", ("--echo", 64, "--new-connections"), connections=32),
    Workload("pingpong", "64 octets to and fro", "echo", ("--echo", 64)),
    Workload("bulk", "bulk to the client", "bulk", ("--answer", 16 * MIB), connections=8, per="GiB"),
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
