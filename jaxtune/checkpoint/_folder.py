"""The folder of a run.

```
run.json      what was run (the fingerprint), where, with which versions, and whether it has finished
results.nc    the cube, NetCDF
checkpoints/  where a run under way stands, a folder for each process; gone when it has finished
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
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from jaxtune._errors import InputTypeError, JaxtuneError, RunFolderError, first_line
from jaxtune._types import PyTree
from jaxtune.checkpoint import _orbax
from jaxtune.checkpoint._atomic import beside
from jaxtune.checkpoint._checkpoints import Checkpoints
from jaxtune.checkpoint._fingerprint import differences
from jaxtune.checkpoint._lock import NAME as LOCK, locked

FORMAT = 3
_OWN = ("run.json", "results.nc", "variables", "checkpoints", "log.jsonl")


class RunFolder:
    """A folder on disk that holds one run.

    Args:
      path: the folder; it need not exist.
      name: what the caller calls it.
    """

    def __init__(self, path: str | os.PathLike[str], name: str = "path"):
        if not isinstance(path, (str, os.PathLike)):
            raise InputTypeError(name, path, "it is no path of a folder", "Pass a text or a pathlib.Path.")
        self._name = name
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

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing there but perhaps a lock, or what never became a file."""
        scratch = tuple(f".{name}-" for name in _OWN)  # of a process that was killed as it began
        return not self.path.exists() or all(p.name == LOCK or p.name.startswith(scratch) for p in self.path.iterdir())

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Returns the lock of the folder, to be held while something is written there."""
        return locked(self.path)

    def checkpoints(self, process: int = 0) -> Checkpoints:
        """Where the trials of a process stand."""
        return Checkpoints(self._checkpoints / str(process))

    @property
    def _checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def check(self, fingerprint: Mapping[str, Any]) -> Literal["empty", "unfinished", "finished"]:
        """Returns what the folder holds of this experiment.

        Raises:
          ValueError: it is a file, or holds something else: another experiment's run, other files.
        """
        if self.path.exists() and not self.path.is_dir():
            raise RunFolderError(f"`out` is {str(self.path)!r}, which is a file. Name a folder.")
        if self.is_empty:
            return "empty"
        record = self.record()
        found = differences(record["fingerprint"], in_json(fingerprint))
        if found:
            raise RunFolderError(
                f"`out` is {str(self.path)!r}, which holds the run of another experiment: they differ in {', '.join(found)}. "
                "Name another folder, or pass force=True to replace that run."
            )
        return "finished" if record["finished"] else "unfinished"

    def record(self) -> dict[str, Any]:
        """Returns what `run.json` says.

        Raises:
          ValueError: there is no run here, or one that this version cannot read.
        """
        file = self.path / "run.json"
        self._refuse_links()
        if not self.path.is_dir():
            raise RunFolderError(f"`path` is {str(self.path)!r}, where there is no folder. Pass the folder of a run.")
        if not file.is_file():
            raise RunFolderError(
                f"`{self._name}` is {str(self.path)!r}: it holds files but no run (there is no run.json). Name another folder."
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

    def _refuse_links(self) -> None:
        """Refuses links in what is the run's own, which may lead anywhere."""
        for name in (*_OWN, LOCK):
            own = self.path / name
            below = [Path(at) / found for at, folders, files in os.walk(own) for found in (*folders, *files)]
            for place in (own, *below):
                if place.is_symlink():
                    message = f"{str(place)!r} is a link, which jaxtune does not follow"
                    raise RunFolderError(f"{message}. Name another folder, or remove it.")

    def begin(self, fingerprint: Mapping[str, Any], circumstances: Mapping[str, Any]) -> None:
        """Makes the folder that of a run that has begun, replacing a run that it held.

        Raises:
          ValueError: it cannot be written to.
        """
        with self._writing():
            self.path.mkdir(parents=True, exist_ok=True)
            self._refuse_links()
            # The record last: a run that is killed here is still one, though its results are missing.
            for target in [*self._left_over(), *(self.path / name for name in reversed(_OWN) if name != "run.json")]:
                shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
            self._write_record({"format": FORMAT, "finished": False, "fingerprint": fingerprint, **circumstances})

    def extend(self, standing: PyTree, changes: Mapping[str, Any]) -> None:
        """Makes a finished run an unfinished one of a larger experiment, in which its trials have ended.

        Args:
          standing: the checkpoint that says so.
          changes: what `run.json` is to say in place of what it says: the fingerprint, and the circumstances.

        Raises:
          ValueError: it cannot be written to.
        """
        with self._writing():
            record = self.record()
            shutil.rmtree(self._checkpoints, ignore_errors=True)
            self._checkpoints.mkdir()
            self.checkpoints().save(standing)
            self._write_record({**record, "finished": False, "variables": [], "results": None, **changes})
            self.results.unlink(missing_ok=True)

    def amend(self, changes: Mapping[str, Any]) -> None:
        """Has `run.json` say something in place of what it says.

        Raises:
          ValueError: it cannot be written to.
        """
        with self._writing():
            self._write_record({**self.record(), **changes})

    def clear(self) -> None:
        """Removes what a killed process has left: half-written files, and checkpoints of a run that has finished.

        Raises:
          ValueError: it cannot be written to.
        """
        with self._writing():
            for target in self._left_over():
                shutil.rmtree(target, ignore_errors=True)
            if self.record()["finished"]:
                shutil.rmtree(self._checkpoints, ignore_errors=True)
            else:
                self._checkpoints.mkdir(exist_ok=True)

    def tidy(self) -> None:
        """Removes what a process has left that was killed as a run had just finished, unless another is at work there."""
        if self._checkpoints.is_dir():
            with contextlib.suppress(JaxtuneError), self.locked():
                self.clear()

    @property
    def processes(self) -> set[int]:
        """The numbers of processes that have a folder for checkpoints."""
        places = self._checkpoints.iterdir() if self._checkpoints.is_dir() else []
        return {int(place.name) for place in places if place.name.isdecimal()}

    def stood(self) -> dict[int, PyTree]:
        """Returns the newest checkpoint that is whole of each process that has one, by their numbers."""
        found = {number: self.checkpoints(number).newest() for number in sorted(self.processes)}
        return {number: tree for number, tree in found.items() if tree is not None}

    def replace_checkpoints(self, trees: Mapping[int, PyTree], processes: Collection[int]) -> None:
        """Saves a checkpoint for each of some processes, and then removes those of processes that there are no more.

        Args:
          trees: the checkpoints, by the numbers of processes.
          processes: the numbers of those that there are.

        Raises:
          ValueError: it cannot be written to.
        """
        with self._writing():
            for number, tree in trees.items():
                self.checkpoints(number).save(tree)
            for number in self.processes - set(processes):
                shutil.rmtree(self.checkpoints(number).path, ignore_errors=True)

    def _left_over(self) -> list[Path]:
        scratch = [path for name in _OWN for path in self.path.glob(f".{name}-*")]
        return [*scratch, *self._checkpoints.glob("*/.*-*")]

    def finish(
        self, write_results: Callable[[Path], None], stacks: Sequence[tuple[PyTree, Sequence[tuple[int, int]]]]
    ) -> None:
        """Writes what a run came to.

        Args:
          write_results: writes the cube to a path.
          stacks: for each program its kept variables, each leaf with a leading axis of rows, and arm and seed of each row.

        Raises:
          ValueError: it cannot be written to.
        """
        with self._writing():
            self._finish(write_results, stacks)

    def _finish(
        self, write_results: Callable[[Path], None], stacks: Sequence[tuple[PyTree, Sequence[tuple[int, int]]]]
    ) -> None:
        record = self.record()
        described = []
        shutil.rmtree(self.path / "variables", ignore_errors=True)  # of an end that was cut off
        with beside(self.path, "variables") as place:
            place.mkdir()
            for i, (tree, trials) in enumerate(stacks):
                described.append(
                    {"trials": [list(map(int, t)) for t in trials], "leaves": _orbax.save(place / str(i), tree)}
                )
        with beside(self.path, "results.nc") as place:
            write_results(place)
            digest = hashlib.sha256(place.read_bytes()).hexdigest()
        self._write_record({**record, "finished": True, "results": digest, "variables": described})
        shutil.rmtree(self._checkpoints, ignore_errors=True)

    def variables(self) -> list[tuple[Callable[[PyTree | None], PyTree], list[tuple[int, int]]]]:
        """Returns for each program a function that reads its variables, and arm and seed of each row.

        The function takes a tree of the right structure, or None for nested dicts.
        """

        def reader(i: int, leaves: Any) -> Callable[[PyTree | None], PyTree]:
            def read(like: PyTree | None) -> PyTree:
                place = self.path / "variables" / str(i)
                try:
                    return _orbax.load(place, leaves, like)
                except Exception as error:  # Orbax and its storage raise what comes
                    what = f"{str(place)!r} is missing or damaged ({type(error).__name__}: {first_line(error)})"
                    cure = "Load the run again if it has been extended or replaced meanwhile, or else train it again with force=True."
                    raise RunFolderError(f"{what}. {cure}") from error

            return read

        try:
            described = [
                (_orbax.described(d["leaves"]), [(int(a), int(s)) for a, s in d["trials"]])
                for d in self.record().get("variables", [])
            ]
            for leaves, trials in described:
                if min(map(min, trials), default=0) < 0 or any(d["shape"][:1] != (len(trials),) for d in leaves):
                    raise ValueError("rows and trials do not agree")
        except (ValueError, KeyError, TypeError, IndexError, OverflowError) as error:
            raise self._unreadable() from error
        return [(reader(i, leaves), trials) for i, (leaves, trials) in enumerate(described)]

    def log(self, event: str, **facts: Any) -> None:
        """Appends a line to the log: the time in seconds since 1970, the event, and facts.

        Raises:
          ValueError: it cannot be written to.
        """
        with self._writing(), (self.path / "log.jsonl").open("a") as file:
            file.write(json.dumps({"time": time.time(), "event": event, **facts}) + "\n")

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Turns what the disk refuses into an error that says so."""
        try:
            yield
        except JaxtuneError as error:
            if self.path.is_dir():
                raise
            raise RunFolderError(
                f"`out` is {str(self.path)!r}, which cannot be written to: it has been removed. Run again."
            ) from error
        except Exception as error:  # Orbax and its storage raise what comes
            raise RunFolderError(
                f"`out` is {str(self.path)!r}, which cannot be written to: {error}. What was saved there is as it was. "
                "Make room, or name another folder, and run again."
            ) from error

    def _unreadable(self) -> RunFolderError:
        file = str(self.path / "run.json")
        return RunFolderError(f"{file!r} cannot be read as the record of a run (format {FORMAT}). Name another folder.")

    def _write_record(self, record: Mapping[str, Any]) -> None:
        with beside(self.path, "run.json") as place:
            place.write_text(json.dumps(record, indent=1, default=_plain) + "\n")


def in_json(value: Any) -> Any:
    """Returns a value as it comes back from JSON."""
    return json.loads(json.dumps(value, default=_plain))


def _plain(value: Any) -> Any:
    if isinstance(value, (np.generic, np.ndarray, jax.Array)):
        return value.tolist()
    return str(value)
