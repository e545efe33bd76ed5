"""NNX shells over the functions of `jaxtune.nn`."""

import functools as ft
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax.numpy as jnp
from flax import nnx

from jaxtune import _check
from jaxtune._types import Array, Float, ScalarLike
from jaxtune.nn._dropout import dropout
from jaxtune.nn._noise import alpha_dropout, gaussian_dropout, noise
from jaxtune.nn._structured import drop_block, drop_connect, drop_path, spatial_dropout
from jaxtune.nn._variational import variational_dense, variational_dropout

_LECUN_NORMAL = nnx.initializers.lecun_normal()


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


class SpatialDropout(nnx.Module):
    """Drops whole channels of sequences, images or volumes; see `jaxtune.nn.spatial_dropout`.

    It is switched by `.train()` and `.eval()`.

    Args:
      rate: probability of dropping, in [0, 1]; may be traced.
      deterministic: whether to return the input.
      rng_collection: the stream of random keys that is used.
      rngs: where the keys come from.
    """

    def __init__(
        self,
        rate: ScalarLike,
        *,
        deterministic: bool = False,
        rng_collection: str = "dropout",
        rngs: nnx.Rngs,
    ):
        self.rate = rate
        self.deterministic = deterministic
        self.rngs = rngs[rng_collection].fork()

    def __call__(self, x: Float[Array, "..."], *, deterministic: bool | None = None) -> Float[Array, "..."]:
        """Returns `x` with channels dropped, or as it is if `deterministic`."""
        return _drawn(self, spatial_dropout, x, deterministic, self.rate)


class DropPath(nnx.Module):
    """Drops a residual branch for some examples; see `jaxtune.nn.drop_path`.

    It is switched by `.train()` and `.eval()`.

    Args:
      rate: probability of dropping, in [0, 1]; may be traced.
      deterministic: whether to return the input.
      rng_collection: the stream of random keys that is used.
      rngs: where the keys come from.
    """

    def __init__(
        self,
        rate: ScalarLike,
        *,
        deterministic: bool = False,
        rng_collection: str = "dropout",
        rngs: nnx.Rngs,
    ):
        self.rate = rate
        self.deterministic = deterministic
        self.rngs = rngs[rng_collection].fork()

    def __call__(self, x: Float[Array, "..."], *, deterministic: bool | None = None) -> Float[Array, "..."]:
        """Returns `x` with examples set to zero, or as it is if `deterministic`."""
        return _drawn(self, drop_path, x, deterministic, self.rate)


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
        return _drawn(self, ft.partial(drop_block, block=self.block), x, deterministic, self.rate)


class GaussianDropout(nnx.Module):
    """Multiplies by normal noise of mean 1 and dropout's variance; see `jaxtune.nn.gaussian_dropout`.

    It is switched by `.train()` and `.eval()`.

    Args:
      rate: the dropout rate whose variance it has, in [0, 1); may be traced.
      deterministic: whether to return the input.
      rng_collection: the stream of random keys that is used.
      rngs: where the keys come from.
    """

    def __init__(
        self,
        rate: ScalarLike,
        *,
        deterministic: bool = False,
        rng_collection: str = "dropout",
        rngs: nnx.Rngs,
    ):
        self.rate = rate
        self.deterministic = deterministic
        self.rngs = rngs[rng_collection].fork()

    def __call__(self, x: Float[Array, "..."], *, deterministic: bool | None = None) -> Float[Array, "..."]:
        """Returns `x` times noise, or as it is if `deterministic`."""
        return _drawn(self, gaussian_dropout, x, deterministic, self.rate)


class AlphaDropout(nnx.Module):
    """Dropout that keeps mean and variance of SELU units; see `jaxtune.nn.alpha_dropout`.

    It is switched by `.train()` and `.eval()`.

    Args:
      rate: probability of dropping, in [0, 1]; may be traced.
      deterministic: whether to return the input.
      rng_collection: the stream of random keys that is used.
      rngs: where the keys come from.
    """

    def __init__(
        self,
        rate: ScalarLike,
        *,
        deterministic: bool = False,
        rng_collection: str = "dropout",
        rngs: nnx.Rngs,
    ):
        self.rate = rate
        self.deterministic = deterministic
        self.rngs = rngs[rng_collection].fork()

    def __call__(self, x: Float[Array, "..."], *, deterministic: bool | None = None) -> Float[Array, "..."]:
        """Returns `x` with entries dropped, or as it is if `deterministic`."""
        return _drawn(self, alpha_dropout, x, deterministic, self.rate)


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
        return _drawn(
            self,
            ft.partial(noise, multiplicative=self.multiplicative, distribution=self.distribution),
            x,
            deterministic,
            self.scale,
        )


