"""What is measured side by side: in alternating order, compared pair by pair."""

import statistics


def alternate(pairs, runs):
    """Returns what functions without arguments give, by name: called in turn, every second time the other way round."""
    given = {name: [] for name in runs}
    for i in range(pairs):
        for name in list(runs)[:: 1 if i % 2 else -1]:
            given[name].append(runs[name]())
    return given


def compare(above, below):
    """Returns the ratios of what was measured in pairs, their median and its interval."""
    ratios = [a / b for a, b in zip(above, below, strict=True)]
    median, low, high = median_interval(ratios)
    return {"ratios": ratios, "median": median, "interval": [low, high]}


def text(compared, digits=3):
    """Returns what `compare` gives as text."""
    low, high = compared["interval"]
    return f"{compared['median']:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def median_interval(ratios):
    """Returns the median, and the two ends of its 95% interval; of fewer than six the interval is the range."""
    ordered = sorted(ratios)
    # The interval between the k-th smallest and the k-th largest covers the median with probability 1 - 2 P(B < k).
    k = next(k for k in range(len(ordered) // 2, -1, -1) if k == 0 or _tail(len(ordered), k) <= 0.025)
    return statistics.median(ordered), ordered[max(k - 1, 0)], ordered[-max(k, 1)]


def _tail(n, k):
    """Returns P(B < k) for B ~ Binomial(n, 1/2)."""
    from scipy.stats import binom

    return binom.cdf(k - 1, n, 0.5)
