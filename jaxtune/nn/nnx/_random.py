"""Layers that draw while training: the dropouts and noise."""

import functools as ft
from collections.abc import Callable, Sequence
from typing import Any, Literal

from flax import nnx

from jaxtune import _check
from jaxtune._types import Array, Float, ScalarLike
from jaxtune.nn._dropout import dropout
from jaxtune.nn._noise import alpha_dropout, gaussian_dropout, noise
from jaxtune.nn._structured import drop_block, drop_path, spatial_dropout
from jaxtune.nn._variational import variational_dropout


class Dropout(nnx.Module):
    """`flax.nnx.Dropout` with a rate that may be traced.

    It is switched by `.train()` and `.eval()`, and draws the masks that Flax's layer draws from the same `rngs`.

    Args:
      rate: probability of dropping, in [0, 1]; may be traced.
      broadcast_dims: dimensions along which the mask is the same.
      deterministic: whether to return the input.
      rng_collection: the stream of random keys that is used.
      rngs: where the keys come from.
    """

    def __init__(
        self,
        rate: ScalarLike,
        *,
        broadcast_dims: Sequence[int] = (),
        deterministic: bool = False,
        rng_collection: str = "dropout",
        rngs: nnx.Rngs,
    ):
        self.rate = _check.number("rate", rate, low=0.0, high=1.0)
        self.broadcast_dims = tuple(broadcast_dims)
        self.deterministic = deterministic
        self.rngs = rngs[rng_collection].fork()

    def __call__(self, x: Float[Array, "..."], *, deterministic: bool | None = None) -> Float[Array, "..."]:
        """Returns `x` with entries dropped, or as it is if `deterministic`."""
        if self.deterministic if deterministic is None else deterministic:
            return x
        if isinstance(self.rate, (int, float)) and self.rate == 0:
            return x
        return dropout(self.rngs(), x, self.rate, broadcast_dims=self.broadcast_dims)


class _Random(nnx.Module):
    """A layer of `draw(key, x, rate)`."""

    draw: Callable[..., Any]

    def __init__(
        self, rate: ScalarLike, *, deterministic: bool = False, rng_collection: str = "dropout", rngs: nnx.Rngs
    ):
        self.rate = rate
        self.deterministic = deterministic
        self.rngs = rngs[rng_collection].fork()

    def __call__(self, x: Float[Array, "..."], *, deterministic: bool | None = None) -> Float[Array, "..."]:
        """Returns what is drawn, or `x` as it is if `deterministic`."""
        return drawn(self, self.draw, x, deterministic, self.rate)


class SpatialDropout(_Random):
    """Drops whole channels of sequences, images or volumes; see `jaxtune.nn.spatial_dropout`.

    It is switched by `.train()` and `.eval()`.

    Args:
      rate: probability of dropping a channel, in [0, 1]; may be traced.
      deterministic: whether to return the input.
      rng_collection: the stream of random keys that is used.
      rngs: where the keys come from.
    """

    draw = staticmethod(spatial_dropout)


class DropPath(_Random):
    """Drops a residual branch for some examples; see `jaxtune.nn.drop_path`.

    It is switched by `.train()` and `.eval()`.

    Args:
      rate: probability of dropping the branch, in [0, 1]; may be traced.
      deterministic: whether to return the input.
      rng_collection: the stream of random keys that is used.
      rngs: where the keys come from.
    """

    draw = staticmethod(drop_path)


class GaussianDropout(_Random):
    """Multiplies by normal noise of mean 1 and dropout's variance; see `jaxtune.nn.gaussian_dropout`.

    It is switched by `.train()` and `.eval()`.

    Args:
      rate: the dropout rate whose variance it has, in [0, 1); may be traced.
      deterministic: whether to return the input.
      rng_collection: the stream of random keys that is used.
      rngs: where the keys come from.
    """

    draw = staticmethod(gaussian_dropout)


class AlphaDropout(_Random):
    """Dropout that keeps mean and variance of SELU units; see `jaxtune.nn.alpha_dropout`.

    It is switched by `.train()` and `.eval()`.

    Args:
      rate: probability of dropping, in [0, 1]; may be traced.
      deterministic: whether to return the input.
      rng_collection: the stream of random keys that is used.
      rngs: where the keys come from.
    """

    draw = staticmethod(alpha_dropout)


class VariationalDropout(_Random):
    """Drops the same features at every time of a sequence; see `jaxtune.nn.variational_dropout`.

    It is switched by `.train()` and `.eval()`.

    Args:
      rate: probability of dropping a feature, in [0, 1]; may be traced.
      deterministic: whether to return the input.
      rng_collection: the stream of random keys that is used.
      rngs: where the keys come from.
    """

    draw = staticmethod(variational_dropout)


class DropBlock(nnx.Module):
    """Drops square regions of channels; see `jaxtune.nn.drop_block`.

    It is switched by `.train()` and `.eval()`.

    Args:
      rate: share to drop, in [0, 1]; may be traced.
      block: side of the squares.
      deterministic: whether to return the input.
      rng_collection: the stream of random keys that is used.
      rngs: where the keys come from.
    """

    def __init__(
        self,
        rate: ScalarLike,
        *,
        block: int,
        deterministic: bool = False,
        rng_collection: str = "dropout",
        rngs: nnx.Rngs,
    ):
        self.rate = rate
        self.block = block
        self.deterministic = deterministic
        self.rngs = rngs[rng_collection].fork()

    def __call__(self, x: Float[Array, "..."], *, deterministic: bool | None = None) -> Float[Array, "..."]:
        """Returns `x` with regions dropped, or as it is if `deterministic`."""
        return drawn(self, ft.partial(drop_block, block=self.block), x, deterministic, self.rate)


class Noise(nnx.Module):
    """Adds or multiplies noise; see `jaxtune.nn.noise`.

    It is switched by `.train()` and `.eval()`.

    Args:
      scale: standard deviation, at least 0; may be traced.
      multiplicative: whether the noise multiplies.
      distribution: `"normal"` or `"uniform"`.
      deterministic: whether to return the input.
      rng_collection: the stream of random keys that is used.
      rngs: where the keys come from.
    """

    def __init__(
        self,
        scale: ScalarLike,
        *,
        multiplicative: bool = False,
        distribution: Literal["normal", "uniform"] = "normal",
        deterministic: bool = False,
        rng_collection: str = "noise",
        rngs: nnx.Rngs,
    ):
        self.scale = scale
        self.multiplicative, self.distribution = multiplicative, distribution
        self.deterministic = deterministic
        self.rngs = rngs[rng_collection].fork()

    def __call__(self, x: Float[Array, "..."], *, deterministic: bool | None = None) -> Float[Array, "..."]:
        """Returns `x` with noise, or as it is if `deterministic`."""
        return drawn(
            self,
            ft.partial(noise, multiplicative=self.multiplicative, distribution=self.distribution),
            x,
            deterministic,
            self.scale,
        )


def drawn(module: Any, fn: Callable[..., Any], x: Any, deterministic: bool | None, strength: ScalarLike) -> Any:
    """Returns fn(key, x, strength), or x if deterministic."""
    if module.deterministic if deterministic is None else deterministic:
        return x
    return fn(module.rngs(), x, strength)
