"""The trained variables of the trials that were kept."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxtune._errors import InputError
from jaxtune._types import PyTree


class Variables(NamedTuple):
    """What a trial has learned.

    Attributes:
      params: the kept parameters.
      model_state: the model state that belongs to them, such as running statistics.
    """

    params: PyTree
    model_state: PyTree


class KeptVariables:
    """Variables of many trials, stacked per program and read when first asked for.

    Args:
      place: program and row of each trial, shape (arms, seeds, 2); -1 where a trial was not kept.
      stacks: for each program a function that returns its `Variables`, each leaf with a leading axis of rows.
    """

    def __init__(self, place: np.ndarray, stacks: Sequence[Callable[[], Variables]]):
        self.place = place
        self._stacks = stacks
        self._read: dict[int, Variables] = {}

    def stack(self, program: int) -> Variables:
        """Returns the stacked variables of one program."""
        if program not in self._read:
            self._read[program] = self._stacks[program]()
        return self._read[program]

    def trial(self, arm: int, seed: int, setting: Mapping[str, Any]) -> Variables:
        """Returns the variables of one trial.

        Raises:
          ValueError: they were not kept.
        """
        program, row = self.place[arm, seed]
        if program < 0:
            raise InputError(
                "setting", dict(setting), "the variables of this trial were not kept", "Run with keep='all'."
            )
        return jax.tree.map(lambda a: a[row], self.stack(int(program)))


def places(shape: tuple[int, int], trials: Sequence[Sequence[tuple[int, int]]]) -> np.ndarray:
    """Returns program and row of each trial, shape (arms, seeds, 2), -1 where a trial has none.

    Args:
      shape: numbers of arms and seeds.
      trials: for each program arm and seed of each row.
    """
    place = np.full((*shape, 2), -1)
    for program, rows in enumerate(trials):
        for row, (arm, seed) in enumerate(rows):
            place[arm, seed] = program, row
    return place
