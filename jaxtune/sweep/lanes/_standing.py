"""Where the trials of a program stand, as a tree of arrays: what a checkpoint holds, and a resumed run goes on from.

A trial's bits do not depend on the others in its chunk, so states are kept trial by trial, and chunks are packed anew.
"""

from collections.abc import Collection
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from jaxtune._errors import RunFolderError
from jaxtune._tree import is_key
from jaxtune._types import PyTree
from jaxtune.data.batches._table import Table
from jaxtune.sweep._experiment import Experiment
from jaxtune.sweep.lanes._record import Record
from jaxtune.sweep.programs._chunks import Chunk, Trial, lane_inputs, pack
from jaxtune.sweep.programs._programs import Program


class Saving(Protocol):
    """Takes where a program stands."""

    @property
    def due(self) -> bool:
        """Whether it wants to."""

    def save(self, tree: PyTree) -> None:
        """Takes where the program stands, a tree of arrays that nobody changes any more."""

    def close(self, tree: PyTree) -> None:
        """Takes how it has ended, in the same form."""


class Standing:
    """Collects where the trials of a program stand, and brings it back.

    Args:
      program: the program.
      experiment: what it is part of.
      table: the data.
    """

    def __init__(self, program: Program, experiment: Experiment, table: Table):
        self._program, self._experiment, self._table = program, experiment, table
        self._room = 0
        self._trials: list[tuple[int, int, int]] = []
        self._leaves: list[np.ndarray] = []

    def make_room(self, trials: int) -> None:
        """Says of how many trials the states will be noted, at most, until they are taken."""
        self._room = trials

    def note(self, which: Chunk, turn: int, state: PyTree) -> None:
        """Takes the states of a chunk's trials after a number of calls: copies them, for the next call takes their place."""
        lanes, start = list(which.lanes()), len(self._trials)
        rows = np.ravel_multi_index(np.transpose([place for _, place in lanes]), which.real.shape)
        leaves = jax.tree.leaves(jax.device_get(jax.tree.map(without_keys, state)))
        if not start:
            self._leaves = [np.empty((self._room, *leaf.shape[2:]), leaf.dtype) for leaf in leaves]
        for to, leaf in zip(self._leaves, leaves, strict=True):
            flat = leaf.reshape(which.real.size, *leaf.shape[2:])
            np.take(flat, rows, axis=0, out=to[start : start + len(lanes)], mode="clip")  # which copies once
        self._trials += [(*trial, turn) for trial, _ in lanes]

    def take(self, record: Record) -> PyTree:
        """Returns all that was noted since the last time but for trials that have ended, and a copy of the record."""
        trials = np.array(self._trials, np.int64).reshape(-1, 3)
        going = ~record.ended[trials[:, 0], trials[:, 1]]
        which: Any = slice(len(trials)) if going.all() else np.flatnonzero(going)  # a view, or a copy
        state = {str(i): leaf[which] for i, leaf in enumerate(self._leaves)}
        self._trials, self._leaves = [], []
        return {
            "shape": np.array(self._program.shape),
            "record": record.taken(),
            "trials": trials[going],
            "state": state,
        }

    def restore(
        self, record: Record, taken: PyTree, mine: Collection[Trial] | None = None
    ) -> list[tuple[Chunk, PyTree, int]]:
        """Fills the record, and returns chunks of the trials that were running, their states and numbers of calls.

        Args:
          record: the record, which is empty.
          taken: what `take` has returned.
          mine: those trials that are wanted of the ones that were running, None for all.

        Raises:
          ValueError: it is something else, which another version of jaxtune may have saved.
        """
        try:
            return self._restore(record, taken, mine)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            what = f"what an earlier run has saved cannot be gone on with ({type(error).__name__}: {error})"
            cure = "Did another version of jaxtune save it? Use that one, or pass force=True to begin again."
            raise RunFolderError(f"{what}. {cure}") from error

    def _restore(
        self, record: Record, taken: PyTree, mine: Collection[Trial] | None
    ) -> list[tuple[Chunk, PyTree, int]]:
        kinds = self._state()
        one = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[2:], a.dtype), (kinds.params, kinds.model_state))
        record.restore(taken["record"], one)
        place = {(int(arm), int(seed)): i for i, (arm, seed, _) in enumerate(taken["trials"])}
        found = []
        for turn in sorted({int(turn) for *_, turn in taken["trials"]}):
            group = [(int(arm), int(seed)) for arm, seed, at in taken["trials"] if at == turn]
            group = [trial for trial in group if mine is None or trial in mine]
            for chunk in pack(group, self._program.shape):
                pairs = zip(chunk.arms.tolist(), chunk.seeds.tolist(), strict=True)
                rows = np.array([[place[arm, seed] for arm in arms] for arms, seed in pairs])
                leaves = [taken.get("state", {})[str(i)][rows] for i in range(len(jax.tree.leaves(kinds)))]
                found.append(
                    (chunk, jax.tree.map(with_keys, kinds, jax.tree.unflatten(jax.tree.structure(kinds), leaves)), turn)
                )
        return found

    def _state(self) -> Any:
        """Returns the shapes of a chunk's state."""
        (chunk,) = pack([(0, 0)], self._program.shape)
        stacked = self._experiment.space.stacked(self._program.arms)
        seeds, hp = lane_inputs(chunk, stacked, self._experiment.seed_values)
        return jax.eval_shape(self._program.functions.init, seeds, self._table, hp)


def without_keys(a: Any) -> Any:
    """Returns random keys, which an optimizer may keep, as numbers."""
    return jax.random.key_data(a) if is_key(a) else a


def with_keys(kind: Any, a: Any) -> Any:
    """Returns numbers as random keys where `kind`, an array or a shape, is one."""
    if not is_key(kind):
        return a
    # A shape does not say of which kind a key is; one that is made from nothing but it does.
    made = kind if isinstance(kind, jax.Array) else jnp.empty(0, kind.dtype)
    return jax.random.wrap_key_data(jnp.asarray(a), impl=jax.random.key_impl(made))
