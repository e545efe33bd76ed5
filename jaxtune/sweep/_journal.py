"""Where a run stands, program by program, for it to go on from after an interruption."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from jaxtune._types import PyTree
from jaxtune.checkpoint import Saver
from jaxtune.sweep._interrupt import Interrupt
from jaxtune.sweep.lanes._merge import merged
from jaxtune.sweep.programs._chunks import ChunkShape


class Journal:
    """Keeps where each program stands, and has it saved now and then.

    Args:
      saver: writes checkpoints.
      interrupt: says when the run has been asked to end.
      stood: the checkpoints that an earlier run has left, by the numbers of its processes.
      index: the number of this process, which replaces that one's checkpoints.
    """

    def __init__(self, saver: Saver, interrupt: Interrupt, stood: Mapping[int, PyTree], index: int):
        self._saver, self._interrupt = saver, interrupt
        self._programs: dict[str, Any] = dict(stood[index].get("programs", {})) if index in stood else {}
        self._others = [part.get("programs", {}) for number, part in stood.items() if number != index]

    def page(self, number: int, shape: ChunkShape) -> "Page":
        """Returns the page of a program, by its number and the shape of its chunks."""
        return Page(self, str(number), shape)

    def write(self, name: str, standing: PyTree) -> None:
        """Has the whole journal saved, with what is new of a program.

        Raises:
          KeyboardInterrupt: the run has been asked to end, and all is saved.
        """
        self._programs[name] = standing
        self._save()
        if self._interrupt.requested:
            self._saver.wait()
            raise KeyboardInterrupt

    @property
    def due(self) -> bool:
        """Whether it is time to save, or to end."""
        return self._interrupt.requested or self._saver.due

    def stood(self, name: str, shape: ChunkShape) -> PyTree:
        """Returns where a program with chunks of a shape stood, by what all processes have saved; None if it had not begun."""
        every = [programs.get(name) for programs in (self._programs, *self._others)]
        parts = [part for part in every if part is not None and tuple(part["shape"].tolist()) == shape]
        return merged(parts) if parts else None

    def close(self, name: str, standing: PyTree) -> None:
        """Notes how a program has ended; it is saved with the next."""
        self._programs[name] = standing

    def end(self, failures: dict[int, str]) -> None:
        """Saves how all programs have ended, with the traceback of each that failed, by its number, for another process to read.

        Raises:
          ValueError: it could not be.
        """
        self._save(failures={str(n): np.frombuffer(trace.encode(), np.uint8) for n, trace in failures.items()})
        self._saver.wait()

    def _save(self, **more: Any) -> None:
        self._saver.save({"programs": dict(self._programs), **more})


class Page:
    """What the journal holds of one program with chunks of one shape."""

    def __init__(self, journal: Journal, name: str, shape: ChunkShape):
        self._journal, self._name, self._shape = journal, name, shape

    @property
    def stood(self) -> PyTree:
        """Where the program stood, None if it had not begun, or had in another shape."""
        return self._journal.stood(self._name, self._shape)

    @property
    def complete(self) -> bool:
        """Whether all of its trials had ended."""
        stood = self.stood
        return stood is not None and bool(np.all(stood["record"]["ended"]))

    def save(self, tree: PyTree) -> None:
        """Has saved where the program stands."""
        self._journal.write(self._name, tree)

    def close(self, tree: PyTree) -> None:
        """Notes how the program has ended."""
        self._journal.close(self._name, tree)

    @property
    def due(self) -> bool:
        """Whether it is time to save."""
        return self._journal.due


def failures_in(stood: Iterable[PyTree]) -> dict[int, str]:
    """Returns the tracebacks that processes have noted at their end, by the number of the program."""
    noted = [part.get("failures", {}) for part in stood]
    return {int(number): bytes(text).decode() for part in noted for number, text in part.items()}
