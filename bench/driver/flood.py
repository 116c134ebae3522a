"""Handshakes that are never finished, and what they do to other traffic of the same listener."""

import contextlib
import os
import sys

from .process import until
from .stats import Ratio, median

# Connections a second: 10,000 have come before clbd's default timeouts.tls_handshake, 10 s, ends the first.
ARRIVALS = 2000

# Of a socket in /proc/net/tcp.
ESTABLISHED, CLOSE_WAIT = "01", "08"


class FloodRun:
    """One proxy's rounds."""

    def __init__(self, proxy):
        self.name = proxy.name
        self.kind = proxy.kind
        self.calm = []
        """Load runs without the flood."""
        self.coming_elsewhere, self.held_elsewhere = [], []
        """While the same flood comes to a listener that only accepts, and while that holds it."""
        self.coming = []
        """While it comes to the proxy."""
        self.beside = []
        """While the proxy holds it."""
        self.held = []
        """How many of its connections the proxy had, when all had come."""

    def p99(self, runs):
        """In ms."""
        return median([found["p99_us"] for found in runs]) / 1000

    def growth(self, runs, base):
        return Ratio([found["p99_us"] for found in runs], [found["p99_us"] for found in base])

    def all(self):
        return self.calm + self.coming_elsewhere + self.held_elsewhere + self.coming + self.beside


def floods(bench, proxies, key, setup, options):
    """Runs of all proxies, fresh ones; `key`: what the bench calls `setup`."""
    runs = [FloodRun(proxy) for proxy in proxies]
    with contextlib.ExitStack() as stack:
        for number, proxy in enumerate(proxies):
            proxy.start(stack, bench, setup, stack.enter_context(bench.folder_for(f"flood-{number}")))
        for number in range(options.flood_rounds):
            turn = number % len(proxies)
            both = list(zip(proxies, runs))
            for proxy, run in both[turn:] + both[:turn]:
                _flood(bench, proxy, run, key, options)
            print(f"flood {number + 1} of {options.flood_rounds}", file=sys.stderr, flush=True)
    return runs


def _flood(bench, proxy, run, key, options):
    def load(length):
        more = ["--connections", "64", "--rate", str(bench.flood_rate), *bench.requests(key)]
        return bench.tool.load("open", proxy.address, proxy.pids(), length, bench.warm_up, *more)

    def pour(address, coming, held):
        to = f"{address[0]}:{address[1]}"
        command = ["stuck", "--to", to, "--connections", options.flood, "--rate", ARRIVALS, "--kind", options.flood_kind]
        with bench.tool.start(*command, *bench.requests(key)) as flood:
            flood.line()
            # All of the window lies within their coming.
            coming.append(load(max(0.1, options.flood / ARRIVALS - 2 * bench.warm_up)))
            flood.line()
            yield
            held.append(load(options.flood_seconds))
            flood.popen.stdin.close()
            flood.line()
            flood.finish()

    run.calm.append(load(options.flood_seconds))
    # The flood's client has the load's core, and the kernel ten thousand sockets more, whoever they belong to.
    with bench.tool.holder() as address:
        for _ in pour(address, run.coming_elsewhere, run.held_elsewhere):
            pass
    before = _files(proxy)
    for _ in pour(proxy.address, run.coming, run.beside):
        run.held.append(_files(proxy) - before)
    # Its open files would not tell: those to the backends stay, and how many they are differs from load to load.
    until(lambda: _accepted(proxy.address[1]) == 0, f"{proxy.name} has let the flood go")


def _accepted(port):
    """How many connections the kernel has at a listener on this port that the listener's side has not closed."""
    count = 0
    with open("/proc/net/tcp", encoding="ascii") as table:
        next(table)
        for line in table:
            local, _, state = line.split()[1:4]
            if state in (ESTABLISHED, CLOSE_WAIT) and int(local.rpartition(":")[2], 16) == port:
                count += 1
    return count


def _files(proxy):
    """How many files its processes have open."""
    total = 0
    for pid in proxy.pids():
        with contextlib.suppress(OSError):
            total += len(os.listdir(f"/proc/{pid}/fd"))
    return total
