"""One training run, for those who vectorize by hand."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxtune import _check
from jaxtune._errors import InputError
from jaxtune._types import Array, Float, Int, Key
from jaxtune.data._splits import Splits
from jaxtune.data._stream import Stream
from jaxtune.data.batches._table import make_table
from jaxtune.training._boundary import advance
from jaxtune.training._facts import batch_size_of, default_eval_every, evaluation_steps, facts_of
from jaxtune.training._lane import Form, Metrics, make_lane
from jaxtune.training._recipe import RecipeFn
from jaxtune.training._state import Status, TrainState


class History(NamedTuple):
    """What was measured while training.

    Attributes:
      step: updates done at each evaluation, shape (evaluations,).
      metrics: values by name, such as `valid_loss`, each of shape (evaluations,); NaN after the trial has stopped.
    """

    step: Int[Array, " evaluations"]
    metrics: dict[str, Float[Array, " evaluations"]]


def train(
    recipe: RecipeFn, key: Key, hp: Mapping[str, Any], data: Splits, *, steps: int, eval_every: int | None = None
) -> tuple[TrainState, History]:
    """Returns a trained lane and its history: pure, to be jitted, vmapped over `hp` or differentiated.

    The same lane that `jt.run` vectorizes. Compared with `jt.run` results agree within rounding, not in every bit.

    Args:
      recipe: function of hyperparameters to a `Recipe`.
      key: random key of the seed; `jt.run` uses `jax.random.key(seed)`.
      hp: hyperparameters by name; any of them may be tracers where the recipe allows it.
      data: the splits.
      steps: updates, at least 1.
      eval_every: updates between evaluations; None is a twentieth of the steps, at least 1.

    Raises:
      ValueError, TypeError: arguments that cannot be used.

    Example:
      >>> import jax, optax
      >>> import jaxtune as jt
      >>> def recipe(hp):
      ...     return jt.Recipe(jt.models.MLP((8,), hp.run.outputs), optimizer=optax.sgd(hp.lr), batch_size=32)
      >>> state, history = jt.train(recipe, jax.random.key(0), {"lr": 0.1}, jt.data.load("digits"), steps=4, eval_every=2)
      >>> history.step.tolist()
      [2, 4]
    """
    steps = _check.count("steps", steps)
    eval_every = default_eval_every(steps) if eval_every is None else _check.count("eval_every", eval_every)
    if eval_every > steps:
        raise InputError("eval_every", eval_every, f"it is more than the {steps} steps", "Evaluate at least once.")
    if isinstance(data.train, Stream):
        cure = "Use jt.run, or train on data.train.sample."
        raise InputError("data", "a jt.data.Stream", "this trains on what is on the device as a whole", cure)
    table, spans = make_table(data)
    batch_size = batch_size_of(recipe, hp, data, steps)
    form = Form(patches=jax.default_backend() == "cpu", own_inputs=False)
    lane = make_lane(recipe, {}, facts_of(data, steps, batch_size), spans, batch_size, data.classes, form)
    table = jax.tree.map(jnp.asarray, table)
    hp = dict(hp)
    for name in ("run", "step"):
        if name in hp:
            raise InputError("hp", name, f"`hp.{name}` is what jaxtune says of the run", "Choose another name.")

    def turn(state: TrainState, start: Array) -> tuple[TrainState, Metrics]:
        return advance(lane, key, state, table, hp, start, eval_every)

    state = lane.init(key, table, hp)
    whole, rest = divmod(steps, eval_every)
    state, metrics = jax.lax.scan(turn, state, jnp.arange(whole) * eval_every)
    if rest:
        state, last = advance(lane, key, state, table, hp, jnp.array(whole * eval_every), rest)
        metrics = jax.tree.map(lambda a, b: jnp.concatenate([a, b[None]]), metrics, last)
    ended = jnp.where(state.status == Status.RUNNING, jnp.int8(Status.FINISHED), state.status)
    return state._replace(status=ended), History(jnp.asarray(evaluation_steps(steps, eval_every)), metrics)
