"""What happens to a lane between two segments, and at its end: it is measured, and may stop."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxtune._errors import InputError
from jaxtune._tree import all_finite, select
from jaxtune._types import Array, Count, Key, PyTree, Scalar
from jaxtune.data.batches._table import Table, View, take_all, take_slice
from jaxtune.models import reestimate
from jaxtune.optim import clipped_fraction
from jaxtune.training import _early_stopping, _plateau
from jaxtune.training._lane import EVALUATION_BATCH, Lane, Metrics
from jaxtune.training._objective import in_evaluation, loss_and_penalties
from jaxtune.training._recipe import Recipe
from jaxtune.training._state import Status, TrainState, kept, measured_params
from jaxtune.training._turns import Fed


def advance(
    lane: Lane,
    key: Key,
    state: TrainState,
    table: Table,
    hp: Mapping[str, Any],
    start: Count,
    length: Count | int,
    fed: Fed | None = None,
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
      fed: the batches to do them on, or None to draw them from the table. Where no evaluation follows on them, metrics
        are NaN.
    """
    if fed is None:
        trained, first_bad = lane.segment(key, state, table, hp, start, length)
        return _measured(lane, key, state, trained, first_bad, table, hp, start + length)
    trained, first_bad = lane.segment(key, state, table, hp, start, length, fed.batches)

    def measured() -> tuple[TrainState, Metrics]:
        return _measured(lane, key, state, trained, first_bad, table, hp, start + length)

    def unmeasured() -> tuple[TrainState, Metrics]:
        bad = jnp.stack([first_bad > 0, ~all_finite((trained.params, trained.model_state))])
        now = jnp.asarray(start + length, jnp.int32)
        nothing = jax.tree.map(lambda a: jnp.full(a.shape, jnp.nan, a.dtype), jax.eval_shape(measured)[1])
        return _settled(state, trained._replace(last_step=now), bad, first_bad, now), nothing

    # One condition for all lanes, so that it stays a condition under vmap.
    return jax.lax.cond(fed.measured, measured, unmeasured)


def _measured(
    lane: Lane,
    key: Key,
    state: TrainState,
    trained: TrainState,
    first_bad: Count,
    table: Table,
    hp: Mapping[str, Any],
    now: Count | int,
) -> tuple[TrainState, Metrics]:
    """Returns the lane after an evaluation, and its metrics.

    Args:
      lane: the lane.
      key: key of the seed.
      state: where it stood before its updates.
      trained: where it is after them.
      first_bad: the first of them whose loss was not finite, or 0.
      table: all examples.
      hp: traced hyperparameters.
      now: updates done.
    """
    now = jnp.asarray(now, jnp.int32)
    made = lane.resolve(hp, now)

    params = measured_params(trained, made.average)
    views = lane.views(made, key, table)
    found = versions(made, trained, params, trained.model_state, views["train"])
    metrics: Metrics = {}
    for split in ("train", "valid"):
        metrics |= measure(lane, made, found, split, views[split])
    metrics |= penalty_terms(lane, made, *found[""], views["train"])
    if (clipped := clipped_fraction(trained.opt_state)) is not None:
        metrics["train_clipped"] = clipped

    # The first of these to be found counts: an update's loss, else what the segment ends with, else its evaluation.
    bad = jnp.stack(
        [first_bad > 0, ~all_finite((trained.params, trained.model_state)), ~jnp.isfinite(metrics["train_loss"])]
    )
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

    onward = trained._replace(
        stopping=stopping,
        plateau=plateau,
        last_step=now,
        status=jnp.where(stop, jnp.int8(Status.STOPPED), state.status),
    )
    running = (state.status == Status.RUNNING) & ~bad.any()
    metrics = {name: jnp.where(running, value, jnp.nan) for name, value in metrics.items()}
    return _settled(state, onward, bad, first_bad, now), metrics


def _settled(state: TrainState, onward: TrainState, bad: Array, first_bad: Count, now: Count) -> TrainState:
    """Returns the lane as it was if it is not running, else as it is, or as it was with what has gone wrong.

    Args:
      state: where it stood before its updates.
      onward: where it is if nothing is bad.
      bad: what is not finite, in the order of `NOT_FINITE`.
      first_bad: the first update whose loss was not finite, or 0.
      now: updates done.
    """
    fallen = state._replace(
        status=jnp.array(Status.DIVERGED, jnp.int8),
        first_bad_step=jnp.where(first_bad > 0, first_bad, now),
        not_finite=(1 + jnp.argmax(bad)).astype(jnp.int8),
    )
    return select(state.status == Status.RUNNING, select(~bad.any(), onward, fallen), state)


def finish(
    lane: Lane, key: Key, state: TrainState, table: Table, hp: Mapping[str, Any]
) -> tuple[PyTree, PyTree, Count, Metrics]:
    """Returns the kept parameters, their model state and step, and the metrics on the test split."""
    made = lane.resolve(hp, state.last_step)
    params, model_state, best_step = kept(state, made.early_stopping, made.average)
    made = lane.resolve(hp, best_step)
    views = lane.views(made, key, table)
    found = versions(made, state, params, model_state, views["train"])
    return *found[""], best_step, measure(lane, made, found, "test", views["test"])


def penalty_terms(lane: Lane, made: Recipe, params: PyTree, model_state: PyTree, view: View) -> Metrics:
    """Returns each penalty; those that need a batch see the first training examples, in evaluation mode."""
    if any(penalty.needs for penalty in made.penalties):
        batch = take_slice(view, jnp.array(0), EVALUATION_BATCH)
        model, loss = in_evaluation(made.model), lane.objective(made, batch)
        _, terms, _ = loss_and_penalties(model, made.penalties, loss, params, model_state, batch, jax.random.key(0))
    else:
        terms = {penalty.name: penalty(params) for penalty in made.penalties}
    return {f"train_penalty_{name}": value for name, value in terms.items()}


def versions(
    made: Recipe, state: TrainState, params: PyTree, model_state: PyTree, view: View
) -> dict[str, tuple[PyTree, PyTree]]:
    """Returns all parameters that are evaluated, each with its model state: the given ones as `""`, averages by name."""
    found = {"": (params, model_state)}
    for which, average in made.averages.items():
        if which:
            found[which] = (average.value(state.averages[which], state.params), state.model_state)
    if not made.reestimate:
        return found
    inputs = take_all(view)
    return {name: (params, reestimate(made.model, params, own, inputs)) for name, (params, own) in found.items()}


def measure(lane: Lane, made: Recipe, found: Mapping[str, tuple[PyTree, PyTree]], split: str, view: View) -> Metrics:
    """Returns the metrics on a split of all parameters that are evaluated."""
    metrics: Metrics = {}
    for which, (params, model_state) in found.items():
        ending = f"_{which}" if which else ""
        values = lane.evaluate(made, params, model_state, view)
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
