"""Why trials have diverged: found by making the updates since their last good boundary again."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxtune._types import PyTree
from jaxtune.sweep.lanes._compile import Compiled, compiler_options
from jaxtune.sweep.programs._programs import Program
from jaxtune.training._replay import Cause
from jaxtune.training._turns import Turns


class Causes:
    """Finds the causes of a program's trials; what that takes is compiled with the first of them.

    Args:
      program: the program.
      compiled: its functions on the device that this is to run on.
      turns: the calls of the program.
    """

    def __init__(self, program: Program, compiled: Compiled, turns: Turns):
        self._program, self._on, self._turns = program, compiled, turns
        self._compiled: Callable[..., Cause] | None = None

    def of(self, seeds: Any, hp: Any, state: PyTree, fallen: np.ndarray) -> Cause:
        """Returns what was the first not to be finite in each lane of a chunk, shape (seeds, arms).

        Args:
          seeds: the chunk's seeds.
          hp: its hyperparameters.
          state: its state, with what diverged lanes were at their last good boundary.
          fallen: which lanes have diverged, shape (seeds, arms).
        """
        last, first_bad = jax.device_get((state.last_step, state.first_bad_step))
        inputs = jax.device_put((seeds, state, hp), self._on.device)
        found: Cause | None = None
        for start in np.unique(last[fallen]).tolist():
            lanes = fallen & (last == start)
            cause = self._again(inputs, start, int(first_bad[lanes].max()) - start)
            found = (
                cause
                if found is None
                else jax.tree.map(lambda new, old, at=lanes: np.where(at, new, old), cause, found)
            )
        assert found is not None, "no lane has diverged"
        return found

    def _again(self, inputs: tuple[Any, PyTree, Any], start: int, length: int) -> Cause:
        """Returns the causes that the updates after `start` show, whether or not a lane's last good boundary is there."""
        seeds, state, hp = inputs
        feed, batches = self._program.feed, None
        if feed is not None:
            batches = feed.segment(start, length, self._turns.longest)
        numbers = (np.int32(start), np.int32(length), batches)
        given = (seeds, state, self._on.table, hp, *jax.device_put(numbers, self._on.device))
        if self._compiled is None:
            options = compiler_options().get("once", {})
            self._compiled = self._program.functions.replay.lower(*given).compile(options)
        return jax.device_get(self._compiled(*given))
