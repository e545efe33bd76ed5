"""The folder of a run.

```
run.json      what was run (the fingerprint), where, with which versions, and whether it has finished
results.nc    the cube, NetCDF
variables/    kept parameters and model states, one Orbax checkpoint per program
log.jsonl     when things happened; with Orbax's own files, all that differs between two identical runs
```

Every file but the log appears whole or not at all: it is written beside its place, flushed to the disk and renamed.
`run.json` says "finished" last.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxtune._errors import RunFolderError
from jaxtune._types import PyTree
from jaxtune.checkpoint import _orbax
from jaxtune.checkpoint._fingerprint import differences

FORMAT = 1
_OWN = ("run.json", "results.nc", "variables", "log.jsonl")


class RunFolder:
    """A folder on disk that holds one run.

    Args:
      path: the folder; it need not exist.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path).absolute()

    @property
    def results(self) -> Path:
        """Where the cube lies."""
        return self.path / "results.nc"

    def check_results(self) -> None:
        """Checks the bytes of the cube, for HDF5 can hang on a damaged file.

        Raises:
          ValueError: it is missing or damaged.
        """
        file = self.results
        if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != self.record().get("results"):
            raise RunFolderError(f"{str(file)!r} is missing or damaged. Run the experiment again with force=True.")

    def check(self, fingerprint: Mapping[str, Any]) -> bool:
        """Returns whether the folder holds the finished run of this experiment; False if there is nothing in it.

        Raises:
          ValueError: it is a file, or holds something else: another experiment's run, an unfinished run, other files.
        """
        if self.path.exists() and not self.path.is_dir():
            raise RunFolderError(f"`out` is {str(self.path)!r}, which is a file. Name a folder.")
        if not self.path.exists() or not any(self.path.iterdir()):
            return False
        record = self.record()
        found = differences(record["fingerprint"], json.loads(json.dumps(fingerprint, default=_plain)))
        if found:
            raise RunFolderError(
                f"`out` is {str(self.path)!r}, which holds the run of another experiment: they differ in {', '.join(found)}. "
                "Name another folder, or pass force=True to replace that run."
            )
        if not record["finished"]:
            raise RunFolderError(
                f"`out` is {str(self.path)!r}, which holds an unfinished run of this experiment, and unfinished runs cannot be continued. "
                "Name another folder, or pass force=True to start again."
            )
        return True

    def record(self) -> dict[str, Any]:
        """Returns what `run.json` says.

        Raises:
          ValueError: there is no run here, or one that this version cannot read.
        """
        file = self.path / "run.json"
        if not self.path.is_dir():
            raise RunFolderError(f"`path` is {str(self.path)!r}, where there is no folder. Pass the folder of a run.")
        if not file.is_file():
            raise RunFolderError(
                f"{str(self.path)!r} holds files but no run (there is no run.json). Name another folder."
            )
        try:
            record = json.loads(file.read_text())
            known = (
                record["format"] == FORMAT
                and isinstance(record["fingerprint"], dict)
                and isinstance(record["finished"], bool)
            )
        except (ValueError, KeyError, TypeError, RecursionError):
            known = False
        if not known:
            raise self._unreadable()
        return dict(record)

    def begin(self, fingerprint: Mapping[str, Any], circumstances: Mapping[str, Any]) -> None:
        """Makes the folder that of a run that has begun, replacing a run that it held.

        Raises:
          ValueError: it cannot be written to.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            left_over = [path for name in _OWN for path in self.path.glob(f".{name}-*")]
            for target in [*left_over, *(self.path / name for name in _OWN)]:
                shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
            self._write_record({"format": FORMAT, "finished": False, "fingerprint": fingerprint, **circumstances})
        except OSError as error:
            raise RunFolderError(
                f"`out` is {str(self.path)!r}, which cannot be written to: {error}. Name another folder."
            ) from error

    def finish(
        self, write_results: Callable[[Path], None], stacks: Sequence[tuple[PyTree, Sequence[tuple[int, int]]]]
    ) -> None:
        """Writes what a run came to.

        Args:
          write_results: writes the cube to a path.
          stacks: for each program its kept variables, each leaf with a leading axis of rows, and arm and seed of each row.
        """
        record = self.record()
        described = []
        with self._beside("variables") as place:
            place.mkdir()
            for i, (tree, trials) in enumerate(stacks):
                described.append(
                    {"trials": [list(map(int, t)) for t in trials], "leaves": _orbax.save(place / str(i), tree)}
                )
        with self._beside("results.nc") as place:
            write_results(place)
            digest = hashlib.sha256(place.read_bytes()).hexdigest()
        self._write_record({**record, "finished": True, "results": digest, "variables": described})

    def variables(self) -> list[tuple[Callable[[PyTree | None], PyTree], list[tuple[int, int]]]]:
        """Returns for each program a function that reads its variables, and arm and seed of each row.

        The function takes a tree of the right structure, or None for nested dicts.
        """

        def reader(i: int, leaves: Any) -> Callable[[PyTree | None], PyTree]:
            return lambda like: _orbax.load(self.path / "variables" / str(i), leaves, like)

        try:
            described = [
                (_orbax.described(d["leaves"]), [(int(a), int(s)) for a, s in d["trials"]])
                for d in self.record().get("variables", [])
            ]
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise self._unreadable() from error
        return [(reader(i, leaves), trials) for i, (leaves, trials) in enumerate(described)]

    def log(self, event: str, **facts: Any) -> None:
        """Appends a line to the log: the time in seconds since 1970, the event, and facts."""
        with (self.path / "log.jsonl").open("a") as file:
            file.write(json.dumps({"time": time.time(), "event": event, **facts}) + "\n")

    def _unreadable(self) -> RunFolderError:
        file = str(self.path / "run.json")
        return RunFolderError(f"{file!r} cannot be read as the record of a run (format {FORMAT}). Name another folder.")

    def _write_record(self, record: Mapping[str, Any]) -> None:
        with self._beside("run.json") as place:
            place.write_text(json.dumps(record, indent=1, default=_plain) + "\n")

    @contextlib.contextmanager
    def _beside(self, name: str) -> Any:
        """Yields a path beside `name`, and renames it into place once it is written and flushed."""
        scratch = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=self.path))
        try:
            yield scratch / name
            for file in [scratch / name, *(scratch / name).rglob("*")]:
                _flush(file)
            os.replace(scratch / name, self.path / name)
            _flush(self.path)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _plain(value: Any) -> Any:
    if isinstance(value, (np.generic, np.ndarray, jax.Array)):
        return value.tolist()
    return str(value)
