"""Dense layers whose weights are random while training."""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from jaxtune._types import Array, Float, ScalarLike
from jaxtune.nn._structured import drop_connect
from jaxtune.nn._variational import variational_dense
from jaxtune.nn.linen._random import drawn


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
        y = x @ drawn(self, drop_connect, kernel, deterministic)
        return _plus_bias(y, self.param("bias", nn.initializers.zeros_init(), (self.features,))) if self.use_bias else y


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


def _plus_bias(y: Array, bias: Array) -> Array:
    return y + bias.reshape((1,) * (y.ndim - 1) + bias.shape)
