"""A lane: one training run as three pure functions, `init`, `segment` and `evaluate`.

They take the key, the step and the data apart from the lane's own state. Under `vmap` over hyperparameters these stay
unbatched, so that batches, masks and noise are drawn once for all lanes that share a seed.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxtune._errors import InputError, InputTypeError
from jaxtune._keys import key_for, stream_key
from jaxtune._tree import as_arrays, with_dtypes_of
from jaxtune._types import Count, Key, PyTree, Scalar, ScalarLike
from jaxtune.data.batches._table import (
    Batch,
    Span,
    Table,
    View,
    epoch_order,
    steps_per_epoch,
    take_all,
    take_batch,
    take_drawn,
    take_padded,
    take_slice,
)
from jaxtune.models import normalized, with_patches
from jaxtune.optim import plain_gradient
from jaxtune.training import _early_stopping, _plateau
from jaxtune.training._hyperparameters import Hyperparameters, RunFacts
from jaxtune.training._objective import (
    Objective,
    checked,
    default_loss,
    in_evaluation,
    loss_and_penalties,
    mean_loss,
)
from jaxtune.training._recipe import Recipe, RecipeFn, call_recipe
from jaxtune.training._state import TrainState, fresh_counters

EVALUATION_BATCH = 256
"""Examples per batch of an evaluation: memory does not grow with a split."""

Metrics = dict[str, Scalar]


NextBatch = Callable[[Count, Any], tuple[Any, Batch]]
"""From the number of an update in its segment, and what is carried from batch to batch, to that and the batch."""


class Form(NamedTuple):
    """How a lane is computed, which changes its results in rounding only.

    Attributes:
      patches: convolutions as patches times a matrix.
      own_inputs: each lane has its copy of a batch that it shares with others. A first layer of shared inputs becomes
        one wide product, whose result has to be transposed; a copy of the inputs is cheaper.
    """

    patches: bool
    own_inputs: bool


PLAIN = Form(patches=False, own_inputs=False)


class Lane(NamedTuple):
    """One training run as pure functions of hyperparameters, vectorized by `jt.run`.

    `hp` is a mapping of traced values; the static ones are inside.

    Attributes:
      init: `init(key, table, hp) -> state`.
      step: `step(key, t, state, batch, hp) -> (state, loss)`: update number t, counted from 0.
      gradient: `gradient(key, t, state, batch, hp) -> ((loss, model_state), gradient)`: what that update starts from.
      batches: `batches(key, table, hp, start, fed=None) -> (next_batch, carried)`: the batches of the updates from `start` on,
        of the table, or those of `fed`, one after the other along its leading axis.
      segment: `segment(key, state, table, hp, start, length, fed=None) -> (state, first_bad_step)`: `length` updates, on
        these batches.
      evaluate: `evaluate(made, params, model_state, view) -> metrics` on one split, with a resolved recipe.
      resolve: `resolve(hp, step=0) -> Recipe`, as it is after so many updates.
      views: `views(made, key, table) -> views`: each split as a trial sees it, by name.
      objective: `objective(made, examples) -> Objective`: the loss as a function of a batch like these examples.
      spans: where each split lies in the table.
      facts: what `hp.run` says.
    """

    init: Callable[..., TrainState]
    step: Callable[..., Any]
    gradient: Callable[..., Any]
    batches: Callable[..., tuple[NextBatch, Any]]
    segment: Callable[..., Any]
    evaluate: Callable[..., Metrics]
    resolve: Callable[..., Recipe]
    views: Callable[..., Mapping[str, View]]
    objective: Callable[..., Objective]
    spans: Mapping[str, Span]
    facts: RunFacts


def make_lane(
    recipe: RecipeFn,
    static: Mapping[str, Any],
    facts: RunFacts,
    spans: Mapping[str, Span],
    batch_size: int,
    classes: int | None,
    form: Form = PLAIN,
) -> Lane:
    """Returns the lane of a recipe whose static hyperparameters are fixed.

    Args:
      recipe: the recipe.
      static: static hyperparameters, by name.
      facts: the facts of the run.
      spans: where each split lies in the table.
      batch_size: examples per update; of trials that differ in it, the most.
      classes: number of classes, None for regression.
      form: how it is to be computed.
    """
    n = int(spans["train"].size)

    def called(hp: Mapping[str, Any], step: Count | int) -> Recipe:
        at = np.int32(step) if isinstance(step, int) else step  # an array of JAX would have to be compiled
        return call_recipe(recipe, Hyperparameters({**static, **hp}, facts, step=at))

    def resolve(hp: Mapping[str, Any], step: Count | int = 0) -> Recipe:
        made = called(hp, step)
        model = with_patches(made.model) if form.patches else made.model
        if made.normalize is not None:
            model = normalized(model, made.normalize)
        return dataclasses.replace(made, model=model, normalize=None)

    def views(made: Recipe, key: Key, table: Table) -> Mapping[str, View]:
        found = {name: View(table, span) for name, span in spans.items()}
        if made.subset is None:
            return found
        if made.subset.classes not in (None, classes):
            reason = f"the data has {'no' if classes is None else classes} classes"
            raise InputError("classes", made.subset.classes, reason, "Pass hp.run.outputs, say.")
        y = jnp.asarray(table.y[:n])
        seen = table
        if made.subset.labels is not None:
            seen = table._replace(y=jnp.asarray(table.y).at[:n].set(made.subset.labels(key, y)))
        found["train"] = View(seen, made.subset.train(key, y))
        if made.subset.valid is not None:
            found["valid"] = View(table, made.subset.valid(key, y))
        return found

    def objective(made: Recipe, examples: Batch | Table) -> Objective:
        if isinstance(made.loss, Objective):
            return made.loss
        return mean_loss(checked(made.loss or default_loss(examples.y), classes))

    def init(key: Key, table: Table, hp: Mapping[str, Any]) -> TrainState:
        made = resolve(hp)
        example = jax.tree.map(lambda a: a[:1], table.x)
        params, model_state = as_arrays(made.model.init(stream_key(key, "init"), example))
        if (normalize := called(hp, 0).normalize) is not None:
            model_state["inputs"] = normalize.fit(take_all(views(made, key, table)["train"]))
        opt_state = as_arrays(made.optimizer.init(params))
        averages = {name: average.init(params) for name, average in made.averages.items()}
        stops, plateau = made.early_stopping, None if made.plateau is None else _plateau.start()
        stopping = None if stops is None else _early_stopping.start(params, model_state, stops.strip)
        return TrainState(params, model_state, opt_state, averages, stopping, plateau, *fresh_counters())

    def gradient_of(made: Recipe, key: Key, t: Count, state: TrainState, batch: Batch) -> Any:
        loss = objective(made, batch)
        if made.augment is not None:
            batch = made.augment(key_for(key, "augment", t), batch)
            if not isinstance(batch, Batch):
                found, cure = f"a function that returns a {type(batch).__name__}", "Return batch._replace(x=...)."
                raise InputTypeError("augment", found, "it has to return a batch", cure)

        def total(params: PyTree) -> tuple[Scalar, PyTree]:
            value, penalties, model_state = loss_and_penalties(
                made.model, made.penalties, loss, params, state.model_state, batch, key_for(key, "step", t)
            )
            return sum(penalties.values(), value), model_state

        return (made.gradient or plain_gradient)(total, state.params)

    def gradient(key: Key, t: Count, state: TrainState, batch: Batch, hp: Mapping[str, Any]) -> Any:
        return gradient_of(resolve(hp, t), key, t, state, batch)

    def step(key: Key, t: Count, state: TrainState, batch: Batch, hp: Mapping[str, Any]) -> tuple[TrainState, Scalar]:
        made = resolve(hp, t)
        (value, model_state), gradient = gradient_of(made, key, t, state, batch)
        optimizer = optax.with_extra_args_support(made.optimizer)
        extra = {"value": value, "key": key_for(key, "gradient", t)}
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params, **extra)
        if state.plateau is not None:
            updates = optax.tree.scale(state.plateau.scale, updates)
        params = optax.apply_updates(state.params, updates)
        averages = {name: a.update(state.averages[name], params, t + 1) for name, a in made.averages.items()}
        new = state._replace(params=params, model_state=model_state, opt_state=opt_state, averages=averages)
        # Traced hyperparameters are float32 and would raise what is kept in lower precision to theirs.
        return with_dtypes_of(state, new), value

    def batches(
        key: Key, table: Table, hp: Mapping[str, Any], start: Count, fed: Batch | None = None
    ) -> tuple[NextBatch, Any]:
        if fed is not None:
            return _from_host(fed)
        made = resolve(hp, start)
        view = views(made, key, table)["train"]
        return _from_table(key, view, n, made.batch_size, batch_size, start)

    def segment(
        key: Key,
        state: TrainState,
        table: Table,
        hp: Mapping[str, Any],
        start: Count,
        length: Count | int,
        fed: Batch | None = None,
    ) -> tuple[TrainState, Count]:
        next_batch, carried = batches(key, table, hp, start, fed)

        def body(i: Count, carry: Any) -> Any:
            state, order, first_bad = carry
            t = start + i
            order, batch = next_batch(i, order)
            if form.own_inputs:
                batch = batch._replace(x=jax.tree.map(lambda a: _own(a, state.status), batch.x))
            state, value = step(key, t, state, batch, hp)
            bad = (first_bad == 0) & ~jnp.isfinite(value)
            return state, order, jnp.where(bad, t + 1, first_bad)

        # A loop with a traced number of turns is never unrolled: bits do not depend on how a run is cut into segments.
        carry = (state, carried, jnp.array(0))
        state, _, first_bad = jax.lax.fori_loop(0, length, body, carry)
        return state, first_bad

    def evaluate(made: Recipe, params: PyTree, model_state: PyTree, view: View) -> Metrics:
        metrics = made.all_metrics(classification=classes is not None)
        of_batch = objective(made, view.table)
        apply = in_evaluation(made.model).apply
        unused = jax.random.key(0)

        def body(i: Count, carry: Any) -> Any:
            states, (total, seen) = carry
            batch = take_slice(view, i, EVALUATION_BATCH)
            outputs, _ = apply(params, model_state, batch.x, key=unused, train=False)
            weight = jnp.ones(EVALUATION_BATCH) if batch.weight is None else batch.weight
            states = {name: m.update(states[name], outputs, batch.y, weight) for name, m in metrics.items()}
            loss, _ = of_batch(apply, params, model_state, batch, unused)
            return states, (total + loss * weight.sum(), seen + weight.sum())

        zero = jnp.zeros(())
        states = {name: m.init() for name, m in metrics.items()}
        states, (total, seen) = jax.lax.fori_loop(
            0, -(-view.span.size // EVALUATION_BATCH), body, (states, (zero, zero))
        )
        return {"loss": total / seen} | {name: m.compute(states[name]) for name, m in metrics.items()}

    return Lane(init, step, gradient, batches, segment, evaluate, resolve, views, objective, spans, facts)


def _from_table(
    key: Key, view: View, n: int, batch_size: ScalarLike, padded: int, start: Count
) -> tuple[NextBatch, Any]:
    """Returns how a segment's batches are drawn from the table, and what is carried at first.

    Args:
      key: key of the seed.
      view: the examples to train on.
      n: size of the training split.
      batch_size: examples per update, may be traced.
      padded: of trials that differ in it, the most.
      start: updates done before.

    Raises:
      ValueError: there are fewer examples than a batch has.
    """
    table, pool = view
    size = pool.size if isinstance(pool.size, int) else n
    if isinstance(pool.size, int) and padded > size:
        reason = f"the subset has {size} training examples"
        raise InputError("batch_size", padded, reason, "Use at most as many.")
    per_epoch = steps_per_epoch(size, padded)

    def drawn(i: Count, order: Any) -> tuple[Any, Batch]:
        epoch, position = (start + i) // per_epoch, (start + i) % per_epoch
        # One condition for all lanes, so that it stays a condition under vmap: the epoch's order is drawn once.
        order = jax.lax.cond((position == 0) | (i == 0), lambda: epoch_order(key, epoch, size), lambda: order)
        return order, take_batch(table, order, position, padded, pool.rows)

    def at_any_size(i: Count, nothing: Any) -> tuple[Any, Batch]:
        return nothing, take_padded(table, key, start + i, pool, batch_size, padded)

    def by_rule(i: Count, nothing: Any) -> tuple[Any, Batch]:
        return nothing, take_drawn(table, key, start + i, pool, batch_size, padded)

    if pool.draw is not None:
        return by_rule, None
    if isinstance(batch_size, int) and isinstance(pool.size, int):
        return drawn, jnp.zeros(size, jnp.int32)
    return at_any_size, None


def _from_host(fed: Batch) -> tuple[NextBatch, Any]:
    """Returns how a segment's batches are taken from those that the host has sent, and what is carried at first."""

    def given(i: Count, nothing: Any) -> tuple[Any, Batch]:
        return nothing, jax.tree.map(lambda a: jax.lax.dynamic_index_in_dim(a, i, keepdims=False), fed)

    return given, None


@jax.custom_batching.custom_vmap
def _own(x: Any, lane: Any) -> Any:
    """Returns x; under vmap one copy for each lane, where `lane` is anything that differs from lane to lane."""
    del lane
    return x


@_own.def_vmap
def _own_for_each(size: int, batched: list[bool], x: Any, lane: Any) -> tuple[Any, bool]:
    del lane
    return (x if batched[0] else jnp.broadcast_to(x, (size, *x.shape))), True
