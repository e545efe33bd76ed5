"""What is measured side by side: in alternating order, compared pair by pair."""

import statistics
from typing import NamedTuple


class Ratio(NamedTuple):
    """A median of ratios with its 95% interval."""

    median: float
    low: float
    high: float

    def __str__(self):
        return f"{self.median:.3f} [{self.low:.3f}, {self.high:.3f}]"


def alternate(pairs, runs):
    """Returns what functions without arguments give, by name: called in turn, every second time the other way round."""
    given = {name: [] for name in runs}
    for i in range(pairs):
        for name in list(runs)[:: 1 if i % 2 else -1]:
            given[name].append(runs[name]())
    return given


def compare(above, below):
    """Returns the `Ratio` of what was measured in pairs."""
    return median_interval([a / b for a, b in zip(above, below, strict=True)])


def median_interval(ratios):
    """Returns the `Ratio` of some ratios. Below six of them the interval is their range, and covers less."""
    ordered = sorted(ratios)
    # The interval between the k-th smallest and the k-th largest covers the median with probability 1 - 2 P(B < k).
    k = next(k for k in range(len(ordered) // 2, -1, -1) if k == 0 or _tail(len(ordered), k) <= 0.025)
    return Ratio(statistics.median(ordered), ordered[max(k - 1, 0)], ordered[-max(k, 1)])


def _tail(n, k):
    """Returns P(B < k) for B ~ Binomial(n, 1/2)."""
    from scipy.stats import binom

    return binom.cdf(k - 1, n, 0.5)
