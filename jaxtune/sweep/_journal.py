"""Where a run stands, program by program, for it to go on from after an interruption."""

from typing import Any

import numpy as np

from jaxtune._types import PyTree
from jaxtune.checkpoint import Saver
from jaxtune.sweep._interrupt import Interrupt
from jaxtune.sweep.programs._chunks import ChunkShape


class Journal:
    """Keeps where each program stands, and has it saved now and then.

    Args:
      saver: writes checkpoints.
      interrupt: says when the run has been asked to end.
      stood: the checkpoint that an earlier run has left, or None.
    """

    def __init__(self, saver: Saver, interrupt: Interrupt, stood: PyTree):
        self._saver, self._interrupt = saver, interrupt
        self._programs: dict[str, Any] = {} if stood is None else dict(stood["programs"])

    def page(self, number: int, shape: ChunkShape) -> "Page":
        """Returns the page of a program, by its number and the shape of its chunks."""
        return Page(self, str(number), shape)

    def write(self, name: str, standing: PyTree) -> None:
        """Has the whole journal saved, with what is new of a program.

        Raises:
          KeyboardInterrupt: the run has been asked to end, and all is saved.
        """
        self._programs[name] = standing
        self._saver.save({"programs": dict(self._programs)})
        if self._interrupt.requested:
            self._saver.wait()
            raise KeyboardInterrupt

    @property
    def due(self) -> bool:
        """Whether it is time to save, or to end."""
        return self._interrupt.requested or self._saver.due

    def stood(self, name: str) -> PyTree:
        """Returns where a program stood, None if it had not begun."""
        return self._programs.get(name)

    def close(self, name: str, standing: PyTree) -> None:
        """Notes how a program has ended; it is saved with the next."""
        self._programs[name] = standing


class Page:
    """What the journal holds of one program with chunks of one shape."""

    def __init__(self, journal: Journal, name: str, shape: ChunkShape):
        self._journal, self._name, self._shape = journal, name, shape

    @property
    def stood(self) -> PyTree:
        """Where the program stood, None if it had not begun, or had in another shape."""
        stood = self._journal.stood(self._name)
        return stood if stood is not None and tuple(stood["shape"].tolist()) == self._shape else None

    @property
    def complete(self) -> bool:
        """Whether all of its trials had ended."""
        return self.stood is not None and bool(np.all(self.stood["record"]["ended"]))

    @property
    def due(self) -> bool:
        """Whether it is time to save."""
        return self._journal.due

    def save(self, tree: PyTree) -> None:
        """Has saved where the program stands."""
        self._journal.write(self._name, tree)

    def close(self, tree: PyTree) -> None:
        """Notes how the program has ended."""
        self._journal.close(self._name, tree)
