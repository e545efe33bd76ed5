"""What the trials of a program come to, filled in while they run."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxtune._types import PyTree
from jaxtune.sweep.programs._chunks import Chunk
from jaxtune.sweep.programs._programs import Program
from jaxtune.training import NOT_FINITE, STATUSES, Status
from jaxtune.training._replay import Cause, leaf_paths
from jaxtune.training._turns import Turns


class Outcome(NamedTuple):
    """What the trials of a program came to, with the leading axes (arms, seeds).

    Attributes:
      curves: metrics at each evaluation by name, shape (arms, seeds, evaluations).
      finals: metrics on the test split by name, shape (arms, seeds).
      status: numbers of `Status`, shape (arms, seeds).
      best_step: updates done at the kept parameters.
      first_bad_step: the first update in which something was not finite, 0 if there was none.
      not_finite: what that was, positions in `NOT_FINITE`.
      not_finite_path: path of the leaf that it was, empty for losses.
      gradient_norm: norm of the last gradient that was finite before a divergence, NaN where there was none.
      variables: kept parameters and model state, each leaf of shape (arms * seeds, ...), or None.
      segments: segments of chunks that were run, without those of an earlier run.
    """

    curves: dict[str, np.ndarray]
    finals: dict[str, np.ndarray]
    status: np.ndarray
    best_step: np.ndarray
    first_bad_step: np.ndarray
    not_finite: np.ndarray
    not_finite_path: np.ndarray
    gradient_norm: np.ndarray
    variables: PyTree
    segments: int


class Fetched(NamedTuple):
    """What a call of a program has come to for a chunk.

    Attributes:
      turn: which call it was, from 0.
      status: shape (seeds, arms).
      metrics: shape (metrics, seeds, arms).
    """

    turn: int
    status: np.ndarray
    metrics: np.ndarray


class Record:
    """The results of a program's trials.

    Attributes:
      ended: which trials have ended, shape (arms, seeds).
      segments: segments of chunks that were run, without those of an earlier run.

    Args:
      program: the program.
      n_seeds: number of seeds.
      evaluations: number of evaluations.
      variables: whether to keep variables.
    """

    def __init__(self, program: Program, n_seeds: int, evaluations: int, variables: bool):
        shape = (len(program.arms), n_seeds)
        self._names = program.functions.metric_names
        self._curves = np.full((len(self._names["advance"]), *shape, evaluations), np.nan, np.float32)
        self._finals = np.full((len(self._names["finish"]), *shape), np.nan, np.float32)
        self._status = np.full(shape, Status.RUNNING, np.int8)
        self._counters = np.zeros((*shape, 4), np.int64)
        self._norms = np.full(shape, np.nan, np.float32)
        state = program.lowered[0].out_info
        self._paths = np.array([*leaf_paths(state.params, state.model_state), ""])
        self._keeps, self._variables = variables, None
        self.ended = np.zeros(shape, bool)
        self.segments = 0

    def segment(self, which: Chunk, turns: Turns, fetched: Fetched) -> None:
        """Takes in what a segment of a chunk has come to.

        Args:
          which: the trials of the chunk.
          turns: the calls of the program.
          fetched: what one of them has come to.
        """
        turn, status, metrics = fetched
        evaluation = int(turns.measured[: turn + 1].sum()) - 1 if turns.measured[turn] else None
        self.segments += 1
        for (arm, seed), place in which.lanes():
            self._status[arm, seed] = status[place]
            if evaluation is not None:
                self._curves[:, arm, seed, evaluation] = metrics[(slice(None), *place)]

    def end(
        self,
        which: Chunk,
        wanted: np.ndarray,
        variables: PyTree,
        counters: np.ndarray,
        metrics: np.ndarray,
        cause: Cause | None,
    ) -> None:
        """Takes in what trials have ended with.

        Args:
          which: the trials of the chunk.
          wanted: those of them, shape (seeds, arms).
          variables: kept parameters and model state, on a device.
          counters: best step, first bad step and what was not finite, shape (seeds, arms, 3).
          metrics: shape (metrics, seeds, arms).
          cause: why those that have diverged did, shape (seeds, arms), or None.
        """
        host = jax.device_get(variables) if self._keeps else None
        n_arms, n_seeds = self._status.shape
        if self._keeps and self._variables is None:
            self._variables = jax.tree.map(lambda a: np.empty((n_arms * n_seeds, *a.shape[2:]), a.dtype), host)
        for (arm, seed), place in which.lanes(wanted):
            self._finals[:, arm, seed] = metrics[(slice(None), *place)]
            self._counters[arm, seed] = *counters[place], -1
            if cause is not None and self._status[arm, seed] == Status.DIVERGED:
                self._norms[arm, seed] = cause.gradient_norm[place]
                if cause.step[place]:  # what only an evaluation has found, no update shows
                    self._counters[arm, seed, 1:] = cause.step[place], cause.what[place], cause.leaf[place]
            self.ended[arm, seed] = True
            for kept, leaf in zip(jax.tree.leaves(self._variables), jax.tree.leaves(host), strict=True):
                kept[arm * n_seeds + seed] = leaf[place]

    def taken(self) -> dict[str, Any]:
        """Returns a copy of what is known of the trials; of variables the rows of those that have ended."""
        rows = np.flatnonzero(self.ended)
        return {
            "curves": self._curves.copy(),
            "finals": self._finals.copy(),
            "status": self._status.copy(),
            "counters": self._counters.copy(),
            "norms": self._norms.copy(),
            "ended": self.ended.copy(),
            "variables": {str(i): leaf[rows] for i, leaf in enumerate(jax.tree.leaves(self._variables))},
        }

    def restore(self, taken: dict[str, Any], like: PyTree) -> None:
        """Goes on from what `taken` has returned.

        Args:
          taken: that.
          like: shapes of one trial's parameters and model state.
        """
        for name in ("curves", "finals", "status", "counters", "norms", "ended"):
            getattr(self, f"_{name}" if name != "ended" else name)[...] = taken[name]
        rows = np.flatnonzero(self.ended)
        if self._keeps and len(rows):
            self._variables = jax.tree.map(lambda a: np.empty((self.ended.size, *a.shape), a.dtype), like)
            for i, leaf in enumerate(jax.tree.leaves(self._variables)):
                leaf[rows] = taken.get("variables", {})[str(i)]

    def fill(self, into: Any, values: Mapping[str, np.ndarray]) -> None:
        """Takes in trials that have ended in an earlier run.

        Args:
          into: where they are, as an index into an array of shape (arms, seeds).
          values: what the cube says of them by name, shape (arms, seeds) or (arms, seeds, evaluations) of what is indexed.
        """
        for kept, stage in ((self._curves, "advance"), (self._finals, "finish")):
            for i, name in enumerate(self._names[stage]):
                if name in values:  # of a program that failed nothing was measured
                    kept[i][into] = values[name]
        places = {path: place for place, path in enumerate(self._paths[:-1])} | {"": -1}
        what = np.vectorize(NOT_FINITE.index, otypes=[int])(values["not_finite"])
        where = np.vectorize(places.__getitem__, otypes=[int])(values["not_finite_path"])
        status = np.vectorize(STATUSES.index, otypes=[int])(values["status"])
        self._status[into], self._norms[into] = status, values["gradient_norm"]
        self._counters[into] = np.stack([values["best_step"], values["first_bad_step"], what, where], axis=-1)
        self.ended[into] = status != Status.FAILED

    def fill_variables(self, trials: Sequence[tuple[int, int]], variables: PyTree) -> None:
        """Takes in what such trials have kept, each leaf with a leading axis of trials."""
        if self._variables is None:
            self._variables = jax.tree.map(lambda a: np.empty((self.ended.size, *a.shape[1:]), a.dtype), variables)
        rows = [arm * self.ended.shape[1] + seed for arm, seed in trials]
        for kept, leaf in zip(jax.tree.leaves(self._variables), jax.tree.leaves(variables), strict=True):
            kept[rows] = leaf

    def outcome(self) -> Outcome:
        """Returns what the trials have come to, all having ended."""
        self._status[self._status == Status.RUNNING] = Status.FINISHED
        self._finals[:, self._status == Status.DIVERGED] = np.nan
        return Outcome(
            curves=dict(zip(self._names["advance"], self._curves, strict=True)),
            finals=dict(zip(self._names["finish"], self._finals, strict=True)),
            status=self._status,
            best_step=self._counters[..., 0],
            first_bad_step=self._counters[..., 1],
            not_finite=self._counters[..., 2],
            not_finite_path=self._paths[self._counters[..., 3]],
            gradient_norm=self._norms,
            variables=self._variables,
            segments=self.segments,
        )
