"""Medians and quartiles."""

import statistics


def median(values):
    return statistics.median(values)


def quartiles(values):
    """(lower, upper); of one value both are that value."""
    if len(values) == 1:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


class Ratio:
    """The per-round ratios of two paired series."""

    def __init__(self, ours, theirs):
        if len(ours) != len(theirs):
            raise ValueError(f"{len(ours)} rounds against {len(theirs)}")
        self.values = [mine / other for mine, other in zip(ours, theirs) if other > 0]
        if not self.values:
            raise ValueError("no round has a value to divide by")
        self.median = median(self.values)
        self.low, self.high = quartiles(self.values)
        self.least = min(self.values)
        self.n = len(self.values)

    def __str__(self):
        return f"{self.median:.2f} ({self.low:.2f}–{self.high:.2f})"
