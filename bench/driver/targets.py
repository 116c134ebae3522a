"""What clbd must reach, and aims at. Each ratio is clbd's figure divided by the peer's: less is better."""

from dataclasses import dataclass


@dataclass
class Target:
    """`to`: a kind of proxy, "better peer" (nginx or HAProxy, whichever has the lower median), or a figure of its own: "own one route", "own without log"."""

    key: str
    to: str
    must: float
    aim: float | None = None
    figure: str = "cpu"


RATIOS = [
    Target("keepalive", "nginx", 0.80, 0.70),
    Target("keepalive", "haproxy", 0.70, 0.60),
    Target("keepalive", "floor", 1.20, 1.10),
    Target("rules", "nginx", 0.60, 0.50),
    Target("rules", "haproxy", 0.65, 0.55),
    Target("rules", "own one route", 1.05),
    Target("logged", "own without log", 1.10),
    Target("logged", "nginx", 0.80, 0.70),
    Target("rate", "better peer", 1.0, figure="p999_us"),
    Target("connections", "better peer", 1.05, 0.95),
    Target("bulk", "nginx", 0.45, 0.35),
    Target("bulk", "haproxy", 0.55, 0.40),
    Target("single", "nginx", 0.95, 0.88),
    Target("single-1200", "nginx", 0.95, 0.88),
    Target("queued-64", "nginx", 0.85, 0.75),
    Target("queued", "nginx", 0.85, 0.75),
    Target("p256", "nginx", 0.50, 0.42),
    Target("rsa", "nginx", 0.85, 0.79),
    Target("resumed", "nginx", 0.60, 0.49),
    Target("https", "nginx", 0.65, 0.55),
    Target("answers", "nginx", 0.75, 0.60),
    Target("h2", "better peer", 1.0, 0.90),
]

IDLE_KIB = (3.0, 1.5)
"""User memory of an idle connection, must and aim."""

EFFECT_MS = (5.0, 1.0)
"""From the commit of a rule until it is in force, must and aim."""

FLOOD_RATIO = 2.0
"""By how much the p99 of other traffic may grow beside unfinished handshakes: less than this."""


def verdict(value, must, aim):
    """In words. A target that is missed is said to be missed."""
    if aim is not None and value <= aim:
        return "aim reached"
    return "reached" if value <= must else "**missed**"
