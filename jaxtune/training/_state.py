"""The state of a lane, and how a trial can end."""

from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxtune._tree import select
from jaxtune._types import Array, Count, Int, PyTree
from jaxtune.optim import WeightAverage
from jaxtune.training._early_stopping import EarlyStopping, EarlyStoppingState, is_on
from jaxtune.training._plateau import PlateauState


class Status:
    """How a trial stands, as small integers on the device."""

    RUNNING = 0
    FINISHED = 1
    STOPPED = 2
    DIVERGED = 3
    PRUNED = 4
    FAILED = 5


STATUSES = ("running", "finished", "stopped", "diverged", "pruned", "failed")
"""The names of the statuses, in the order of their numbers."""


NOT_FINITE = ("", "loss", "parameters", "evaluation", "gradient", "model state")
"""What made a trial diverge: nothing, the loss of an update, parameters, the loss of an evaluation, or what only a replay
tells apart: the gradient, or model state."""


class TrainState(NamedTuple):
    """Everything that changes while a lane trains.

    Seed, step and keys are not in it: they belong to all lanes of a chunk, and a counter in here would make every draw
    a draw per lane.

    Attributes:
      params: learned parameters.
      model_state: what else the model carries, such as running statistics.
      opt_state: the optimizer's state.
      averages: states of the averages of the parameters, by name.
      stopping: early stopping's state, or None.
      plateau: state of the learning rate's reductions, or None.
      last_step: updates done at the last evaluation while the lane was running.
      status: a number of `Status`.
      first_bad_step: the first update whose loss was not finite; 0 if there was none.
      not_finite: what was not, a position in `NOT_FINITE`.
    """

    # change at every step
    params: PyTree
    model_state: PyTree
    opt_state: PyTree
    averages: dict[str, Any]
    # change at evaluations
    stopping: EarlyStoppingState | None
    plateau: PlateauState | None
    last_step: Count
    status: Int[Array, ""]
    first_bad_step: Count
    not_finite: Int[Array, ""]


def measured_params(state: TrainState, average: WeightAverage | None) -> PyTree:
    """Returns the parameters that are evaluated: the last ones, or their average."""
    return state.params if average is None else average.value(state.averages[""], state.params)


def kept(
    state: TrainState, early_stopping: EarlyStopping | None, average: WeightAverage | None = None
) -> tuple[PyTree, PyTree, Count]:
    """Returns the kept parameters, their model state, and the step they are of.

    Those of the best evaluation with early stopping, else the last ones, averaged where there is an average.
    """
    last = (measured_params(state, average), state.model_state, state.last_step)
    if state.stopping is None or early_stopping is None:
        return last
    best = (state.stopping.best_params, state.stopping.best_model_state, state.stopping.best_step)
    # Where nothing was ever better than nothing, for all was NaN, there is no best.
    has_best = is_on(early_stopping) & (state.stopping.best_step > 0)
    chosen: tuple[PyTree, PyTree, Count] = select(has_best, best, last)
    return chosen


def fresh_counters() -> tuple[Count, Int[Array, ""], Count, Int[Array, ""]]:
    """Returns `last_step`, `status`, `first_bad_step` and `not_finite` of a lane that has not begun."""
    return jnp.array(0), jnp.array(Status.RUNNING, jnp.int8), jnp.array(0), jnp.array(0, jnp.int8)
