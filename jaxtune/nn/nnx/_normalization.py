"""Layers that normalize, with a learned scale and bias."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import nnx

from jaxtune._errors import InputError
from jaxtune._types import Array, Float, ScalarLike
from jaxtune.nn import _normalization as fn


class _Learned(nnx.Module):
    """A layer with a scale and a bias per feature."""

    scale: nnx.Param[Array] | None
    bias: nnx.Param[Array] | None

    def learn(self, features: int, use_scale: bool, use_bias: bool) -> None:
        """Makes the parameters."""
        self.scale = nnx.Param(jnp.ones(features)) if use_scale else None
        self.bias = nnx.Param(jnp.zeros(features)) if use_bias else None

    def learned(self, y: Array) -> Array:
        """Returns y with scale and bias.

        Raises:
          ValueError: it has another number of features.
        """
        for param in (self.scale, self.bias):
            if param is not None and param[...].shape != y.shape[-1:]:
                reason = f"the layer was made for {param[...].shape[0]} features"
                raise InputError("x", y.shape, reason, "Pass the number of features that it will see.")
        shape = (1,) * (y.ndim - 1) + (-1,)
        y = y if self.scale is None else y * self.scale[...].reshape(shape)
        return y if self.bias is None else y + self.bias[...].reshape(shape)


class BatchNorm(_Learned):
    """`flax.nnx.BatchNorm` over all axes but the last, with everything traced; see `jaxtune.nn.batch_norm`.

    It is switched by `.train()` and `.eval()`.

    Args:
      features: number of features.
      use_running_average: whether to use running statistics.
      momentum: share of the running statistics that an update keeps, in [0, 1]; may be traced.
      eps: added to the variance, at least 0; may be traced.
      use_scale: whether the result is multiplied by a learned scale.
      use_bias: whether a learned bias is added.
      rngs: not used; it is there for all layers to be built alike.
    """

    def __init__(
        self,
        features: int,
        *,
        use_running_average: bool = False,
        momentum: ScalarLike = 0.9,
        eps: ScalarLike = 1e-5,
        use_scale: bool = True,
        use_bias: bool = True,
        rngs: nnx.Rngs | None = None,
    ):
        del rngs
        self.use_running_average = use_running_average
        self.momentum, self.eps = momentum, eps
        self.mean, self.var = nnx.BatchStat(jnp.zeros(features)), nnx.BatchStat(jnp.ones(features))
        self.learn(features, use_scale, use_bias)

    def __call__(self, x: Float[Array, "..."], *, use_running_average: bool | None = None) -> Float[Array, "..."]:
        """Returns `x` normalized; in training the running statistics change."""
        evaluation = self.use_running_average if use_running_average is None else use_running_average
        running = fn.RunningStatistics(self.mean[...], self.var[...])
        y, new = fn.batch_norm(x, running, train=not evaluation, momentum=self.momentum, eps=self.eps)
        if not evaluation:
            self.mean[...], self.var[...] = new
        return self.learned(y)


class _Normalizing(_Learned):
    """A layer of `normalize(x, eps=eps)`."""

    normalize: Callable[..., Any]

    def __init__(
        self,
        features: int,
        *,
        eps: ScalarLike = 1e-6,
        use_scale: bool = True,
        use_bias: bool = True,
        rngs: nnx.Rngs | None = None,
    ):
        del rngs
        self.eps = eps
        self.learn(features, use_scale, use_bias)

    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Returns `x` normalized."""
        return self.learned(self.normalize(x, eps=self.eps))


class LayerNorm(_Normalizing):
    """Normalizes the features at each position; see `jaxtune.nn.layer_norm`.

    Args:
      features: number of features.
      eps: added to the variance, at least 0; may be traced.
      use_scale: whether the result is multiplied by a learned scale.
      use_bias: whether a learned bias is added.
      rngs: not used; it is there for all layers to be built alike.
    """

    normalize = staticmethod(fn.layer_norm)


class RMSNorm(_Normalizing):
    """Divides the features at each position by their root mean square; see `jaxtune.nn.rms_norm`.

    Args:
      features: number of features.
      eps: added to the mean of squares, at least 0; may be traced.
      use_scale: whether the result is multiplied by a learned scale.
      use_bias: whether a learned bias is added.
      rngs: not used; it is there for all layers to be built alike.
    """

    normalize = staticmethod(fn.rms_norm)

    def __init__(
        self,
        features: int,
        *,
        eps: ScalarLike = 1e-6,
        use_scale: bool = True,
        use_bias: bool = False,
        rngs: nnx.Rngs | None = None,
    ):
        super().__init__(features, eps=eps, use_scale=use_scale, use_bias=use_bias, rngs=rngs)


class GroupNorm(_Learned):
    """Normalizes groups of features over all positions; see `jaxtune.nn.group_norm`.

    Args:
      features: number of features.
      groups: number of groups, which divides the number of features.
      eps: added to the variance, at least 0; may be traced.
      use_scale: whether the result is multiplied by a learned scale.
      use_bias: whether a learned bias is added.
      rngs: not used; it is there for all layers to be built alike.
    """

    def __init__(
        self,
        features: int,
        groups: int,
        *,
        eps: ScalarLike = 1e-6,
        use_scale: bool = True,
        use_bias: bool = True,
        rngs: nnx.Rngs | None = None,
    ):
        del rngs
        self.groups = groups
        self.eps = eps
        self.learn(features, use_scale, use_bias)

    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Returns `x` normalized."""
        return self.learned(fn.group_norm(x, self.groups, eps=self.eps))


class InstanceNorm(_Normalizing):
    """Normalizes each feature over all positions of an example; see `jaxtune.nn.instance_norm`.

    Args:
      features: number of features.
      eps: added to the variance, at least 0; may be traced.
      use_scale: whether the result is multiplied by a learned scale.
      use_bias: whether a learned bias is added.
      rngs: not used; it is there for all layers to be built alike.
    """

    normalize = staticmethod(fn.instance_norm)
