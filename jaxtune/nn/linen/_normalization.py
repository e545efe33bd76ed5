"""Layers that normalize, with a learned scale and bias."""

import flax.linen as nn
import jax.numpy as jnp

from jaxtune._types import Array, Float, ScalarLike
from jaxtune.nn import _normalization as fn


class BatchNorm(nn.Module):
    """`flax.linen.BatchNorm` over all axes but the last, with everything traced; see `jaxtune.nn.batch_norm`.

    Parameters and running statistics have the names of Flax's layer.

    Attributes:
      use_running_average: whether to use running statistics; here or in the call.
      momentum: share of the running statistics that an update keeps, in [0, 1]; may be traced.
      eps: added to the variance, at least 0; may be traced.
      use_scale: whether the result is multiplied by a learned scale.
      use_bias: whether a learned bias is added.
    """

    use_running_average: bool | None = None
    momentum: ScalarLike = 0.9
    eps: ScalarLike = 1e-5
    use_scale: bool = True
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "..."], use_running_average: bool | None = None) -> Float[Array, "..."]:
        """Returns `x` normalized; in training the running statistics change."""
        evaluation = nn.merge_param("use_running_average", self.use_running_average, use_running_average)
        shape = (x.shape[-1],)
        mean = self.variable("batch_stats", "mean", lambda: jnp.zeros(shape))
        var = self.variable("batch_stats", "var", lambda: jnp.ones(shape))
        running = fn.RunningStatistics(mean.value, var.value)
        y, new = fn.batch_norm(x, running, train=not evaluation, momentum=self.momentum, eps=self.eps)
        if not evaluation and not self.is_initializing():
            mean.value, var.value = new
        return _learned(self, y)


class LayerNorm(nn.Module):
    """Normalizes the features at each position; see `jaxtune.nn.layer_norm`.

    Attributes:
      eps: added to the variance, at least 0; may be traced.
      use_scale: whether the result is multiplied by a learned scale.
      use_bias: whether a learned bias is added.
    """

    eps: ScalarLike = 1e-6
    use_scale: bool = True
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Returns `x` normalized."""
        return _learned(self, fn.layer_norm(x, eps=self.eps))


class RMSNorm(nn.Module):
    """Divides the features at each position by their root mean square; see `jaxtune.nn.rms_norm`.

    Attributes:
      eps: added to the mean of squares, at least 0; may be traced.
      use_scale: whether the result is multiplied by a learned scale.
      use_bias: whether a learned bias is added.
    """

    eps: ScalarLike = 1e-6
    use_scale: bool = True
    use_bias: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Returns `x` normalized."""
        return _learned(self, fn.rms_norm(x, eps=self.eps))


class GroupNorm(nn.Module):
    """Normalizes groups of features over all positions; see `jaxtune.nn.group_norm`.

    Attributes:
      groups: number of groups, which divides the number of features.
      eps: added to the variance, at least 0; may be traced.
      use_scale: whether the result is multiplied by a learned scale.
      use_bias: whether a learned bias is added.
    """

    groups: int
    eps: ScalarLike = 1e-6
    use_scale: bool = True
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Returns `x` normalized."""
        return _learned(self, fn.group_norm(x, self.groups, eps=self.eps))


class InstanceNorm(nn.Module):
    """Normalizes each feature over all positions of an example; see `jaxtune.nn.instance_norm`.

    Attributes:
      eps: added to the variance, at least 0; may be traced.
      use_scale: whether the result is multiplied by a learned scale.
      use_bias: whether a learned bias is added.
    """

    eps: ScalarLike = 1e-6
    use_scale: bool = True
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Returns `x` normalized."""
        return _learned(self, fn.instance_norm(x, eps=self.eps))


def _learned(layer: BatchNorm | LayerNorm | RMSNorm | GroupNorm | InstanceNorm, y: Array) -> Array:
    """Returns y with a layer's scale and bias."""
    shape = (y.shape[-1],)
    if layer.use_scale:
        y = y * layer.param("scale", nn.initializers.ones_init(), shape).reshape((1,) * (y.ndim - 1) + shape)
    if layer.use_bias:
        y = y + layer.param("bias", nn.initializers.zeros_init(), shape).reshape((1,) * (y.ndim - 1) + shape)
    return y
