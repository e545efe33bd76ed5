"""Checkpoints of a run under way: the newest that is whole counts, and two are kept."""

import concurrent.futures
import contextlib
import errno
import hashlib
import json
import os
import shutil
import time
import warnings
from pathlib import Path

from jaxtune._errors import RunFolderError, first_line
from jaxtune._types import PyTree
from jaxtune.checkpoint import _orbax
from jaxtune.checkpoint._atomic import beside, flush

_KEPT = 2
_MANIFEST = "manifest.json"
_ACCESS = {errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ETIMEDOUT}
"""What a system answers that does not let a file be read, whatever is in it."""


class Checkpoints:
    """Checkpoints in a folder, numbered in their order: trees of arrays, as nested dicts with names for keys.

    Each has a manifest with the SHA-256 of every array and of the manifest itself.

    Args:
      path: the folder; it need not exist.
    """

    def __init__(self, path: Path):
        self.path = path

    def save(self, tree: PyTree) -> None:
        """Writes a checkpoint, and removes all but the two newest.

        Raises:
          OSError: it cannot be written; those before stay.
        """
        if not self.path.is_dir():
            self.path.mkdir()
            flush(self.path.parent)
        numbers = self._numbers()
        number = numbers[-1] + 1 if numbers else 0
        with beside(self.path, str(number)) as place:
            place.mkdir()
            leaves = _orbax.save(place / "arrays", tree)
            text = json.dumps(leaves)
            manifest = {"sha256": hashlib.sha256(text.encode()).hexdigest(), "text": text}
            (place / _MANIFEST).write_text(json.dumps(manifest))
        for old in self._numbers()[:-_KEPT]:
            shutil.rmtree(self.path / str(old), ignore_errors=True)

    def newest(self) -> PyTree | None:
        """Returns the newest checkpoint that is whole, None if there is none; warns of those that are damaged.

        Raises:
          ValueError: one may not be read.
        """
        for number in reversed(self._numbers()):
            try:
                return self._load(number)
            except MemoryError:
                raise
            except Exception as error:  # Orbax and its storage raise what comes
                which = f"checkpoint {number} in {str(self.path)!r}"
                reason = f"{type(error).__name__}: {first_line(error)}"
                if not _speaks_of_bytes(error):
                    raise RunFolderError(f"{which} cannot be read ({reason}). Mend that, and run again.") from error
                with contextlib.suppress(OSError):  # it counts for nothing, then, when old ones are removed
                    os.rename(self.path / str(number), self.path / f"{number}.damaged-{time.time_ns()}")
                what = f"{which} is damaged ({reason}); the one before it is used, if there is one"
                warnings.warn(what, RuntimeWarning, stacklevel=2)
        return None

    def _load(self, number: int) -> PyTree:
        folder = self.path / str(number)
        manifest = json.loads((folder / _MANIFEST).read_text())
        if hashlib.sha256(manifest["text"].encode()).hexdigest() != manifest["sha256"]:
            raise ValueError("its manifest is not what was written")
        return _orbax.load(folder / "arrays", _orbax.described(json.loads(manifest["text"])), None)

    def _numbers(self) -> list[int]:
        if not self.path.is_dir():
            return []
        return sorted(int(p.name) for p in self.path.iterdir() if p.name.isdecimal() and p.name == str(int(p.name)))


def _speaks_of_bytes(error: Exception) -> bool:
    """Returns whether an error may come from what lies on the disk, and not from permissions, limits or a network."""
    # Orbax's storage has only words for it.
    said = ("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "UNAVAILABLE", *(f"[OS error {n}:" for n in _ACCESS))
    return getattr(error, "errno", None) not in _ACCESS and not any(words in str(error) for words in said)


class Saver:
    """Writes checkpoints on a thread of its own, one at a time.

    Args:
      checkpoints: where they go.
      every: seconds between the beginnings of two.
    """

    def __init__(self, checkpoints: Checkpoints, every: float):
        self._checkpoints, self._every = checkpoints, every
        self._pool = concurrent.futures.ThreadPoolExecutor(max_workers=1)
        self._writing: concurrent.futures.Future[None] | None = None
        self._last = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether it is time for another.

        Raises:
          ValueError: the one before could not be written.
        """
        if self._writing is not None and self._writing.done():
            self.wait()
        return self._writing is None and time.monotonic() - self._last >= self._every

    def save(self, tree: PyTree) -> None:
        """Begins to write a checkpoint of a tree that nobody changes any more."""
        self.wait()
        self._last = time.monotonic()
        self._writing = self._pool.submit(self._checkpoints.save, tree)

    def wait(self) -> None:
        """Waits until what was begun is written.

        Raises:
          ValueError: it could not be.
          MemoryError: there was no room to do so.
        """
        writing, self._writing = self._writing, None
        if writing is None:
            return
        try:
            writing.result()
        except MemoryError:
            raise
        except Exception as error:  # Orbax and its storage raise what comes
            message = f"a checkpoint cannot be written to {str(self._checkpoints.path)!r}: {error}. Those before it are as they were."
            raise RunFolderError(
                f"{message} Make room there, and run again: the run goes on from the last one."
            ) from error

    def close(self) -> None:
        """Waits for what is being written, whatever comes of it, and ends the thread."""
        self._pool.shutdown(wait=True)
