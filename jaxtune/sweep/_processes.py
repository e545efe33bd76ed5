"""The processes of a run: one, or those of JAX's multi-process runtime, on one machine or on many.

Lanes need no communication. Each process trains its share of the chunks on its own devices, and saves where they stand; the
first puts together what all have saved. They wait for each other four times in a run, by JAX's coordination service.
"""

import itertools

import jax

from jaxtune.checkpoint import wait_for_all

_meetings = itertools.count()


class Processes:
    """The processes that run together.

    Attributes:
      index: the number of this one.
      count: how many there are.
    """

    def __init__(self) -> None:
        self.index, self.count = jax.process_index(), jax.process_count()

    @property
    def is_first(self) -> bool:
        """Whether it is this one that writes what there is once."""
        return self.index == 0

    @property
    def share(self) -> tuple[int, int]:
        """The number of this one, and how many there are."""
        return self.index, self.count

    def meet(self) -> None:
        """Waits until all have come here; all come to the same meetings in the same order."""
        if self.count > 1:
            wait_for_all(f"jaxtune {next(_meetings)}")
