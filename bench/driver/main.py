"""The command line of bench/http, bench/https, bench/tcp and bench/udp."""

import argparse
import contextlib
import itertools
import os
import pathlib
import signal
import sys
import tempfile
import time
import xml.etree.ElementTree

from harness.certs import Authority

from . import ROOT, flood, machine, special, tool
from .chart import draw
from .gateway import Clbd
from .proxies import Floor, Haproxy, HaproxyMap, Nginx, Setup
from .report import Report
from .workloads import HTTP, HTTPS, TCP, UDP, Workload, paired_rounds

PEERS = {"https": " and HAProxy", "udp": ""}
KINDS = ("floor", "clbd", "nginx", "haproxy")
WORKLOADS = {"http": HTTP, "https": HTTPS, "tcp": TCP, "udp": UDP}
SPECIAL = {"http": ["idle", "change", "scrape"], "https": ["flood"], "tcp": ["idle"], "udp": ["sessions"]}
"""What `--only` knows beside the workloads."""
FIXED_RATE = 10_000
CHANGE_RATE = 8_000
FLOOD_RATE = 2_000


class Bench:
    """What every part of a run needs."""

    def __init__(self, stack, options):
        self.cores = machine.Cores()
        self.root = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="clb-bench-")))
        self.tool = tool.Tool(stack, self.cores, self.root)
        self.seconds = options.seconds
        self.warm_up = options.warm_up
        self.fleets = {}
        self.rate = self.change_rate = self.flood_rate = 0
        self.trusted = None
        """The file of the CA that has signed the proxies' certificates."""
        self._targets = self.root / "requests"
        self._folders = itertools.count()

    @contextlib.contextmanager
    def folder_for(self, name):
        """A new folder."""
        folder = self.root / f"{next(self._folders)}-{name}"
        folder.mkdir()
        yield folder

    def write_requests(self, rules):
        """Every rule is asked for, a path below its prefix."""
        self._targets.write_text("".join(f"{domain} {path}page\n" for domain, path in rules), encoding="ascii")

    def requests(self, setup):
        """What clb-bench needs to ask a proxy of this setup."""
        if setup == "many":
            return ["--requests", str(self._targets)]
        return ["--tls", str(self.trusted)] if setup in ("p256", "rsa") else []

    def tls_setups(self, backend):
        """HTTPS with certificates of both kinds, made here."""
        machine.need(lambda: machine.find("openssl"), "openssl")
        machine.need(lambda: machine.find("h2load"), "nghttp2-client")
        authority = Authority(self.root / "certificates")
        self.trusted = authority.file
        return {"p256": Setup(backend, tls=authority.pair("p256")), "rsa": Setup(backend, tls=authority.pair("rsa", rsa=2048))}

    def start_fleet(self, stack, key, proxies, setup):
        folder = stack.enter_context(self.folder_for(key))
        self.fleets[key] = {proxy.name: proxy.start(stack, self, setup, folder) for proxy in proxies}


