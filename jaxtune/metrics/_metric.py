"""A metric is three pure functions, so it streams over batches of any split."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxtune._errors import InputError, InputTypeError
from jaxtune._types import Array, ExampleFn, Float, Scalar

Mode = Literal["min", "max"] | None


class Metric(NamedTuple):
    """A quantity accumulated over batches.

    Attributes:
      init: `init() -> state`.
      update: `update(state, outputs, y, weight) -> state`; `weight` has shape (batch,) and is zero for padding.
      compute: `compute(state) -> scalar`.
      mode: `"min"` or `"max"`, whichever is better; None if the metric ranks nothing.
    """

    init: Callable[[], Any]
    update: Callable[[Any, Any, Any, Float[Array, " batch"]], Any]
    compute: Callable[[Any], Scalar]
    mode: Mode = None


def mean(fn: ExampleFn, mode: Mode = None) -> Metric:
    """Returns the metric that averages a per-example quantity over a split.

    Args:
      fn: `fn(outputs, y)`, one value per example, shape (batch,).
      mode: `"min"` or `"max"`, whichever is better.

    Raises:
      ValueError: when used, if `fn` does not return one value per example.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxtune as jt
      >>> error = jt.metrics.mean(lambda outputs, y: abs(outputs[:, 0] - y), mode="min")
      >>> state = error.update(error.init(), jnp.ones((4, 1)), jnp.zeros(4), jnp.ones(4))
      >>> float(error.compute(state))
      1.0
    """

    def update(state: Any, outputs: Any, y: Any, weight: Float[Array, " batch"]) -> Any:
        total, seen = state
        found = fn(outputs, y)
        if not isinstance(found, (jax.Array, np.ndarray, float, int)):
            reason, kind = f"one value per example is needed, shape {weight.shape}", type(found).__name__
            raise InputTypeError("metrics", f"a metric that returns a {kind}", reason, "Return an array.")
        values = jnp.asarray(found)
        if values.shape != weight.shape:
            name = getattr(fn, "__name__", "metric")
            reason = f"one value per example is needed, shape {weight.shape}"
            raise InputError(
                "metrics", f"{name} of shape {values.shape}", reason, "Flatten targets, and do not average."
            )
        # Padding may hold anything, so it is selected away: zero times NaN is NaN.
        return total + jnp.where(weight > 0, weight * values, 0.0).sum(), seen + weight.sum()

    return Metric(lambda: (jnp.zeros(()), jnp.zeros(())), update, lambda state: state[0] / state[1], mode)