class DropConnectDense(nnx.Module):
    """A dense layer whose weights are dropped; see `jaxtune.nn.drop_connect`.

    It is switched by `.train()` and `.eval()`.

    Args:
      inputs: number of inputs.
      features: number of outputs.
      rate: probability of dropping a weight, in [0, 1]; may be traced.
      use_bias: whether a bias is added, of which nothing is dropped.
      kernel_init: initializer of the kernel.
      deterministic: whether to use all weights.
      rng_collection: the stream of random keys that is used.
      rngs: where the keys come from.
    """

    def __init__(
        self,
        inputs: int,
        features: int,
        rate: ScalarLike,
        *,
        use_bias: bool = True,
        kernel_init: Callable[..., Array] = _LECUN_NORMAL,
        deterministic: bool = False,
        rng_collection: str = "dropout",
        rngs: nnx.Rngs,
    ):
        self.rate = rate
        self.deterministic = deterministic
        self.kernel = nnx.Param(kernel_init(rngs.params(), (inputs, features)))
        self.bias = nnx.Param(jnp.zeros(features)) if use_bias else None
        self.rngs = rngs[rng_collection].fork()

    def __call__(
        self, x: Float[Array, "... inputs"], *, deterministic: bool | None = None
    ) -> Float[Array, "... outputs"]:
        """Returns `x @ kernel + bias`, with weights dropped unless `deterministic`."""
        y = x @ _drawn(self, drop_connect, self.kernel[...], deterministic, self.rate)
        return y if self.bias is None else _plus_bias(y, self.bias[...])


class VariationalDropout(nnx.Module):
    """Drops the same features at every time of a sequence; see `jaxtune.nn.variational_dropout`.

    It is switched by `.train()` and `.eval()`.

    Args:
      rate: probability of dropping a feature, in [0, 1]; may be traced.
      deterministic: whether to return the input.
      rng_collection: the stream of random keys that is used.
      rngs: where the keys come from.
    """

    def __init__(
        self, rate: ScalarLike, *, deterministic: bool = False, rng_collection: str = "dropout", rngs: nnx.Rngs
    ):
        self.rate = rate
        self.deterministic = deterministic
        self.rngs = rngs[rng_collection].fork()

    def __call__(self, x: Float[Array, "..."], *, deterministic: bool | None = None) -> Float[Array, "..."]:
        """Returns `x` with features dropped, or as it is if `deterministic`."""
        return _drawn(self, variational_dropout, x, deterministic, self.rate)


class GaussianVariationalDense(nnx.Module):
    """A dense layer whose weights have noise of a learned relative variance; see `jaxtune.nn.variational_dense`.

    Its parameters are `kernel`, `log_alpha` of the same shape, and `bias`. Train it with the penalty
    `jt.penalties.variational_kl(1 / n)` for n training examples. It is switched by `.train()` and `.eval()`.

    Args:
      inputs: number of inputs.
      features: number of outputs.
      log_alpha: log of the relative variance at first; may be traced.
      threshold: in evaluation, weights with a larger log alpha are 0; infinity prunes none; may be traced.
      use_bias: whether a bias is added.
      kernel_init: initializer of the kernel.
      deterministic: whether to use the means of the weights.
      rng_collection: the stream of random keys that is used.
      rngs: where the keys come from.
    """

    def __init__(
        self,
        inputs: int,
        features: int,
        *,
        log_alpha: ScalarLike = -8.0,
        threshold: ScalarLike = 3.0,
        use_bias: bool = True,
        kernel_init: Callable[..., Array] = _LECUN_NORMAL,
        deterministic: bool = False,
        rng_collection: str = "dropout",
        rngs: nnx.Rngs,
    ):
        self.threshold = threshold
        self.deterministic = deterministic
        self.kernel = nnx.Param(kernel_init(rngs.params(), (inputs, features)))
        self.log_alpha = nnx.Param(jnp.full((inputs, features), log_alpha, jnp.float32))
        self.bias = nnx.Param(jnp.zeros(features)) if use_bias else None
        self.rngs = rngs[rng_collection].fork()

    def __call__(
        self, x: Float[Array, "... inputs"], *, deterministic: bool | None = None
    ) -> Float[Array, "... outputs"]:
        """Returns `x @ w + bias`, with w drawn, or their means if `deterministic`."""
        if self.deterministic if deterministic is None else deterministic:
            y = x @ jnp.where(self.log_alpha[...] > self.threshold, 0, self.kernel[...])
        else:
            y = variational_dense(self.rngs(), x, self.kernel[...], self.log_alpha[...])
        return y if self.bias is None else _plus_bias(y, self.bias[...])


def _drawn(module: Any, fn: Callable[..., Any], x: Any, deterministic: bool | None, strength: ScalarLike) -> Any:
    """Returns fn(key, x, strength), or x if deterministic."""
    if module.deterministic if deterministic is None else deterministic:
        return x
    return fn(module.rngs(), x, strength)


def _plus_bias(y: Array, bias: Array) -> Array:
    return y + bias.reshape((1,) * (y.ndim - 1) + bias.shape)
