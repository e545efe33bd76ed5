"""One process at a time in a folder: a lock that ends with its process."""

import contextlib
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

from jaxtune._errors import RunFolderError

NAME = ".lock"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the lock of a folder, which is made if there is none. The system drops it when the process ends, however it does.

    Where the system has no such locks (Windows), nothing is held; nor where the file system gives none, of which it warns.

    Raises:
      ValueError: another process holds it, or the folder cannot be written to.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    file = folder / NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise RunFolderError(
            f"`out` is {str(folder)!r}, which cannot be written to: {error}. Name another folder."
        ) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = True
        except BlockingIOError:
            free = False
        except OSError as error:
            free = True
            what = f"the file system gives no lock on {str(folder)!r} ({error})"
            warnings.warn(f"{what}; see to it that only one run is at work there", RuntimeWarning, stacklevel=3)
        # Its holder may just have ended and removed the file, and the next one have made another.
        if not free or not _is(handle, file):
            message = f"`out` is {str(folder)!r}, where another process is at work"
            raise RunFolderError(f"{message}. Wait for it, or name another folder.")
        yield
        file.unlink(missing_ok=True)
    finally:
        os.close(handle)


def _is(handle: int, file: Path) -> bool:
    """Returns whether an open file is the one that a path names now."""
    try:
        return os.path.samestat(os.fstat(handle), file.stat())
    except FileNotFoundError:
        return False
