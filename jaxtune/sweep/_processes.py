"""The processes of a run: one, or those of JAX's multi-process runtime, on one machine or on many.

Lanes need no communication. Each process trains its share of the chunks on its own devices, and saves where they stand; the
first puts together what all have saved. They wait for each other a few times in a run, by JAX's coordination service, and where
one has raised, all raise.
"""

import contextlib
import itertools
from collections.abc import Iterator

import jax

from jaxtune._errors import RunFolderError
from jaxtune.checkpoint import heard, tell_all, wait_for_all

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

    def least(self, value: int) -> int:
        """Returns the smallest of the values that the processes have, for all to decide alike."""
        if self.count == 1:
            return value
        name = f"jaxtune {next(_meetings)}"
        tell_all(name, str(self.index), str(value))
        wait_for_all(name)
        return min(int(said) for said in heard(name).values())

    @contextlib.contextmanager
    def stretch(self) -> Iterator[None]:
        """A stretch at whose end all wait for each other; all go through the same stretches in the same order.

        Raises:
          ValueError: another process has raised in it.
          KeyboardInterrupt: another process has been asked to end.
        """
        if self.count == 1:
            yield
            return
        name = f"jaxtune {next(_meetings)}"
        try:
            yield
        except BaseException as error:
            tell_all(name, str(self.index), f"{type(error).__name__}: {error}")
            wait_for_all(name)
            raise
        wait_for_all(name)
        for index, said in heard(name).items():
            if said.startswith("KeyboardInterrupt"):
                raise KeyboardInterrupt
            raise RunFolderError(f"process {index} of {self.count} has ended, and so does this one: {said}")
