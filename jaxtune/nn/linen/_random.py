"""Layers that draw while training: the dropouts and noise."""

import functools as ft
from collections.abc import Callable, Sequence
from typing import Any, Literal

import flax.linen as nn

from jaxtune import _check
from jaxtune._types import Array, Float, ScalarLike
from jaxtune.nn._dropout import dropout
from jaxtune.nn._noise import alpha_dropout, gaussian_dropout, noise
from jaxtune.nn._structured import drop_block, drop_path, spatial_dropout
from jaxtune.nn._variational import variational_dropout


class Dropout(nn.Module):
    """`flax.linen.Dropout` with a rate that may be traced.

    Given the same name in the model it draws the same masks as Flax's layer.

    Attributes:
      rate: probability of dropping, in [0, 1]; may be traced.
      broadcast_dims: dimensions along which the mask is the same.
      deterministic: whether to return the input; here or in the call.
      rng_collection: the stream of random keys that is used.
    """

    rate: ScalarLike
    broadcast_dims: Sequence[int] = ()
    deterministic: bool | None = None
    rng_collection: str = "dropout"

    @nn.compact
    def __call__(self, x: Float[Array, "..."], deterministic: bool | None = None) -> Float[Array, "..."]:
        """Returns `x` with entries dropped, or as it is if `deterministic`."""
        _check.number("rate", self.rate, low=0.0, high=1.0)
        if nn.merge_param("deterministic", self.deterministic, deterministic):
            return x
        if isinstance(self.rate, (int, float)) and self.rate == 0:
            return x
        return dropout(self.make_rng(self.rng_collection), x, self.rate, broadcast_dims=self.broadcast_dims)


class SpatialDropout(nn.Module):
    """Drops whole channels of sequences, images or volumes; see `jaxtune.nn.spatial_dropout`.

    Attributes:
      rate: probability of dropping a channel, in [0, 1]; may be traced.
      deterministic: whether to return the input; here or in the call.
      rng_collection: the stream of random keys that is used.
    """

    rate: ScalarLike
    deterministic: bool | None = None
    rng_collection: str = "dropout"

    @nn.compact
    def __call__(self, x: Float[Array, "..."], deterministic: bool | None = None) -> Float[Array, "..."]:
        """Returns `x` with channels dropped, or as it is if `deterministic`."""
        return drawn(self, spatial_dropout, x, deterministic)


class DropPath(nn.Module):
    """Drops a residual branch for some examples; see `jaxtune.nn.drop_path`.

    Attributes:
      rate: probability of dropping the branch, in [0, 1]; may be traced.
      deterministic: whether to return the input; here or in the call.
      rng_collection: the stream of random keys that is used.
    """

    rate: ScalarLike
    deterministic: bool | None = None
    rng_collection: str = "dropout"

    @nn.compact
    def __call__(self, x: Float[Array, "..."], deterministic: bool | None = None) -> Float[Array, "..."]:
        """Returns `x` with examples set to zero, or as it is if `deterministic`."""
        return drawn(self, drop_path, x, deterministic)


class DropBlock(nn.Module):
    """Drops square regions of channels; see `jaxtune.nn.drop_block`.

    Attributes:
      rate: share to drop, in [0, 1]; may be traced.
      block: side of the squares.
      deterministic: whether to return the input; here or in the call.
      rng_collection: the stream of random keys that is used.
    """

    rate: ScalarLike
    block: int
    deterministic: bool | None = None
    rng_collection: str = "dropout"

    @nn.compact
    def __call__(self, x: Float[Array, "..."], deterministic: bool | None = None) -> Float[Array, "..."]:
        """Returns `x` with regions dropped, or as it is if `deterministic`."""
        return drawn(self, ft.partial(drop_block, block=self.block), x, deterministic)


class GaussianDropout(nn.Module):
    """Multiplies by normal noise of mean 1 and dropout's variance; see `jaxtune.nn.gaussian_dropout`.

    Attributes:
      rate: the dropout rate whose variance it has, in [0, 1); may be traced.
      deterministic: whether to return the input; here or in the call.
      rng_collection: the stream of random keys that is used.
    """

    rate: ScalarLike
    deterministic: bool | None = None
    rng_collection: str = "dropout"

    @nn.compact
    def __call__(self, x: Float[Array, "..."], deterministic: bool | None = None) -> Float[Array, "..."]:
        """Returns `x` times noise, or as it is if `deterministic`."""
        return drawn(self, gaussian_dropout, x, deterministic)


class AlphaDropout(nn.Module):
    """Dropout that keeps mean and variance of SELU units; see `jaxtune.nn.alpha_dropout`.

    Attributes:
      rate: probability of dropping, in [0, 1]; may be traced.
      deterministic: whether to return the input; here or in the call.
      rng_collection: the stream of random keys that is used.
    """

    rate: ScalarLike
    deterministic: bool | None = None
    rng_collection: str = "dropout"

    @nn.compact
    def __call__(self, x: Float[Array, "..."], deterministic: bool | None = None) -> Float[Array, "..."]:
        """Returns `x` with entries dropped, or as it is if `deterministic`."""
        return drawn(self, alpha_dropout, x, deterministic)


class Noise(nn.Module):
    """Adds or multiplies noise; see `jaxtune.nn.noise`.

    Attributes:
      scale: standard deviation, at least 0; may be traced.
      multiplicative: whether the noise multiplies.
      distribution: `"normal"` or `"uniform"`.
      deterministic: whether to return the input; here or in the call.
      rng_collection: the stream of random keys that is used.
    """

    scale: ScalarLike
    multiplicative: bool = False
    distribution: Literal["normal", "uniform"] = "normal"
    deterministic: bool | None = None
    rng_collection: str = "noise"

    @nn.compact
    def __call__(self, x: Float[Array, "..."], deterministic: bool | None = None) -> Float[Array, "..."]:
        """Returns `x` with noise, or as it is if `deterministic`."""
        draw = ft.partial(noise, multiplicative=self.multiplicative, distribution=self.distribution)
        return drawn(self, draw, x, deterministic, self.scale)


class VariationalDropout(nn.Module):
    """Drops the same features at every time of a sequence; see `jaxtune.nn.variational_dropout`.

    Attributes:
      rate: probability of dropping a feature, in [0, 1]; may be traced.
      deterministic: whether to return the input; here or in the call.
      rng_collection: the stream of random keys that is used.
    """

    rate: ScalarLike
    deterministic: bool | None = None
    rng_collection: str = "dropout"

    @nn.compact
    def __call__(self, x: Float[Array, "..."], deterministic: bool | None = None) -> Float[Array, "..."]:
        """Returns `x` with features dropped, or as it is if `deterministic`."""
        return drawn(self, variational_dropout, x, deterministic)


def drawn(module: Any, fn: Callable[..., Any], x: Any, deterministic: bool | None, *strength: ScalarLike) -> Any:
    """Returns fn(key, x, strength), or x if deterministic; the strength is the layer's rate unless given."""
    if nn.merge_param("deterministic", module.deterministic, deterministic):
        return x
    return fn(module.make_rng(module.rng_collection), x, *(strength or (module.rate,)))
