"""Linen shells over the functions of `jaxtune.nn`."""

import functools as ft
from collections.abc import Callable, Sequence
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp

from jaxtune import _check
from jaxtune._types import Array, Float, ScalarLike
from jaxtune.nn._dropout import dropout
from jaxtune.nn._noise import alpha_dropout, gaussian_dropout, noise
from jaxtune.nn._structured import drop_block, drop_connect, drop_path, spatial_dropout
from jaxtune.nn._variational import state_dropout, variational_dense, variational_dropout


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
        return _drawn(self, spatial_dropout, x, deterministic)


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
        return _drawn(self, drop_path, x, deterministic)


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
        return _drawn(self, ft.partial(drop_block, block=self.block), x, deterministic)


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
        return _drawn(self, gaussian_dropout, x, deterministic)


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
        return _drawn(self, alpha_dropout, x, deterministic)


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
        return _drawn(self, draw, x, deterministic, self.scale)


class DropConnectDense(nn.Module):
    """A dense layer whose weights are dropped; see `jaxtune.nn.drop_connect`.

    Attributes:
      features: number of outputs.
      rate: probability of dropping a weight, in [0, 1]; may be traced.
      use_bias: whether a bias is added, of which nothing is dropped.
      kernel_init: initializer of the kernel.
      deterministic: whether to use all weights; here or in the call.
      rng_collection: the stream of random keys that is used.
    """

    features: int
    rate: ScalarLike
    use_bias: bool = True
    kernel_init: Callable[..., Array] = nn.initializers.lecun_normal()
    deterministic: bool | None = None
    rng_collection: str = "dropout"

    @nn.compact
    def __call__(self, x: Float[Array, "... inputs"], deterministic: bool | None = None) -> Float[Array, "... outputs"]:
        """Returns `x @ kernel + bias`, with weights dropped unless `deterministic`."""
        kernel = self.param("kernel", self.kernel_init, (x.shape[-1], self.features))
        y = x @ _drawn(self, drop_connect, kernel, deterministic)
        return _plus_bias(y, self.param("bias", nn.initializers.zeros_init(), (self.features,))) if self.use_bias else y


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
        return _drawn(self, variational_dropout, x, deterministic)


class StateDropout(nn.RNNCellBase):
    """A recurrent cell that sees its state with the same features dropped at every time; see `jaxtune.nn.state_dropout`.

    It goes into `nn.RNN(StateDropout(cell, rate), split_rngs={"params": False, "dropout": False})`, which hands the same
    key to all times.

    Attributes:
      cell: the cell.
      rate: probability of dropping a feature of a state, in [0, 1]; may be traced.
      deterministic: whether the cell sees all of its state.
      where: `where(path, leaf)` chooses the parts of the carry; None is the hidden state.
      rng_collection: the stream of random keys that is used.
    """

    cell: nn.RNNCellBase
    rate: ScalarLike
    deterministic: bool = False
    where: Callable[[str, Any], bool] | None = None
    rng_collection: str = "dropout"

    def __call__(self, carry: Any, x: Any) -> tuple[Any, Any]:
        """Returns the next carry and the output."""
        if self.deterministic:
            return self.cell(carry, x)
        key = self.make_rng(self.rng_collection)
        return state_dropout(self.cell, key, self.rate, where=self.where)(carry, x)

    def initialize_carry(self, rng: Any, input_shape: tuple[int, ...]) -> Any:
        """Returns the cell's first carry."""
        return self.cell.initialize_carry(rng, input_shape)

    @property
    def num_feature_axes(self) -> int:
        """Number of axes of an input that are features."""
        return self.cell.num_feature_axes


class GaussianVariationalDense(nn.Module):
    """A dense layer whose weights have noise of a learned relative variance; see `jaxtune.nn.variational_dense`.

    Its parameters are `kernel`, `log_alpha` of the same shape, and `bias`. Train it with the penalty
    `jt.penalties.variational_kl(1 / n)` for n training examples.

    Attributes:
      features: number of outputs.
      log_alpha: log of the relative variance at first.
      threshold: in evaluation, weights with a larger log alpha are 0; infinity prunes none; may be traced.
      use_bias: whether a bias is added.
      kernel_init: initializer of the kernel.
      deterministic: whether to use the means of the weights; here or in the call.
      rng_collection: the stream of random keys that is used.
    """

    features: int
    log_alpha: ScalarLike = -8.0
    threshold: ScalarLike = 3.0
    use_bias: bool = True
    kernel_init: Callable[..., Array] = nn.initializers.lecun_normal()
    deterministic: bool | None = None
    rng_collection: str = "dropout"

    @nn.compact
    def __call__(self, x: Float[Array, "... inputs"], deterministic: bool | None = None) -> Float[Array, "... outputs"]:
        """Returns `x @ w + bias`, with w drawn, or their means if `deterministic`."""
        shape = (x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        log_alpha = self.param("log_alpha", lambda key, shape: jnp.full(shape, self.log_alpha, jnp.float32), shape)
        if nn.merge_param("deterministic", self.deterministic, deterministic):
            y = x @ jnp.where(log_alpha > self.threshold, 0, kernel)
        else:
            y = variational_dense(self.make_rng(self.rng_collection), x, kernel, log_alpha)
        return _plus_bias(y, self.param("bias", nn.initializers.zeros_init(), (self.features,))) if self.use_bias else y


def _drawn(module: Any, fn: Callable[..., Any], x: Any, deterministic: bool | None, *strength: ScalarLike) -> Any:
    """Returns fn(key, x, strength), or x if deterministic; the strength is the layer's rate unless given."""
    if nn.merge_param("deterministic", module.deterministic, deterministic):
        return x
    return fn(module.make_rng(module.rng_collection), x, *(strength or (module.rate,)))


def _plus_bias(y: Array, bias: Array) -> Array:
    return y + bias.reshape((1,) * (y.ndim - 1) + bias.shape)
