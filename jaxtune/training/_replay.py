"""Why a lane diverged: its last updates once more, with a look at everything.

A step of training looks at its loss alone, for to look at all gradients and parameters would cost every step. A lane that
diverges keeps the state of the last good boundary, so the updates since then can be made again.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxtune._tree import all_finite, path_name
from jaxtune._types import Array, Count, Float, Int, Key, PyTree
from jaxtune.data.batches._table import Batch, Table
from jaxtune.training._lane import Lane
from jaxtune.training._state import NOT_FINITE, TrainState

_LOSS, _PARAMETERS, _GRADIENT, _STATE = (NOT_FINITE.index(n) for n in ("loss", "parameters", "gradient", "model state"))


class Cause(NamedTuple):
    """What was the first not to be finite.

    Attributes:
      step: the update, counted from 1; 0 if all was finite.
      what: a position in `NOT_FINITE`; within an update the loss comes first, then gradient, parameters, model state.
      leaf: which leaf, a position in `leaf_paths`; -1 for a loss.
      gradient_norm: the Euclidean norm of the last gradient that was finite, NaN if there was none.
    """

    step: Int[Array, ""]
    what: Int[Array, ""]
    leaf: Int[Array, ""]
    gradient_norm: Float[Array, ""]


def leaf_paths(params: PyTree, model_state: PyTree) -> list[str]:
    """Returns the paths of all leaves of parameters, then of model state."""
    return [path_name(p) for tree in (params, model_state) for p, _ in jax.tree_util.tree_leaves_with_path(tree)]


def replay(
    lane: Lane,
    key: Key,
    state: TrainState,
    table: Table,
    hp: Mapping[str, Any],
    start: Count,
    length: Count | int,
    fed: Batch | None = None,
) -> Cause:
    """Returns what goes wrong first in some updates.

    Args:
      lane: the lane.
      key: key of the seed.
      state: where the lane stands after `start` updates.
      table: all examples.
      hp: traced hyperparameters.
      start: updates done before.
      length: updates to make again.
      fed: the batches to do them on, or None to draw them from the table.
    """
    next_batch, carried = lane.batches(key, table, hp, start, fed)
    n_params = len(jax.tree.leaves(state.params))

    def body(i: Count, carry: Any) -> Any:
        state, order, found = carry
        order, batch = next_batch(i, order)
        (loss, _), gradient = lane.gradient(key, start + i, state, batch, hp)
        new, _ = lane.step(key, start + i, state, batch, hp)
        looked_at = ((_LOSS, loss, -1), (_GRADIENT, gradient, 0), (_PARAMETERS, new.params, 0))
        what, leaf = jnp.array(0), jnp.array(-1)
        for kind, tree, first in (*looked_at, (_STATE, new.model_state, n_params)):
            bad, place = _first_bad(tree)
            fresh = (what == 0) & bad
            what, leaf = jnp.where(fresh, kind, what), jnp.where(fresh, -1 if first < 0 else first + place, leaf)
        norm = jnp.where(all_finite(gradient), optax.tree.norm(gradient).astype(jnp.float32), found.gradient_norm)
        now = Cause(jnp.where(what > 0, start + i + 1, 0), what, leaf, norm)
        found = jax.tree.map(lambda old, new: jnp.where(found.step > 0, old, new), found, now)
        return new, order, found

    nothing = Cause(jnp.array(0), jnp.array(0), jnp.array(-1), jnp.array(jnp.nan, jnp.float32))
    _, _, found = jax.lax.fori_loop(0, length, body, (state, carried, nothing))
    return found


def _first_bad(tree: PyTree) -> tuple[Array, Array]:
    """Returns whether a leaf of a tree is not finite, and the number of the first."""
    bad = [~all_finite(leaf) for leaf in jax.tree.leaves(tree)]
    if not bad:
        return jnp.array(False), jnp.array(0)
    return jnp.stack(bad).any(), jnp.argmax(jnp.stack(bad))
