"""The Markdown of a run."""

from . import targets
from .special import causes
from .stats import Ratio, median


def number(value):
    """Three figures are enough."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table(heads, rows):
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return lines + [""]


class Report:
    """Collects the parts of a run into one text."""

    def __init__(self, title, machine, proxies, parameters):
        self.proxies = proxies
        self.lines = [f"# {title}", "", machine, ""]
        self.lines += [", ".join(f"{proxy.name} {proxy.version}".strip() for proxy in proxies) + "; one thread each.", ""]
        self.lines += [parameters, "", "Less is better everywhere, except in columns of rates. What the rows mean and how far to trust them: bench/README.md.", ""]

    def text(self):
        return "\n".join(self.lines).rstrip() + "\n"

    def named(self, kind):
        return [proxy.name for proxy in self.proxies if proxy.kind == kind]

    def add_targets(self, results):
        """clbd's ratios beside what it must reach."""
        if not self.named("clbd"):
            return
        rows = []
        keys = {workload.key: workload for workload in results.workloads}
        for target in targets.RATIOS:
            if target.key not in keys:
                continue
            for name, ratio in self._compared(results, target):
                aim = "" if target.aim is None else f"{target.aim:.2f}"
                rows.append(
                    (
                        keys[target.key].title,
                        "p99.9" if target.figure == "p999_us" else "CPU",
                        name,
                        ratio,
                        f"{ratio.least:.2f}",
                        ratio.n,
                        f"≤ {target.must:.2f}",
                        aim,
                        targets.verdict(ratio.median, target.must, target.aim),
                    )
                )
        self.lines += ["## clbd against its targets", ""]
        self.lines += table(["workload", "figure", "to", "ratio: median (quartiles)", "least", "n", "must", "aim", ""], rows)

    def _compared(self, results, target):
        """Pairs of (to what, ratio)."""
        if target.to.startswith("own "):
            if not results.of("keepalive", "clbd"):
                return []
            return [(f"its {target.to}", results.ratio(target.key, "clbd", "clbd", other_key="keepalive"))]
        if target.to == "better peer":
            peers = self.named("nginx") + self.named("haproxy")
            if not peers:
                return []
            best = min(peers, key=lambda name: results.median(target.key, name, target.figure))
            return [(f"{best} (the better peer)", results.ratio(target.key, "clbd", best, target.figure))]
        return [(name, results.ratio(target.key, "clbd", name, target.figure)) for name in self.named(target.to)]

    def add_workload(self, results, workload, rate):
        """All figures of one workload."""
        peer = (self.named("nginx") or self.named("haproxy") or [results.names[0]])[0]
        title = f"{workload.title[0].upper()}{workload.title[1:]}"
        self.lines += [f"## {title}" + (f" ({rate:,}/s)" if workload.open else f" ({workload.connections} connections)"), ""]
        bulk = workload.per == "GiB"
        rows = []
        for name in results.names:
            figure = lambda of, name=name: results.median(workload.key, name, of)  # noqa: E731
            cpu = results.values(workload.key, name)
            rows.append(
                (
                    name,
                    f"{number(median(cpu))} ({number(min(cpu))})",
                    "1" if name == peer else results.ratio(workload.key, name, peer),
                    f"{figure('mib_rate' if bulk else 'rate'):,.0f}",
                    " / ".join(f"{figure(of):,.0f}" for of in ("p50_us", "p99_us", "p999_us")),
                    sum(results.values(workload.key, name, "failures")),
                    f"{figure('busy') * 100:.0f} %",
                    number(figure("own_cpu")),
                )
            )
        heads = [
            "",
            f"CPU {workload.unit}, median (least)",
            f"ratio to {peer}, median (quartiles)",
            "MiB/s" if bulk else f"{workload.per}s/s",
            "p50 / p99 / p99.9 µs",
            "failures",
            "proxy's core busy",
            f"load generator {workload.unit}",
        ]
        self.lines += table(heads, rows)
        self._causes("Failures", ((name, [sample.found for sample in results.of(workload.key, name)]) for name in results.names))

    def _causes(self, title, runs):
        """A line about what went wrong, if anything did; `runs`: pairs of a name and what its load runs found."""
        words = [f"{name}: {cause} {count}" for name, found in runs for cause, count in causes(found)]
        if words:
            self.lines += [f"{title}: {', '.join(words)}.", ""]

    def add_idle(self, rows, what):
        must, aim = targets.IDLE_KIB
        self.lines += [f"## Idle {what} connections: user memory", ""]
        self.lines += table(
            ["", "opened, still open", "KiB before", "KiB with them", "KiB each", "must", "aim", ""],
            [
                (
                    row["name"],
                    f"{row['connections']:,}, {row['open']:,}",
                    f"{row['before']:,}",
                    f"{row['after']:,}",
                    f"{row['each']:.2f}",
                    *((f"≤ {must:g}", f"{aim:g}", targets.verdict(row["each"], must, aim)) if row["name"] == "clbd" else ("", "", "")),
                )
                for row in rows
            ],
        )

    def add_sessions(self, row):
        self.lines += [
            f"## {row['sessions']:,} UDP sessions of clbd: user memory",
            "",
            f"{row['answered']:,} were answered, {row['held']:,} held, through {row['sockets']:,} sockets towards {row['backends']} backends. "
            f"User memory {row['before']:,} → {row['after']:,} KiB: {row['each'] * 1024:.0f} octets a session.",
            "",
        ]

    def add_floods(self, runs, options, rate):
        self.lines += [f"## {options.flood:,} handshakes that are never finished ({options.flood_kind}), beside {rate:,} HTTPS requests/s", ""]
        rows = []
        for run in runs:
            pairs = ((run.coming, run.coming_elsewhere), (run.beside, run.held_elsewhere))
            growths = [run.growth(found, base) for found, base in pairs]
            words = ["reached" if growth.median < targets.FLOOD_RATIO else "**missed**" for growth in growths]
            rows.append(
                (
                    run.name,
                    f"{median(run.held):,.0f}",
                    f"{run.p99(run.calm):.2f}",
                    f"{run.p99(run.coming_elsewhere):.2f}",
                    f"{run.p99(run.coming):.2f}",
                    growths[0],
                    f"{run.p99(run.held_elsewhere):.2f}",
                    f"{run.p99(run.beside):.2f}",
                    growths[1],
                    sum(found["failures"] for found in run.all()),
                    len(run.calm),
                    f"while they come {words[0]}, held {words[1]}" if run.kind == "clbd" else "",
                )
            )
        heads = [
            "",
            "of them held by the proxy when all had come",
            "p99 ms without",
            "while they come elsewhere",
            "while they come here",
            "ratio",
            "while they are held elsewhere",
            "while they are held here",
            "ratio",
            "failures",
            "n",
            f"must: ratios < {targets.FLOOD_RATIO:g}",
        ]
        self.lines += table(heads, rows)
        self.lines += ["Elsewhere: at a listener that only accepts, which has the idle time of the proxy's core. What the same flood costs there is no proxy's.", ""]
        self._causes("Failures", ((run.name, run.all()) for run in runs))

    def add_scrapes(self, run, rules, rate, seconds):
        self.lines += [f"## clbd's metrics scraped with {rules:,} rules, while {rate:,} requests/s run", ""]
        rows = []
        for title, figure in (("p99", "p99_us"), ("p99.9", "p999_us")):
            calm, scraped = ([found[figure] for found in runs] for runs in (run.calm, run.scraped))
            rows.append((title, f"{median(calm) / 1000:.2f} → {median(scraped) / 1000:.2f}", Ratio(scraped, calm), len(calm)))
        self.lines += table(["", "ms, undisturbed → with a scrape", "ratio of the two", "n"], rows)
        self.lines += [
            f"Each run lasts {seconds:g} s, with one scrape in its middle or none; all of clbd's threads have one core. "
            f"A scrape took {median(run.took):.0f} ms (longest {max(run.took):.0f}) for {run.size / 1e6:.1f} MB, beside the requests.",
            "",
        ]

    def add_changes(self, runs, rules, rate, seconds):
        self.lines += [f"## One rule added to {rules:,}, while {rate:,} requests/s run", ""]
        rows = []
        for run in runs:
            slower = Ratio([found["p999_us"] for found in run.changed], [found["p999_us"] for found in run.calm])
            rows.append(
                (
                    f"{run.name}: {run.way}",
                    f"{median(run.first):.1f} ({max(run.first):.1f})",
                    f"{median(run.settled):.1f} ({max(run.settled):.1f})",
                    f"{median(run.answered):.1f} ({max(run.answered):.1f})" if run.answered else "",
                    f"{median(run.ordered):.1f}",
                    f"{median(run.control):.1f}",
                    f"{run.figure(run.calm, 'p999_us') / 1000:.2f} → {run.figure(run.changed, 'p999_us') / 1000:.2f}",
                    slower,
                    f"{run.failures(run.calm)} → {run.failures(run.changed)}",
                    len(run.changed),
                )
            )
        heads = [
            "",
            "first new answer after ms, median (longest)",
            "only new answers after ms",
            "first new answer after the order's answer, ms",
            "order took ms",
            "control CPU ms",
            "p99.9 ms, undisturbed → with change",
            "ratio of the two",
            "failed requests",
            "n",
        ]
        self.lines += table(heads, rows)
        self._causes("Failures with a change", ((f"{run.name} {run.way}", run.changed) for run in runs))
        self._causes("Undisturbed", ((f"{run.name} {run.way}", run.calm) for run in runs))
        self.lines += [
            f"Each run lasts {seconds:g} s. Times count from the order (signal, runtime command, or first API call) to an answer on a new connection, asked for every 0.5 ms. "
            "For clbd the order is two signed calls, the rule and its backend, each durable when it is answered, the second sent after the first one's task; it took until the second one's task. "
            f"The target for clbd: in force {targets.EFFECT_MS[0]:g} ms after the commit, aim {targets.EFFECT_MS[1]:g} ms; 0 failed requests. "
            "Control CPU is that of nginx's and HAProxy's master process, and of all threads of clbd that are no workers; a command to HAProxy's runtime socket is done by its worker and is not in it.",
            "",
        ]
