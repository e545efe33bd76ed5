"""Spaces drawn from distributions."""

import dataclasses
import math
from typing import Any, Literal

import numpy as np

from jaxtune import _check
from jaxtune._errors import InputError, InputTypeError
from jaxtune.sweep.space._axis import Axis, check_name, make_axis
from jaxtune.sweep.space._space import Space, drawn


@dataclasses.dataclass(frozen=True)
class Uniform:
    """Numbers between two bounds, uniform themselves or in their logarithm."""

    low: float
    high: float
    log: bool


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of some values, all equally likely."""

    values: Any


Distribution = Uniform | Choice


def uniform(low: float, high: float) -> Distribution:
    """Returns the uniform distribution on [low, high), for `jt.sample`.

    Raises:
      ValueError: the bounds are not finite, or not in order.
    """
    return _interval(low, high, log=False)


def log_uniform(low: float, high: float) -> Distribution:
    """Returns the distribution on [low, high) whose logarithm is uniform, for `jt.sample`.

    Raises:
      ValueError: the bounds are not finite, not positive, or not in order.
    """
    return _interval(low, high, log=True)


def choice(values: Any) -> Distribution:
    """Returns the uniform distribution over some values, for `jt.sample`.

    Args:
      values: what `jt.grid` takes for an axis: a sequence, or a dict of labels to values; `jt.static` and `jt.traced`
        override what is traced.
    """
    return Choice(values)


def sample(
    n: int, /, *, method: Literal["sobol", "random", "latin"] = "sobol", seed: int = 0, **axes: Distribution
) -> Space:
    """Returns n arms drawn from distributions; the result has the dim `arm`, with the drawn values as coordinates.

    Args:
      n: number of arms.
      method: `"sobol"` for a scrambled Sobol sequence, which fills the space evenly, best where n is a power of 2;
        `"latin"` for a Latin hypercube; `"random"` for independent draws.
      seed: fixes the draws.
      **axes: a distribution for each hyperparameter: `jt.uniform`, `jt.log_uniform` or `jt.choice`.

    Raises:
      ValueError, TypeError: no arms, no axes, an unknown method, or a value in place of a distribution.

    References:
      Bergstra and Bengio, "Random search for hyper-parameter optimization", JMLR 2012.
      Owen, "Scrambling Sobol' and Niederreiter-Xing points", Journal of Complexity 1998.
    """
    n, seed = _check.count("n", n, high=2**20), _check.seed("seed", seed)
    if not axes:
        raise InputError("axes", {}, "there is nothing to draw", "Pass lr=jt.log_uniform(1e-4, 1e-1), say.")
    for name, distribution in axes.items():
        check_name(name)
        if not isinstance(distribution, (Uniform, Choice)):
            raise InputTypeError(
                name,
                distribution,
                "it is no distribution",
                "Use jt.uniform, jt.log_uniform or jt.choice; multiply by jt.grid for fixed values.",
            )
    points = _points(method, n, len(axes), seed)
    return drawn([_axis(name, d, points[:, i]) for i, (name, d) in enumerate(axes.items())])


def _interval(low: float, high: float, log: bool) -> Uniform:
    name = "log_uniform" if log else "uniform"
    for bound in (low, high):
        _check.number(name, bound)
        if np.ndim(bound):
            raise InputTypeError(name, bound, "a bound is one number", "Pass (low, high).")
    if not low < high or (log and low <= 0):
        raise InputError(
            name, (low, high), "the bounds have to be in order" + (", and positive" if log else ""), "Pass (low, high)."
        )
    return Uniform(float(low), float(high), log)


def _points(method: str, n: int, d: int, seed: int) -> np.ndarray:
    """Returns n points in the unit cube of d dimensions."""
    from scipy.stats import qmc

    rng = np.random.default_rng(seed)
    if method == "random":
        return rng.random((n, d))
    if method == "latin":
        return qmc.LatinHypercube(d, rng=rng).random(n)
    if method == "sobol":
        whole = qmc.Sobol(d, scramble=True, rng=rng).random_base2(math.ceil(math.log2(n)))
        return np.asarray(whole[:n])
    raise InputError("method", method, "there is no such method", "Pass 'sobol', 'random' or 'latin'.")


def _axis(name: str, distribution: Distribution, unit: np.ndarray) -> Axis:
    if isinstance(distribution, Choice):
        options = make_axis(name, distribution.values)
        index = np.minimum((unit * len(options.values)).astype(int), len(options.values) - 1)
        return Axis(
            name, tuple(options.values[i] for i in index), tuple(options.labels[i] for i in index), options.traced
        )
    low, high = distribution.low, distribution.high
    if distribution.log:
        values = np.exp(math.log(low) + unit * (math.log(high) - math.log(low)))
    else:
        values = low + unit * (high - low)
    numbers = tuple(float(v) for v in np.clip(values, low, high))
    return Axis(name, numbers, numbers, traced=True)
