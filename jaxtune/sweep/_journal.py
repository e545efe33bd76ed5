"""Where a run stands, program by program, for it to go on from after an interruption."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxtune._types import PyTree
from jaxtune.checkpoint import RunFolder, Saver
from jaxtune.sweep.lanes._merge import merged
from jaxtune.sweep.programs._chunks import ChunkShape
from jaxtune.sweep.programs._programs import Program


class Journal:
    """Keeps where each program stands, and has it saved now and then.

    Args:
      saver: writes checkpoints.
      asked: says whether the run has been asked to end.
      stood: the checkpoint that an earlier run has left for this process, or None.
    """

    def __init__(self, saver: Saver, asked: Callable[[], bool], stood: PyTree):
        self._saver, self._asked = saver, asked
        self._programs: dict[str, Any] = dict((stood or {}).get("programs", {}))

    def page(self, number: int, shape: ChunkShape) -> "Page":
        """Returns the page of a program, by its number and the shape of its chunks."""
        stood = self._programs.get(str(number))
        return Page(self, number, stood if _has_shape(stood, shape) else None)

    @property
    def due(self) -> bool:
        """Whether it is time to save, or to end."""
        return self._asked() or self._saver.due

    def note(self, number: int, standing: PyTree) -> None:
        """Notes what is new of a program; it is saved with the next."""
        self._programs[str(number)] = standing

    def save(self) -> None:
        """Has all saved that is noted.

        Raises:
          KeyboardInterrupt: the run has been asked to end, and all is saved.
        """
        self._save()
        if self._asked():
            self._saver.wait()
            raise KeyboardInterrupt

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
    """What the journal holds of one program with chunks of one shape.

    Attributes:
      stood: where the program stands, None if it has not begun, or had in another shape.
    """

    def __init__(self, journal: Journal, number: int, stood: PyTree):
        self._journal, self._number, self.stood = journal, number, stood

    @property
    def due(self) -> bool:
        """Whether it is time to save."""
        return self._journal.due

    def save(self, tree: PyTree) -> None:
        """Has saved where the program stands."""
        self._note(tree)
        self._journal.save()

    def close(self, tree: PyTree) -> None:
        """Notes how the program has ended; it is saved with the next."""
        self._note(tree)

    def _note(self, tree: PyTree) -> None:
        self.stood = tree
        self._journal.note(self._number, tree)


def standing_in(stood: Iterable[PyTree], number: int, shape: ChunkShape) -> PyTree:
    """Returns where a program with chunks of a shape stood, by all that processes have saved; None if it had not begun."""
    every = [part.get("programs", {}).get(str(number)) for part in stood]
    parts = [part for part in every if _has_shape(part, shape)]
    return merged(parts) if parts else None


def _has_shape(stood: PyTree, shape: ChunkShape) -> bool:
    """Returns whether a program stood anywhere with chunks of a shape."""
    return stood is not None and tuple(stood["shape"].tolist()) == shape


def is_complete(stood: PyTree) -> bool:
    """Whether all trials of a program had ended where it stood."""
    return stood is not None and bool(np.all(stood["record"]["ended"]))


def deal_out(folder: RunFolder, programs: Sequence[Program], shares: Mapping[int, Sequence[Program]]) -> None:
    """Gives each process a checkpoint with what earlier runs have left of its programs, however these were spread.

    Else the only checkpoint of a trial might be that of a process which no longer trains it, and would soon save without it.

    Args:
      folder: the folder of the run.
      programs: all programs.
      shares: for the number of each process the programs that it has a share in.
    """
    stood = folder.stood()
    standing = {program.number: standing_in(stood.values(), program.number, program.shape) for program in programs}
    trees = {}
    for process, share in shares.items():
        known = {str(p.number): standing[p.number] for p in share if standing[p.number] is not None}
        if known:
            # What else is there stays until all are dealt out.
            trees[process] = {"programs": {**stood.get(process, {}).get("programs", {}), **known}}
    folder.replace_checkpoints(trees, shares)


def failures_in(stood: Iterable[PyTree]) -> dict[int, str]:
    """Returns the tracebacks that processes have noted at their end, by the number of the program."""
    noted = [part.get("failures", {}) for part in stood]
    return {int(number): bytes(text).decode() for part in noted for number, text in part.items()}
