"""Penalties on what a model answers, and on how its loss depends on the inputs."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxtune import _check
from jaxtune._errors import InputError
from jaxtune._types import Array, Float, PyTree, Scalar, ScalarLike
from jaxtune.penalties._penalty import Penalty, shares


def confidence(strength: ScalarLike, *, name: str = "confidence") -> Penalty:
    """Returns the mean of `-strength * H(softmax(outputs))`, with H the entropy in nats: confident answers cost.

    Args:
      strength: at least 0; may be traced.
      name: logged as `train_penalty_<name>`, in evaluation mode on the first training examples.

    References:
      Pereyra, Tucker, Chorowski, Kaiser, Hinton, "Regularizing neural networks by penalizing confident output
      distributions", ICLR workshop 2017.
    """
    _check.number("strength", strength, low=0.0)

    def fn(params: PyTree, outputs: Float[Array, "batch ... classes"], weight: Array | None) -> Scalar:
        del params
        if outputs.ndim < 2 or outputs.shape[-1] < 2:
            reason = "the entropy is one of several classes"
            raise InputError("outputs", outputs.shape, reason, "Use it with outputs of shape (batch, classes).")
        logs = jax.nn.log_softmax(outputs)
        p = jnp.exp(logs)
        negative = (p * jnp.where(p > 0, logs, 0.0)).sum(-1)
        return strength * (shares(outputs, weight) * negative.reshape(negative.shape[0], -1).mean(1)).sum()

    return Penalty(name, fn, ("outputs", "weight"))


def input_gradient(strength: ScalarLike, *, name: str = "input_gradient") -> Penalty:
    """Returns the mean of `strength * ||d loss / d x||^2`, over examples x: answers that change little with the input.

    x is what the network sees: normalized inputs, where the recipe normalizes. In training the gradient goes through the
    loss's gradient, which costs about twice as much time; with batch norm it is that of the loss of the whole batch. A
    `jt.Objective` has to be a mean over examples.

    Args:
      strength: at least 0; may be traced.
      name: logged as `train_penalty_<name>`, in evaluation mode on the first training examples.

    References:
      Drucker and LeCun, "Improving generalization performance using double backpropagation", IEEE Trans. Neural
      Networks 1992.
    """
    _check.number("strength", strength, low=0.0)

    def fn(params: PyTree, input_gradient: Any, weight: Array | None) -> Scalar:
        del params
        leaves = jax.tree.leaves(input_gradient)
        squares = [jnp.square(g).reshape(g.shape[0], -1).sum(1) for g in leaves]
        return strength * (shares(leaves[0], weight) * sum(squares[1:], squares[0])).sum()

    return Penalty(name, fn, ("input_gradient", "weight"))
