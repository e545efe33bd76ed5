"""From a per-example loss to the scalar that is differentiated."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxtune._errors import InputError, InputTypeError
from jaxtune._types import Array, ExampleFn, Key, PyTree, Scalar
from jaxtune.data.batches._table import Batch, weighted_mean
from jaxtune.losses import softmax_cross_entropy, squared_error
from jaxtune.models import Model
from jaxtune.penalties import Penalty


class Objective:
    """A training loss that is more than a mean over examples.

    Args:
      fn: `fn(apply, params, state, batch, key) -> (scalar, (state, info))`. `apply` is the model's,
        `apply(params, state, x, key=key, train=True) -> (outputs, state)`; `key` feeds the model, so fold it for draws
        of your own. `batch` has `x`, `y` and `weight`, shape (batch,), with which examples are to be averaged: 0 for
        those that only fill the batch up. In training it is None where all examples count alike. `info` is a dict, for
        those who call it by hand. Evaluations report the same function, with the model in evaluation mode. With a
        penalty on activations `apply` is to be called once, and outside of `jax.grad`, `jax.vmap` and the like.
    """

    def __init__(self, fn: Callable[..., Any]):
        self.fn = fn

    def __call__(self, apply: Callable[..., Any], params: PyTree, state: PyTree, batch: Batch, key: Key) -> Any:
        """Returns the loss of a batch, and `(state, info)`."""
        return self.fn(apply, params, state, batch, key)


def mean_loss(loss: ExampleFn) -> Objective:
    """Returns the objective that is the (weighted) mean of a loss over the batch."""

    def fn(apply: Callable[..., Any], params: PyTree, state: PyTree, batch: Batch, key: Key) -> Any:
        outputs, state = apply(params, state, batch.x, key=key, train=True)
        return weighted_mean(loss(outputs, batch.y), batch.weight), (state, {})

    return Objective(fn)


def default_loss(y: Any) -> ExampleFn:
    """Returns softmax cross-entropy for integer labels, the squared error for floats."""
    return softmax_cross_entropy if jnp.issubdtype(y.dtype, jnp.integer) else squared_error


def checked(loss: ExampleFn, classes: int | None) -> ExampleFn:
    """Returns the loss, which when traced also checks the shapes of what goes in and comes out."""

    def fn(outputs: Any, y: Array) -> Array:
        if (
            loss is softmax_cross_entropy
            and classes is not None
            and jnp.ndim(outputs) == 2
            and outputs.shape[-1] != classes
        ):
            raise InputError(
                "model",
                f"a model with outputs of shape {outputs.shape}",
                f"the labels have {classes} classes",
                f"Give it {classes} outputs (hp.run.outputs), or pass classes= with the data.",
            )
        values = loss(outputs, y)
        if not isinstance(values, (jax.Array, np.ndarray, float, int)):
            reason = f"one value per example is needed, shape {y.shape[:1]}"
            raise InputTypeError("loss", f"a loss that returns a {type(values).__name__}", reason, "Return an array.")
        values = jnp.asarray(values)
        if values.shape != y.shape[:1]:
            raise InputError(
                "loss",
                f"a loss of shape {values.shape}",
                f"one value per example is needed, shape {y.shape[:1]}",
                "Do not average inside the loss, or use jt.Objective.",
            )
        return values

    return fn


def loss_and_penalties(
    model: Model,
    penalties: Sequence[Penalty],
    objective: Objective,
    params: PyTree,
    state: PyTree,
    batch: Batch,
    key: Key,
) -> tuple[Scalar, dict[str, Scalar], PyTree]:
    """Returns the loss of a batch, the penalties by name, and the new model state.

    Raises:
      ValueError: a penalty needs what the model or the inputs do not give.
    """
    needs = {need for penalty in penalties for need in penalty.needs}

    def run(model: Model, x: PyTree) -> tuple[Scalar, Any]:
        apply, seen = _watched_apply(model, needs)
        loss, (new, _) = objective(apply, params, state, batch._replace(x=x), key)
        return loss, (new, dict(seen))

    if "input_gradient" not in needs:
        loss, (new, found) = run(model, batch.x)
    else:
        if (shifted := model.shifted) is not None:  # what is normalized first
            of_inputs, place = (lambda change: run(shifted(change), batch.x)), _zeros_like(batch.x)
        else:
            _check_real(batch.x)
            of_inputs, place = (lambda x: run(model, x)), batch.x
        (loss, (new, found)), gradient = jax.value_and_grad(of_inputs, has_aux=True)(place)
        found["input_gradient"] = _of_examples(gradient, batch.weight)
    return loss, {p.name: p(params, **found, weight=batch.weight) for p in penalties}, new


def in_evaluation(model: Model) -> Model:
    """Returns the model that runs in evaluation mode, whatever it is told."""
    capture, shifted = model.capture, model.shifted

    def apply(params: PyTree, state: PyTree, x: PyTree, *, key: Key, train: bool) -> Any:
        del train
        return model.apply(params, state, x, key=key, train=False)

    def captured(params: PyTree, state: PyTree, x: PyTree, *, key: Key, train: bool) -> Any:
        del train
        assert capture is not None
        return capture(params, state, x, key=key, train=False)

    return Model(
        model.init,
        apply,
        None if capture is None else captured,
        None if shifted is None else lambda change: in_evaluation(shifted(change)),
    )


def _watched_apply(model: Model, needs: set[str]) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Returns a model's `apply`, and a dict that after a call holds what penalties need of it."""
    seen: dict[str, Any] = {}
    capture = model.capture
    if "intermediates" not in needs:
        capture = None
    elif capture is None:
        reason = "a penalty needs what its layers return"
        cure = "Pass a Linen module, a builder of an NNX module, or jt.Model(init, apply, capture)."
        raise InputError("model", "jt.Model(init, apply)", reason, cure)

    def apply(params: PyTree, state: PyTree, x: PyTree, *, key: Key, train: bool) -> tuple[Any, PyTree]:
        if capture is None:
            outputs, state = model.apply(params, state, x, key=key, train=train)
        else:
            outputs, state, seen["intermediates"] = capture(params, state, x, key=key, train=train)
        if "outputs" in needs:
            seen["outputs"] = outputs
        return outputs, state

    return apply, seen


def _zeros_like(x: PyTree) -> PyTree:
    """Returns zeros of the shapes of inputs, as floats."""

    def zeros(a: Array) -> Array:
        return jnp.zeros(a.shape, a.dtype if jnp.issubdtype(a.dtype, jnp.floating) else jnp.float32)

    return jax.tree.map(zeros, x)


def _check_real(x: PyTree) -> None:
    """Refuses inputs of whole numbers, for which there is no gradient."""
    for leaf in jax.tree.leaves(x):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            reason = "a penalty needs the gradient of the loss in the inputs"
            raise InputError("x", f"inputs of type {leaf.dtype}", reason, "Pass inputs as floats.")


def _of_examples(gradient: PyTree, weight: Array | None) -> PyTree:
    """Returns the gradients of each example's loss, from that of their (weighted) mean."""

    def scaled(g: Array) -> Array:
        if weight is None:
            return g * g.shape[0]
        times = jnp.where(weight > 0, weight.sum() / jnp.where(weight > 0, weight, 1.0), 0.0)
        return g * times.reshape((-1,) + (1,) * (g.ndim - 1))

    return jax.tree.map(scaled, gradient)
