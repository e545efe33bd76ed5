"""How a gradient is taken, and noise on it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxtune import _check
from jaxtune._errors import InputError
from jaxtune._types import Count, Key, PyTree, ScalarLike
from jaxtune.nn import noise
from jaxtune.optim._kind import Schedule

GradientFn = Callable[[Callable[[PyTree], Any], PyTree], tuple[Any, PyTree]]
"""`gradient(fn, params) -> ((value, aux), gradient)` of a function `fn(params) -> (value, aux)`."""


def plain_gradient(fn: Callable[[PyTree], Any], params: PyTree) -> tuple[Any, PyTree]:
    """Returns `((value, aux), gradient)`, as `jax.value_and_grad` does."""
    return jax.value_and_grad(fn, has_aux=True)(params)


def sam(rho: ScalarLike) -> GradientFn:
    """Returns the gradient of sharpness-aware minimization: that at `w + rho g / ||g||`, where the loss is highest nearby.

    It takes two gradients an update. Value and model state are those at w.

    Args:
      rho: radius of the neighborhood, at least 0; may be traced. 0 is the gradient at w.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxtune as jt
      >>> square = lambda w: (0.5 * (w * w).sum(), None)
      >>> [round(float(g), 2) for g in jt.optim.sam(0.5)(square, jnp.array([3.0, 4.0]))[1]]  # w + rho w / ||w||
      [3.3, 4.4]

    References:
      Foret, Kleiner, Mobahi, Neyshabur, "Sharpness-aware minimization for efficiently improving generalization",
      ICLR 2021.
    """
    _check.number("rho", rho, low=0.0)

    def gradient(fn: Callable[[PyTree], Any], params: PyTree) -> tuple[Any, PyTree]:
        found, slope = plain_gradient(fn, params)
        norm = optax.tree.norm(slope)
        length = rho / jnp.where(norm > 0, norm, 1.0)
        _, ahead = plain_gradient(fn, jax.tree.map(lambda w, g: w + (length * g).astype(w.dtype), params, slope))
        return found, ahead

    return gradient


class GradientNoiseState(NamedTuple):
    """Updates done."""

    step: Count


def gradient_noise(scale: ScalarLike | Schedule) -> optax.GradientTransformationExtraArgs:
    """Returns the transformation that adds normal noise to gradients; first in a chain.

    It draws from the key that jaxtune's training hands to optimizers, `update(..., key=key)`, so arms share their draws.

    Args:
      scale: standard deviation, at least 0; may be traced; or a schedule of it, such as
        `jt.optim.schedules.inverse_power(0.1, 0.275)`, whose variance falls as `(1 + t)^-0.55`.

    References:
      Neelakantan et al., "Adding gradient noise improves learning for very deep networks", arXiv:1511.06807, 2015.
    """
    if not callable(scale):
        _check.number("scale", scale, low=0.0)

    def init(params: PyTree) -> GradientNoiseState:
        del params
        return GradientNoiseState(jnp.zeros((), jnp.int32))

    def update(
        updates: PyTree, state: GradientNoiseState, params: PyTree = None, *, key: Key | None = None, **extra: Any
    ) -> tuple[PyTree, GradientNoiseState]:
        del params, extra
        if key is None:
            reason = "gradient noise needs a random key"
            raise InputError("key", None, reason, "Call update(grads, state, params, key=key), a new key each time.")
        strength = scale(state.step) if callable(scale) else scale
        return noise(key, updates, strength), GradientNoiseState(optax.safe_increment(state.step))

    return optax.GradientTransformationExtraArgs(init, update)
