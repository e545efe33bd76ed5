"""Dense layers whose weights are random while training."""

from collections.abc import Callable

import jax.numpy as jnp
from flax import nnx

from jaxtune._types import Array, Float, ScalarLike
from jaxtune.nn._structured import drop_connect
from jaxtune.nn._variational import variational_dense
from jaxtune.nn.nnx._random import drawn

_LECUN_NORMAL = nnx.initializers.lecun_normal()


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
        y = x @ drawn(self, drop_connect, self.kernel[...], deterministic, self.rate)
        return y if self.bias is None else _plus_bias(y, self.bias[...])


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


def _plus_bias(y: Array, bias: Array) -> Array:
    return y + bias.reshape((1,) * (y.ndim - 1) + bias.shape)
