"""The processes of a run: one, or those of JAX's multi-process runtime, on one machine or on many.

Lanes need no communication. Each process trains its share of the chunks on its own devices, and saves where they stand; the
first puts together what all have saved. They wait for each other a few times in a run, by what they tell JAX's coordination
service, and where one has raised or has been asked to end, all end.
"""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator

import jax

from jaxtune._errors import RunFolderError, first_line
from jaxtune.checkpoint import heard, tell_all

_meetings = itertools.count()

_POLL = 0.05
"""Seconds between two looks at who has come, which Ctrl-C can interrupt."""

_GLANCE = 1.0
"""Seconds between two looks at the others while this process trains."""


class Processes:
    """The processes that run together.

    Attributes:
      index: the number of this one.
      count: how many there are.

    Args:
      asked: says whether this one has been asked to end.
    """

    def __init__(self, asked: Callable[[], bool] = lambda: False) -> None:
        self.index, self.count = jax.process_index(), jax.process_count()
        self._asked, self._others_end, self._looked = asked, False, 0.0
        self._meeting = ""

    @property
    def is_first(self) -> bool:
        """Whether it is this one that writes what there is once."""
        return self.index == 0

    @property
    def share(self) -> tuple[int, int]:
        """The number of this one, and how many there are."""
        return self.index, self.count

    def asked(self) -> bool:
        """Returns whether this process has been asked to end, or another that is in the same stretch ends."""
        if self.count > 1 and not self._others_end and time.monotonic() - self._looked >= _GLANCE:
            self._others_end = any(self._heard().values())
            self._looked = time.monotonic()
        return self._others_end or self._asked()

    def least(self, value: int) -> int:
        """Returns the smallest of the values that the processes have, for all to decide alike."""
        if self.count == 1:
            return value
        self._meeting = f"jaxtune {next(_meetings)}"
        return min(int(said) for said in self._meet(str(value)).values())

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
        self._meeting, own = f"jaxtune {next(_meetings)}", None
        try:
            yield
        except BaseException as error:
            own = error
        said = self._meet("" if own is None else f"{type(own).__name__}: {own}")
        errors = {i: text for i, text in said.items() if text and not text.startswith("KeyboardInterrupt")}
        if own is not None and (self.index in errors or not errors):
            raise own
        for index, text in errors.items():  # a process that ends because of another's error was asked to
            raise RunFolderError(f"process {index} of {self.count} has ended, and so does this one: {text}")
        if any(said.values()):
            raise KeyboardInterrupt

    def _meet(self, said: str) -> dict[int, str]:
        """Says what this process has come to, waits for the others, and returns what all have said, by their numbers."""
        tell_all(self._meeting, str(self.index), said)
        has_told = False
        while True:
            found = self._heard()
            come = {int(name): text for name, text in found.items() if name.isdecimal()}
            if len(come) == self.count:
                return come
            if self._asked() and not has_told:
                tell_all(self._meeting, f"{self.index} is asked to end", "KeyboardInterrupt")
                has_told = True
            time.sleep(_POLL)

    def _heard(self) -> dict[str, str]:
        """Returns what has been said at this meeting, by who says it.

        Raises:
          ValueError: the first process, which passes it on, is gone.
        """
        try:
            return heard(self._meeting)
        except jax.errors.JaxRuntimeError as error:
            cause = f"the first of {self.count} processes is gone ({first_line(error)})"
            raise RunFolderError(f"{cause}. What is saved stays: start all of them again.") from error
