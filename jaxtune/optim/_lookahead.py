"""Wrappers that change when an optimizer's updates reach the parameters."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxtune import _check
from jaxtune._errors import InputError, InputTypeError
from jaxtune._tree import select
from jaxtune._types import Count, PyTree, ScalarLike


class LookaheadState(NamedTuple):
    """Updates done, the slow weights, and the state of the fast optimizer."""

    step: Count
    slow: PyTree
    fast: PyTree


def check_optimizer(optimizer: Any) -> Any:
    """Returns an optimizer as it came, having checked that it is one.

    Raises:
      TypeError: it is none.
    """
    if not isinstance(optimizer, optax.GradientTransformation):
        raise InputTypeError(
            "optimizer", optimizer, "it is no Optax gradient transformation", "Pass optax.adam(hp.lr), say."
        )
    return optimizer


def lookahead(
    optimizer: optax.GradientTransformation, *, every: ScalarLike = 6, share: ScalarLike = 0.5
) -> optax.GradientTransformationExtraArgs:
    """Returns the optimizer with slow weights, to which the fast ones return after every few updates.

    The slow weights then go a share of the way, `s <- s + share (w - s)`, and the fast ones go on from there.

    Args:
      optimizer: what makes the fast updates.
      every: updates between two returns, at least 1; may be traced.
      share: of the way that the slow weights go, in [0, 1]; may be traced. 1 is the optimizer alone.

    References:
      Zhang, Lucas, Hinton, Ba, "Lookahead optimizer: k steps forward, 1 step back", NeurIPS 2019.
    """
    _check.number("every", every, low=1.0)
    _check.number("share", share, low=0.0, high=1.0)
    inner = optax.with_extra_args_support(check_optimizer(optimizer))

    def init(params: PyTree) -> LookaheadState:
        return LookaheadState(jnp.zeros((), jnp.int32), params, inner.init(params))

    def update(updates: PyTree, state: LookaheadState, params: PyTree = None, **extra: Any) -> tuple[PyTree, Any]:
        if params is None:
            raise InputError("params", None, "lookahead needs the parameters", "Call update(grads, state, params).")
        steps, fast_state = inner.update(updates, state.fast, params, **extra)
        count = optax.safe_increment(state.step)
        returns = jnp.mod(count, jnp.floor(jnp.asarray(every)).astype(count.dtype)) == 0
        slow = jax.tree.map(lambda s, w, u: s + share * (w + u - s), state.slow, params, steps)
        back = jax.tree.map(lambda s, w: s - w, slow, params)
        return select(returns, back, steps), LookaheadState(count, select(returns, slow, state.slow), fast_state)

    return optax.GradientTransformationExtraArgs(init, update)


def accumulate(optimizer: optax.GradientTransformation, every: int) -> optax.GradientTransformationExtraArgs:
    """Returns the optimizer that moves after every few updates, by the mean of their gradients.

    With equal batches that is a batch `every` times as large, in the memory of one.

    Args:
      optimizer: what makes of the mean gradient an update.
      every: gradients to a mean, a Python int of at least 1.
    """
    steps = optax.MultiSteps(check_optimizer(optimizer), _check.count("every", every))
    return optax.GradientTransformationExtraArgs(steps.init, steps.update)  # its own conversion drops extra arguments
