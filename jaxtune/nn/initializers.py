"""Initializers whose gain may be traced: `jt.nn.initializers.he(hp.gain)`.

Each is a function `init(key, shape, dtype)`, as Flax's layers take it. A kernel ends in (inputs, outputs); what comes before,
the window of a convolution, multiplies both. With gain 1 they are those of JAX.
"""

from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp

from jaxtune import _check
from jaxtune._errors import InputError
from jaxtune._types import Array, ScalarLike

Initializer = Callable[..., Array]
"""`init(key, shape, dtype=float32) -> array`."""

Distribution = Literal["truncated_normal", "normal", "uniform"]


def he(gain: ScalarLike = 1.0, *, distribution: Distribution = "truncated_normal") -> Initializer:
    """Returns kernels of variance `gain^2 * 2 / inputs`, which keeps the size of what follows a ReLU.

    Args:
      gain: factor of the standard deviation, at least 0; may be traced.
      distribution: `"truncated_normal"`, `"normal"` or `"uniform"`.

    References:
      He, Zhang, Ren, Sun, "Delving deep into rectifiers: surpassing human-level performance on ImageNet classification",
      ICCV 2015.
    """
    return _scaled(jax.nn.initializers.variance_scaling(2.0, "fan_in", _known(distribution)), gain)


def lecun(gain: ScalarLike = 1.0, *, distribution: Distribution = "truncated_normal") -> Initializer:
    """Returns kernels of variance `gain^2 / inputs`, which keeps the size of what is linear.

    Args:
      gain: factor of the standard deviation, at least 0; may be traced.
      distribution: `"truncated_normal"`, `"normal"` or `"uniform"`.

    References:
      LeCun, Bottou, Orr, Müller, "Efficient BackProp", in *Neural Networks: Tricks of the Trade*, Springer 1998.
    """
    return _scaled(jax.nn.initializers.variance_scaling(1.0, "fan_in", _known(distribution)), gain)


def glorot(gain: ScalarLike = 1.0, *, distribution: Distribution = "uniform") -> Initializer:
    """Returns kernels of variance `gain^2 * 2 / (inputs + outputs)`, for activations and gradients alike.

    Args:
      gain: factor of the standard deviation, at least 0; may be traced.
      distribution: `"truncated_normal"`, `"normal"` or `"uniform"`.

    References:
      Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS 2010.
    """
    return _scaled(jax.nn.initializers.variance_scaling(1.0, "fan_avg", _known(distribution)), gain)


def orthogonal(gain: ScalarLike = 1.0) -> Initializer:
    """Returns kernels whose columns, or rows if these are fewer, are orthogonal and of norm `gain`.

    Args:
      gain: at least 0; may be traced.

    References:
      Saxe, McClelland, Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear neural networks",
      ICLR 2014.
    """
    return _scaled(jax.nn.initializers.orthogonal(), gain)


def _scaled(initializer: Any, gain: ScalarLike) -> Initializer:
    _check.number("gain", gain, low=0.0)

    def init(key: Any, shape: Any, dtype: Any = jnp.float32, **more: Any) -> Array:
        values: Array = initializer(key, shape, dtype, **more)
        return values * jnp.asarray(gain, values.dtype)

    return init


def _known(distribution: Any) -> Any:
    """Returns the name of a distribution, having checked that there is one of this name."""
    if distribution not in get_args(Distribution):
        cure = f"Pass one of {', '.join(get_args(Distribution))}."
        raise InputError("distribution", distribution, "there is no such distribution", cure)
    return distribution
