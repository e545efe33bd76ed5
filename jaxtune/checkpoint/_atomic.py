"""Files and folders that appear whole or not at all."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def beside(folder: Path, name: str) -> Iterator[Path]:
    """Yields a path beside `folder/name`, and renames it into place once it is written and flushed."""
    scratch = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder))
    try:
        yield scratch / name
        for file in [scratch / name, *(scratch / name).rglob("*")]:
            flush(file)
        os.replace(scratch / name, folder / name)
        flush(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def flush(path: Path) -> None:
    """Has what was written to a file, or which names a folder holds, reach the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
