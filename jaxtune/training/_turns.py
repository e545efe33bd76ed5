"""How the updates of a trial are cut into calls of a program: at evaluations, and where streamed batches arrive."""

from typing import Any, NamedTuple, cast

import jax
import numpy as np

from jaxtune._types import Flag
from jaxtune.data.batches._table import Batch


class Fed(NamedTuple):
    """Some updates' batches, with the leading axes (updates, batch).

    Attributes:
      batches: the batches.
      measured: whether an evaluation follows.
    """

    batches: Batch
    measured: Flag


class Turns(NamedTuple):
    """How the updates of a trial are cut into calls of a program.

    Attributes:
      ends: the updates after which a call ends, shape (calls,).
      measured: whether an evaluation follows, shape (calls,).
    """

    ends: np.ndarray
    measured: np.ndarray

    @property
    def longest(self) -> int:
        """The most updates of a call."""
        return int(np.diff(self.ends, prepend=0).max())

    def start(self, turn: int) -> int:
        """Returns the number of updates done before a call."""
        return int(self.ends[turn - 1]) if turn else 0

    def length(self, turn: int) -> int:
        """Returns the number of updates of a call."""
        return int(self.ends[turn]) - self.start(turn)


def turns_of(evaluations: np.ndarray, most: int | None = None) -> Turns:
    """Returns the calls of a program: up to each evaluation, in equal pieces of at most `most` updates."""
    ends: list[int] = []
    for start, stop in zip([0, *evaluations[:-1]], evaluations, strict=True):
        pieces = 1 if most is None else -(-int(stop - start) // most)
        ends += [int(start) + int(stop - start) * (i + 1) // pieces for i in range(pieces)]
    return Turns(np.array(ends, np.int64), np.isin(ends, evaluations))


def fed_shapes(example: Batch, turns: Turns) -> Fed:
    """Returns the shapes of what the host sends for a call, which are those of the longest.

    Args:
      example: shapes of one batch.
      turns: the calls.
    """
    batches = jax.tree.map(lambda a: jax.ShapeDtypeStruct((turns.longest, *a.shape), a.dtype), example)
    return Fed(batches, cast(Any, jax.ShapeDtypeStruct((), np.bool_)))