def arguments(what):
    # The floor speaks no TLS and no UDP, HAProxy no UDP.
    known = [kind for kind in KINDS if kind not in {"https": ["floor"], "udp": ["floor", "haproxy"]}.get(what, [])]
    parser = argparse.ArgumentParser(prog=f"bench/{what}", description=f"Measures clbd beside nginx and HAProxy: {what.upper()}. See bench/README.md.")
    parser.add_argument("--rounds", type=int, default=10, help="paired rounds (default 10)")
    parser.add_argument("--seconds", type=float, default=0.7, help="length of one run (default 0.7)")
    parser.add_argument("--warm-up", type=float, default=0.2, help="what runs before and is not measured (default 0.2)")
    parser.add_argument("--proxies", default=",".join(known), help=f"which (default {','.join(known)})")
    parser.add_argument("--clbd", action="append", default=[], metavar="PATH", help="another clbd, beside the one that is built")
    parser.add_argument("--nginx", action="append", default=[], metavar="PATH", help="another nginx, beside the installed one")
    parser.add_argument("--haproxy", action="append", default=[], metavar="PATH", help="another HAProxy, beside the installed one")
    parser.add_argument("--given-only", action="store_true", help="leave the installed ones out where others are given")
    parser.add_argument("--only", default="", help="only these workloads, e.g. keepalive,rules,idle,change")
    if what == "udp":
        parser.add_argument("--sessions", type=int, default=100_000, help="UDP sessions whose memory is measured (default 100000)")
    if what in ("http", "tcp"):
        parser.add_argument("--idle", type=int, default=5000, help="idle connections (default 5000)")
    if what == "https":
        parser.add_argument("--flood", type=int, default=10_000, help="handshakes that are never finished (default 10000)")
        parser.add_argument("--flood-kind", choices=("silent", "half", "hello"), default="hello", help="what their clients send: nothing, half a ClientHello, or all of it (default hello)")
        parser.add_argument("--flood-rate", type=int, default=FLOOD_RATE, help=f"requests/s beside them, at most half of what the slowest proxy can (default {FLOOD_RATE})")
        parser.add_argument("--flood-rounds", type=int, default=3, help="runs of each proxy without and with them (default 3)")
        parser.add_argument("--flood-seconds", type=float, default=2.0, help="length of these runs (default 2)")
    if what in ("http", "https"):
        parser.add_argument("--nginx-buffers", choices=("large", "default"), default="large", help="nginx's buffers for answers: 1 MiB in pieces of 64 KiB, or what it has by itself, 8 of 4 KiB (default large)")
    if what == "http":
        parser.add_argument("--domains", type=int, default=1000, help="with 10 locations each (default 1000)")
        parser.add_argument("--rate", type=int, default=FIXED_RATE, help=f"requests/s of the fixed rate, at most half of what the slowest proxy can (default {FIXED_RATE})")
        parser.add_argument("--change-rate", type=int, default=CHANGE_RATE, help=f"requests/s during changes, limited alike (default {CHANGE_RATE})")
        parser.add_argument("--change-rounds", type=int, default=3, help="pairs of runs without and with a change (default 3)")
        parser.add_argument("--change-seconds", type=float, default=4.0, help="length of these runs (default 4)")
    parser.add_argument("--smoke", action="store_true", help="a run of seconds that only proves that everything works; writes nothing")
    parser.add_argument("--no-build", action="store_true", help="measure the builds that are there")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "bench/results", help="folder of the results (default bench/results)")
    options = parser.parse_args()
    if options.smoke:
        options.rounds, options.seconds, options.warm_up, options.idle = 1, 0.15, 0.05, 100
        if what == "udp":
            options.sessions = 200
        if what == "https":
            options.flood, options.flood_rate, options.flood_rounds, options.flood_seconds = 200, 500, 1, 0.15
        if what == "http":
            options.domains, options.rate, options.change_rate, options.change_rounds, options.change_seconds = 10, 1000, 500, 1, 1.0
    kinds = options.proxies.split(",")
    if unknown := set(kinds) - set(known):
        parser.error(f"--proxies: there is no {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    if options.rounds < 1 or options.seconds <= 0:
        parser.error("--rounds and --seconds: more than 0")
    return options


def chosen_proxies(options, needs_stream):
    """The proxies of a run, not started, in the order of KINDS."""
    kinds = options.proxies.split(",")
    proxies = []
    if "floor" in kinds:
        proxies.append(Floor("floor"))
    if "clbd" in kinds:
        proxies.append(Clbd())
        proxies += [Clbd(f"clbd-{number}", path) for number, path in enumerate(options.clbd, 2)]
    for kind, make, given, packages in (
        ("nginx", Nginx, options.nginx, ("nginx-light", "nginx")),
        ("haproxy", Haproxy, options.haproxy, ("haproxy",)),
    ):
        if kind not in kinds:
            continue
        paths = list(given)
        if not (given and options.given_only):
            paths.insert(0, machine.need(lambda kind=kind: machine.find(kind), *packages))
        for number, path in enumerate(paths):
            if needs_stream and kind == "nginx":
                machine.need(lambda path=path: machine.nginx_stream_module(path), "libnginx-mod-stream")
            proxies.append(make(kind if number == 0 else f"{kind}-{number + 1}", path))
    return proxies


def again(proxy, make=None):
    """The same proxy, not started: a second instance beside the first."""
    if isinstance(proxy, (Nginx, Haproxy, Clbd)):
        return (make or type(proxy))(proxy.name, proxy.path)
    return type(proxy)(proxy.name)


def calibrate(bench, options, setup):
    """The fixed rates: as asked for, but at most half of what the slowest proxy can do."""
    if not hasattr(options, "rate") and not hasattr(options, "flood"):
        return
    trial = Workload("trial", "trial", setup)
    slowest = min(trial.run(bench, proxy).rate for proxy in bench.fleets[setup].values())
    half = max(100, int(slowest / 2) // 100 * 100)
    if hasattr(options, "flood"):
        bench.flood_rate = min(options.flood_rate, half)
    else:
        bench.rate, bench.change_rate = min(options.rate, half), min(options.change_rate, half)


def measure(what, options, stack):
    bench = Bench(stack, options)
    proxies = chosen_proxies(options, what in ("tcp", "udp"))
    chosen = set(filter(None, options.only.split(",")))
    known = [workload.key for workload in WORKLOADS[what]] + SPECIAL[what]
    if unknown := chosen - set(known):
        raise SystemExit(f"bench: --only: there is no {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    workloads = [workload for workload in WORKLOADS[what] if not chosen or workload.key in chosen]
    facts = machine.facts(bench.cores)
    backend = bench.tool.backend()
    if what == "http":
        rules = [(f"d{domain}.example.com", f"/l{location}/") for domain in range(options.domains) for location in range(10)]
        bench.write_requests(rules)
        setups = {"one": Setup(backend), "many": Setup(backend, rules=rules), "logged": Setup(backend, logged=True)}
    elif what == "https":
        setups = bench.tls_setups(backend)
    elif what == "udp":
        setups = {"echo": Setup(bench.tool.backend("--udp"), udp=True)}
    else:
        setups = {"echo": Setup(bench.tool.backend("--echo"), tcp=True), "bulk": Setup(backend, tcp=True)}
    for setup in setups.values():
        setup.large_buffers = getattr(options, "nginx_buffers", "large") == "large"
    first = next(iter(setups))
    with contextlib.ExitStack() as running:
        for key, setup in setups.items():
            if key == first or any(workload.setup == key for workload in workloads):
                bench.start_fleet(running, key, [again(proxy) for proxy in proxies], setup)
        calibrate(bench, options, first)
        results = paired_rounds(bench, workloads, options.rounds) if workloads else None
    parameters = f"{options.rounds} paired rounds of {options.seconds:g} s after {options.warm_up:g} s of warm-up; command: `{' '.join(['bench/' + what, *sys.argv[1:]])}`."
    report = Report(f"{what.upper()}: clbd, nginx{PEERS.get(what, ', HAProxy and the floor')}", facts, proxies, parameters)
    failures = 0
    if results:
        report.add_targets(results)
        for workload in workloads:
            report.add_workload(results, workload, bench.rate)
            failures += sum(sum(results.values(workload.key, name, "failures")) for name in results.names)
    if "idle" in SPECIAL[what] and (not chosen or "idle" in chosen):
        print("idle connections", file=sys.stderr, flush=True)
        exchange = ("--echo", "64") if what == "tcp" else ()
        rows = special.idle(bench, [again(proxy) for proxy in proxies], setups[first], options.idle, *exchange)
        report.add_idle(rows, what.upper())
        failures += sum(row["connections"] - row["open"] for row in rows)
    if "sessions" in SPECIAL[what] and (not chosen or "sessions" in chosen):
        print("UDP sessions", file=sys.stderr, flush=True)
        measured = [again(proxy) for proxy in proxies if isinstance(proxy, Clbd)]
        for row in special.sessions(bench, measured, setups[first], options.sessions):
            report.add_sessions(row)
            failures += row["sessions"] - row["answered"]
    if "flood" in SPECIAL[what] and (not chosen or "flood" in chosen):
        print("unfinished handshakes", file=sys.stderr, flush=True)
        runs = flood.floods(bench, [again(proxy) for proxy in proxies], "p256", setups["p256"], options)
        report.add_floods(runs, options, bench.flood_rate)
        failures += sum(found["failures"] for run in runs for found in run.all())
    if "change" in SPECIAL[what] and (not chosen or "change" in chosen):
        print("changes under load", file=sys.stderr, flush=True)
        changing = [again(proxy) for proxy in proxies if proxy.change_name]
        changing += [again(proxy, HaproxyMap) for proxy in proxies if isinstance(proxy, Haproxy)]
        runs = special.changes(bench, changing, setups["many"], options.change_rounds, options.change_seconds)
        report.add_changes(runs, len(setups["many"].rules), bench.change_rate, options.change_seconds)
        # A reload may fail requests: that is what is measured. Undisturbed nothing may fail.
        failures += sum(run.failures(run.calm) for run in runs)
    if "scrape" in SPECIAL[what] and (not chosen or "scrape" in chosen):
        print("scrapes under load", file=sys.stderr, flush=True)
        for proxy in proxies:
            if isinstance(proxy, Clbd):
                run = special.scrapes(bench, again(proxy), setups["many"], options.change_rounds, options.change_seconds)
                report.add_scrapes(run, len(setups["many"].rules), bench.change_rate, options.change_seconds)
                failures += sum(found["failures"] for found in run.calm + run.scraped)
    return report.text(), results, proxies, facts, failures


def main(what):
    options = arguments(what)
    # So that a SIGTERM too unwinds what is running.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    machine.raise_file_limit()
    if not options.no_build:
        wanted = ["clb-bench"] if not os.environ.get("CLB_BENCH") else []
        wanted += ["clbd"] if "clbd" in options.proxies.split(",") and not os.environ.get("CLBD") else []
        if wanted:
            tool.build(*wanted)
    os.environ.setdefault("CLBD", str(tool.target_folder() / "release/clbd"))
    with contextlib.ExitStack() as stack:
        text, results, proxies, facts, failures = measure(what, options, stack)
    print(text, end="")
    chart = None
    if results:
        note = f"{facts.split(';')[0]}; medians of {options.rounds} paired rounds, lines: quartiles; {time.strftime('%Y-%m-%d')}"
        chart = draw(what.upper(), note, results, proxies)
        xml.etree.ElementTree.fromstring(chart)
    if options.smoke:
        sys.exit(f"bench/{what}: {failures} requests failed" if failures else 0)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"{time.strftime('%Y-%m-%d')}-{what}.md").write_text(text, encoding="utf-8")
    if chart:
        (options.out / f"{what}.svg").write_text(chart, encoding="utf-8")
