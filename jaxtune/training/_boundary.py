"""What happens to a lane between two segments, and at its end: it is measured, and may stop."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxtune._errors import InputError
from jaxtune._tree import all_finite, select
from jaxtune._types import Count, Key, PyTree, Scalar
from jaxtune.data._batches import Batch, Span, Table, take_all, take_slice
from jaxtune.models import reestimate
from jaxtune.optim import clipped_fraction
from jaxtune.training import _early_stopping, _plateau
from jaxtune.training._lane import EVALUATION_BATCH, Lane, Metrics
from jaxtune.training._objective import in_evaluation, loss_and_penalties
from jaxtune.training._recipe import Recipe
from jaxtune.training._state import Status, TrainState, kept, measured_params


def advance(
    lane: Lane,
    key: Key,
    state: TrainState,
    table: Table,
    hp: Mapping[str, Any],
    start: Count,
    length: Count | int,
    fed: Batch | None = None,
) -> tuple[TrainState, Metrics]:
    """Returns the lane after a segment and an evaluation, and the metrics of that evaluation.

    A lane that is not running keeps its state to the bit, and its metrics are NaN. A lane that diverges keeps the state
    of the last good boundary.

    Args:
      lane: the lane.
      key: key of the seed.
      state: where the lane stands.
      table: all examples.
      hp: traced hyperparameters.
      start: updates done before.
      length: updates to do.
      fed: the batches to do them on, or None to draw them from the table.
    """
    trained, first_bad = lane.segment(key, state, table, hp, start, length, fed)
    now = jnp.asarray(start + length, jnp.int32)
    made = lane.resolve(hp, now)

    params = measured_params(trained, made.average)
    rows = lane.rows(made, key, table)
    found = versions(made, trained, params, trained.model_state, table, rows["train"])
    metrics: Metrics = {}
    for split in ("train", "valid"):
        metrics |= measure(lane, made, found, table, split, rows[split])
    metrics |= penalty_terms(lane, made, *found[""], table, rows["train"])
    if (clipped := clipped_fraction(trained.opt_state)) is not None:
        metrics["train_clipped"] = clipped

    # The first of these to be found counts: an update's loss, else what the segment ends with, else its evaluation.
    bad = jnp.stack(
        [first_bad > 0, ~all_finite((trained.params, trained.model_state)), ~jnp.isfinite(metrics["train_loss"])]
    )
    good = ~bad.any()
    stop = jnp.array(False)
    stopping, plateau = trained.stopping, trained.plateau
    if made.early_stopping is not None and stopping is not None:
        value, mode = _watched(made, metrics, "early_stopping", made.early_stopping.metric)
        candidate = (now, params, trained.model_state)
        stopping, stop = _early_stopping.observe(
            stopping, value, *candidate, made.early_stopping, mode, metrics["train_loss"]
        )
    if made.plateau is not None and plateau is not None:
        value, mode = _watched(made, metrics, "plateau", made.plateau.metric)
        plateau = _plateau.observe(plateau, value, made.plateau, mode)

    running = state.status == Status.RUNNING
    onward = trained._replace(
        stopping=stopping,
        plateau=plateau,
        last_step=now,
        status=jnp.where(stop, jnp.int8(Status.STOPPED), state.status),
    )
    fallen = state._replace(
        status=jnp.array(Status.DIVERGED, jnp.int8),
        first_bad_step=jnp.where(first_bad > 0, first_bad, now),
        not_finite=(1 + jnp.argmax(bad)).astype(jnp.int8),
    )
    state = select(running, select(good, onward, fallen), state)
    return state, {name: jnp.where(running & good, value, jnp.nan) for name, value in metrics.items()}


def finish(
    lane: Lane, key: Key, state: TrainState, table: Table, hp: Mapping[str, Any]
) -> tuple[PyTree, PyTree, Count, Metrics]:
    """Returns the kept parameters, their model state and step, and the metrics on the test split."""
    made = lane.resolve(hp, state.last_step)
    params, model_state, best_step = kept(state, made.early_stopping, made.average)
    made = lane.resolve(hp, best_step)
    rows = lane.rows(made, key, table)
    found = versions(made, state, params, model_state, table, rows["train"])
    return *found[""], best_step, measure(lane, made, found, table, "test", rows["test"])


def penalty_terms(lane: Lane, made: Recipe, params: PyTree, model_state: PyTree, table: Table, span: Span) -> Metrics:
    """Returns each penalty; those that need a batch see the first training examples, in evaluation mode."""
    if any(penalty.needs for penalty in made.penalties):
        batch = take_slice(table, span, jnp.array(0), EVALUATION_BATCH)
        model, loss = in_evaluation(made.model), lane.objective(made, batch)
        _, terms, _ = loss_and_penalties(model, made.penalties, loss, params, model_state, batch, jax.random.key(0))
    else:
        terms = {penalty.name: penalty(params) for penalty in made.penalties}
    return {f"train_penalty_{name}": value for name, value in terms.items()}


def versions(
    made: Recipe, state: TrainState, params: PyTree, model_state: PyTree, table: Table, span: Span
) -> dict[str, tuple[PyTree, PyTree]]:
    """Returns all parameters that are evaluated, each with its model state: the given ones as `""`, averages by name."""
    found = {"": (params, model_state)}
    for which, average in made.averages.items():
        if which:
            found[which] = (average.value(state.averages[which], state.params), state.model_state)
    if not made.reestimate:
        return found
    inputs = take_all(table, span)
    return {name: (params, reestimate(made.model, params, own, inputs)) for name, (params, own) in found.items()}


def measure(
    lane: Lane, made: Recipe, found: Mapping[str, tuple[PyTree, PyTree]], table: Table, split: str, span: Span
) -> Metrics:
    """Returns the metrics on a split of all parameters that are evaluated."""
    metrics: Metrics = {}
    for which, (params, model_state) in found.items():
        ending = f"_{which}" if which else ""
        values = lane.evaluate(made, params, model_state, table, span)
        metrics |= {f"{split}_{name}{ending}": value for name, value in values.items()}
    return metrics


def _watched(made: Recipe, metrics: Metrics, who: str, watched: str) -> tuple[Scalar, Any]:
    """Returns the value of the metric that early stopping or the plateau watches, and whether less or more is better."""
    mode = made.modes.get(watched.partition("_")[2]) if watched in metrics else None
    if mode is None:
        raise InputError(
            f"{who}.metric",
            watched,
            "it is not measured, or does not say whether more is better",
            f"Choose among: {', '.join(metrics)}.",
        )
    return metrics[watched], mode
