"""Idle connections, and under load: a change of the configuration, and scrapes of the metrics."""

import contextlib
import time
from dataclasses import replace

from . import machine
from .proxies import new_rule
from .stats import median


def idle(bench, proxies, setup, connections, *exchange):
    """User memory of each fresh proxy around idle connections that were used once; rows of a table."""
    rows = []
    for proxy in proxies:
        with contextlib.ExitStack() as stack, bench.folder_for("idle") as folder:
            proxy.start(stack, bench, setup, folder)
            # What exists once and not per connection is made before the first reading.
            bench.tool.load("closed", proxy.address, [], bench.seconds, bench.warm_up, "--connections", "32", "--new-connections", *exchange)
            pids = proxy.pids()
            before = _settled(pids)
            with bench.tool.start("idle", "--to", f"{proxy.address[0]}:{proxy.address[1]}", "--connections", str(connections), *exchange) as held:
                held.line(120)
                after = _settled(pids)
                held.popen.stdin.close()
                still = held.line()["open"]
                held.finish()
        rows.append(
            {"name": proxy.name, "before": before, "after": after, "open": still, "connections": connections, "each": (after - before) / connections}
        )
    return rows


SESSION_BACKENDS = 16


def sessions(bench, proxies, setup, count):
    """User memory of each clbd around UDP sessions. One for each needs a socket at the peers, of which there may not be so many."""
    hosts = tuple(f"127.0.1.{number}" for number in range(1, SESSION_BACKENDS))
    for host in hosts:
        bench.tool.backend("--udp", listen=f"{host}:{setup.backend[1]}")
    return [_sessions(bench, proxy, replace(setup, more_hosts=hosts), count) for proxy in proxies]


def _sessions(bench, proxy, setup, count):
    with contextlib.ExitStack() as stack, bench.folder_for("sessions") as folder:
        proxy.start(stack, bench, setup, folder)
        address = f"{proxy.address[0]}:{proxy.address[1]}"
        before = _settled(proxy.pids())
        with bench.tool.start("udp-sessions", "--to", address, "--sessions", str(count)) as begun:
            answered = begun.line(60 + count / 1000)["ready"]
            after = _settled(proxy.pids())
            held, sockets = (proxy.metric(name) for name in ("clb_udp_sessions", "clb_udp_sockets"))
            begun.popen.stdin.close()
            begun.finish()
    return {
        "sessions": count, "answered": answered, "held": int(held), "sockets": int(sockets), "backends": SESSION_BACKENDS,
        "before": before, "after": after, "each": (after - before) / count,
    }  # fmt: skip


def _settled(pids):
    """User memory when it has stopped changing (closed connections are freed a little later)."""
    last = machine.user_memory(pids)
    for _ in range(50):
        time.sleep(0.1)
        now = machine.user_memory(pids)
        if now == last:
            return now
        last = now
    return last


class ChangeRun:
    """One variant's rounds: pairs of an undisturbed run and one with a change."""

    def __init__(self, proxy):
        self.name = proxy.name
        self.way = proxy.change_name
        self.calm = []
        self.changed = []
        self.first = []
        """Milliseconds from the order to the first answer by the new rule, on a new connection."""
        self.settled = []
        """Milliseconds from the order to the first answer after which all were by the new rule."""
        self.answered = []
        """Where the order is answered when it is durable: milliseconds from that answer to `first`, at least 0."""
        self.ordered = []
        """Milliseconds that giving the order took (for clbd: until its tasks had succeeded)."""
        self.control = []
        """CPU milliseconds of the processes or threads that do not serve traffic."""

    def figure(self, runs, name):
        return median([found[name] for found in runs])

    def failures(self, runs):
        return sum(found["failures"] for found in runs)


def causes(runs):
    """Pairs of cause and count over load runs, requests that were due and could not be sent included."""
    counts = {}
    for found in runs:
        for cause, count in {**found["failure_causes"], "due but not sent": found["unsent"]}.items():
            counts[cause] = counts.get(cause, 0) + count
    return [(cause, count) for cause, count in counts.items() if count]


def changes(bench, proxies, setup, rounds, seconds):
    """Adds a rule to a listener of many while requests run."""
    runs = [ChangeRun(proxy) for proxy in proxies]
    with contextlib.ExitStack() as stack:
        for number, proxy in enumerate(proxies):
            proxy.start(stack, bench, setup, stack.enter_context(bench.folder_for(f"change-{number}")))
        for number in range(rounds):
            for proxy, run in zip(proxies, runs):
                run.calm.append(_load(bench, proxy, seconds))
                run.changed.append(_load(bench, proxy, seconds, lambda proxy=proxy, run=run: _change(bench, proxy, run, number)))
    return runs


def _load(bench, proxy, seconds, meanwhile=None):
    more = ["--connections", "64", "--rate", str(bench.change_rate), *bench.requests("many")]
    with bench.tool.start_load("open", proxy.address, [], seconds, bench.warm_up, *more) as load:
        if meanwhile:
            # Half a run before, so that the change meets traffic that has settled, and half a run after.
            time.sleep(bench.warm_up + seconds / 2)
            meanwhile()
        found = load.line(seconds + 60)
        load.finish()
    return found


def _change(bench, proxy, run, number):
    change = proxy.prepare_change(number)
    domain, path = new_rule(number)
    used = proxy.control_time()
    probe = bench.tool.start("probe", "--to", f"{proxy.address[0]}:{proxy.address[1]}", "--host", domain, "--path", path)
    with probe:
        first = probe.line()
        if first["status"] != 404:
            raise RuntimeError(f"{proxy.name} answers {first['status']} for a rule that does not exist yet")
        begin = time.monotonic_ns()
        answers = change()
        run.ordered.append((time.monotonic_ns() - begin) / 1e6)
        lines = []
        while (line := probe.line_or_end()) is not None:
            lines.append(line)
        probe.finish()
    by_new = [line["ns"] for line in lines if line["status"] == 200]
    run.first.append((by_new[0] - begin) / 1e6)
    run.settled.append((by_new[-1] - begin) / 1e6)
    if answers:
        run.answered.append(max(0, by_new[0] - answers[-1]) / 1e6)
    run.control.append((proxy.control_time() - used) * 1000)


class ScrapeRun:
    """clbd's rounds: pairs of an undisturbed run and one with a scrape of /metrics in its middle."""

    def __init__(self):
        self.calm, self.scraped = [], []
        self.took = []
        """Milliseconds from the request to the last octet."""
        self.size = 0
        """Octets of the last one."""


def scrapes(bench, proxy, setup, rounds, seconds):
    """Asks for the metrics of many rules while requests run."""
    run = ScrapeRun()

    def scrape():
        begin = time.monotonic_ns()
        run.size = len(proxy.gateway.admin("/metrics", timeout=60).body)
        run.took.append((time.monotonic_ns() - begin) / 1e6)

    with contextlib.ExitStack() as stack:
        proxy.start(stack, bench, setup, stack.enter_context(bench.folder_for("scrape")))
        for number in range(rounds):
            # The undisturbed one first and last in turn.
            for disturbed in (False, True) if number % 2 == 0 else (True, False):
                (run.scraped if disturbed else run.calm).append(_load(bench, proxy, seconds, scrape if disturbed else None))
    return run
