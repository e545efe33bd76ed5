"""Data with a known truth: each function returns splits, and the function that the labels or targets come from.

The truth takes inputs, an array of shape (n, ...), and returns labels or targets without noise, shape (n,).
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxtune import _check
from jaxtune._errors import InputError
from jaxtune._types import Float
from jaxtune.data._arrays import Arrays
from jaxtune.data._splits import Splits, split

Truth = Callable[[np.ndarray], np.ndarray]
_SHARES = (0.6, 0.2, 0.2)


def moons(
    n: int = 1000, *, noise: float = 0.1, seed: int = 0, fractions: Sequence[float] = _SHARES
) -> tuple[Splits, Truth]:
    """Returns two interleaved half circles of radius 1 in the plane; the truth is the nearer one.

    Args:
      n: examples, half of each class.
      noise: standard deviation of the points around the half circles.
      seed: fixes points and split.
      fractions: shares of training, validation and test examples.
    """

    def curve(t: np.ndarray, label: int) -> np.ndarray:
        angle = np.pi * t
        sign = 1 - 2 * label
        return np.stack([sign * np.cos(angle) + label, sign * np.sin(angle) + 0.5 * label], -1)

    return _of_curves(curve, n, noise, seed, fractions)


def spirals(
    n: int = 1000, *, turns: float = 1.5, noise: float = 0.02, seed: int = 0, fractions: Sequence[float] = _SHARES
) -> tuple[Splits, Truth]:
    """Returns two spirals that wind around each other out to radius 1; the truth is the nearer one.

    Args:
      n: examples, half of each class.
      turns: how often they wind around.
      noise: standard deviation of the points around the spirals.
      seed: fixes points and split.
      fractions: shares of training, validation and test examples.
    """
    _check.number("turns", turns, low=0.0, exclusive=True)

    def curve(t: np.ndarray, label: int) -> np.ndarray:
        radius = 0.1 + 0.9 * t
        angle = 2 * np.pi * turns * t + np.pi * label
        return radius[..., None] * np.stack([np.cos(angle), np.sin(angle)], -1)

    return _of_curves(curve, n, noise, seed, fractions)


class Linear(NamedTuple):
    """The truth `x @ coefficients`."""

    coefficients: Float[np.ndarray, " features"]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Returns the targets without noise."""
        return np.asarray(x) @ self.coefficients


def sparse_linear(
    n: int = 500,
    features: int = 50,
    nonzero: int = 5,
    *,
    noise: float = 1.0,
    seed: int = 0,
    fractions: Sequence[float] = _SHARES,
) -> tuple[Splits, Linear]:
    """Returns a regression on independent standard normal features, of which a few matter.

    Args:
      n: examples.
      features: number of features.
      nonzero: number of those that matter; their coefficients lie between 1 and 3, of either sign.
      noise: standard deviation of the targets around the truth.
      seed: fixes coefficients, examples and split.
      fractions: shares of training, validation and test examples.
    """
    if _check.count("nonzero", nonzero, low=0) > _check.count("features", features):
        raise InputError("nonzero", nonzero, f"there are {features} features", "Choose at most as many.")
    rng = np.random.default_rng(_check.seed("seed", seed))
    coefficients = np.zeros(features)
    chosen = rng.choice(features, nonzero, replace=False)
    coefficients[chosen] = rng.uniform(1, 3, nonzero) * rng.choice([-1, 1], nonzero)
    truth = Linear(coefficients)
    x = rng.normal(size=(_check.count("n", n), features))
    return _noisy(x, truth, noise, rng, seed, fractions), truth


def polynomial(
    n: int = 100,
    coefficients: Sequence[float] = (0.0, 1.0, 0.0, -1.0),
    *,
    noise: float = 0.1,
    seed: int = 0,
    fractions: Sequence[float] = _SHARES,
) -> tuple[Splits, Truth]:
    """Returns a regression on one number in [-1, 1], whose truth is a polynomial: for curves of bias and variance.

    Args:
      n: examples.
      coefficients: of 1, x, x^2, and so on.
      noise: standard deviation of the targets around the truth.
      seed: fixes examples and split.
      fractions: shares of training, validation and test examples.
    """
    powers = [float(_check.number("coefficients", c)) for c in _check.sequence("coefficients", coefficients)]
    if not powers:
        raise InputError("coefficients", coefficients, "there is none", "Pass at least that of 1.")

    def truth(x: np.ndarray) -> np.ndarray:
        return np.asarray(np.polynomial.polynomial.polyval(np.asarray(x)[:, 0], powers))

    rng = np.random.default_rng(_check.seed("seed", seed))
    x = rng.uniform(-1, 1, (_check.count("n", n), 1))
    return _noisy(x, truth, noise, rng, seed, fractions), truth


def adding(
    n: int = 2000, length: int = 20, *, seed: int = 0, fractions: Sequence[float] = _SHARES
) -> tuple[Splits, Truth]:
    """Returns the adding problem: sequences of numbers in [0, 1], of which the target is the sum of the two marked ones.

    x has shape (n, length, 2): the numbers, and 1 where they are marked, once in either half. To answer always 1, the mean,
    has a squared error of 1/6.

    Args:
      n: examples.
      length: of the sequences, at least 2.
      seed: fixes examples and split.
      fractions: shares of training, validation and test examples.

    References:
      Hochreiter and Schmidhuber, "Long short-term memory", Neural Computation 1997, experiment 4.
    """
    half = _check.count("length", length, low=2) // 2
    rng = np.random.default_rng(_check.seed("seed", seed))
    values = rng.uniform(size=(_check.count("n", n), length))
    marks = np.zeros_like(values)
    marks[np.arange(n), rng.integers(0, half, n)] = 1
    marks[np.arange(n), rng.integers(half, length, n)] = 1

    def truth(x: np.ndarray) -> np.ndarray:
        return np.asarray((x[..., 0] * x[..., 1]).sum(-1))

    return _noisy(np.stack([values, marks], -1), truth, 0.0, rng, seed, fractions), truth


def _of_curves(
    curve: Callable[[np.ndarray, int], np.ndarray], n: int, noise: float, seed: int, fractions: Sequence[float]
) -> tuple[Splits, Truth]:
    """Returns points around two curves, which a parameter in [0, 1] runs along."""
    _check.number("noise", noise, low=0.0)
    rng = np.random.default_rng(_check.seed("seed", seed))
    y = np.arange(_check.count("n", n, low=2)) % 2
    t = rng.uniform(size=n)
    x = np.where(y[:, None] == 0, curve(t, 0), curve(t, 1)) + noise * rng.normal(size=(n, 2))

    def truth(x: np.ndarray) -> np.ndarray:
        fine = np.linspace(0, 1, 2000)
        distances = []
        for label in (0, 1):
            points = curve(fine, label)
            blocks = [np.asarray(x)[i : i + 256, None] - points[None] for i in range(0, len(x), 256)]
            distances.append(np.concatenate([np.square(block).sum(-1).min(1) for block in blocks]))
        return (distances[1] < distances[0]).astype(np.int32)

    return Splits(*split(Arrays(x, y.astype(np.int32)), seed, fractions)), truth


def _noisy(
    x: np.ndarray, truth: Any, noise: float, rng: np.random.Generator, seed: int, fractions: Sequence[float]
) -> Splits:
    _check.number("noise", noise, low=0.0)
    return Splits(*split(Arrays(x, truth(x) + noise * rng.normal(size=len(x))), seed, fractions))
