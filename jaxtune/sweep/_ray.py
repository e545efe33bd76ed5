"""Programs spread over a cluster by Ray; the only file that imports it."""

import contextlib
import dataclasses
import functools as ft
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from jaxtune import _check
from jaxtune._errors import InputError, JaxtuneError, RunFolderError
from jaxtune._tree import size_bytes
from jaxtune.checkpoint import RunFolder, Saver
from jaxtune.sweep._experiment import Experiment
from jaxtune.sweep._journal import Journal
from jaxtune.sweep._train import Notes, train
from jaxtune.sweep.lanes._memory import memory_budget, predict_memory
from jaxtune.sweep.programs._programs import Built, Layout, build, same_for_all

_POLL = 0.5
"""Seconds between two looks for Ctrl-C."""

_GRACE = 60.0
"""Seconds that tasks have to save where they stand when the run is to end."""


@dataclasses.dataclass(frozen=True)
class Ray:
    """A cluster of Ray that trains the programs of a run, one a task: `jt.run(experiment, out=..., cluster=jt.Ray())`.

    Call `ray.init` before, or `ray.init()` is called: it connects to the cluster that `RAY_ADDRESS` names, or else starts one
    on this machine. All its machines have to see the folder of the run. The extra `jaxtune[ray]` installs it.

    Attributes:
      cpus: cores of a task, which are its CPU devices; at least 1.
      gpus: GPUs of a task; at least 0.
      retries: how often a task whose worker has died is begun again, from its last checkpoint; at least 0. After that its
        program has failed.
    """

    cpus: int = 1
    gpus: int = 0
    retries: int = 3

    def __post_init__(self) -> None:
        _check.count("cpus", self.cpus)
        _check.count("gpus", self.gpus, low=0)
        _check.count("retries", self.retries, low=0)


def connect() -> None:
    """Connects to Ray, before signals are listened to, for it listens, too.

    Raises:
      ValueError: it is not.
    """
    ray = _ray()
    if not ray.is_initialized():
        ray.init()


def train_on_ray(
    cluster: Ray,
    folder: RunFolder,
    experiment: Experiment,
    built: Built,
    variables: bool,
    save_every: float,
    asked: Callable[[], bool],
) -> dict[int, str]:
    """Trains all programs of a run, each of which saves how it has ended; returns the tracebacks of those that could not.

    Args:
      cluster: what each gets.
      folder: the folder of the run, which all machines see.
      experiment: the experiment.
      built: its programs.
      variables: whether variables are kept.
      save_every: seconds between the checkpoints of a program.
      asked: says whether the run has been asked to end.

    Raises:
      ValueError: bad input that only a worker has found.
      KeyboardInterrupt: the run has been asked to end.
    """
    ray = _ray()
    _flag(folder).unlink(missing_ok=True)
    experiment = dataclasses.replace(experiment, steps=built.steps, epochs=None, eval_every=built.eval_every)
    shared = ray.put(experiment)
    task = ray.remote(_task).options(num_cpus=cluster.cpus, num_gpus=cluster.gpus, max_retries=cluster.retries)
    under_way = {
        task.remote(shared, str(folder.path), p.number, Layout(p.shape, p.convolution), cluster.cpus, variables, save_every): p
        for p in built.programs
    }  # fmt: skip
    traces: dict[int, str] = {}
    try:
        while under_way:
            if asked():
                raise KeyboardInterrupt
            ended, _ = ray.wait(list(under_way), timeout=_POLL)
            for reference in ended:
                program = under_way.pop(reference)
                try:
                    ray.get(reference)
                except ray.exceptions.RayTaskError as error:
                    if isinstance(error.cause, JaxtuneError):
                        raise error.cause from error
                    traces[program.number] = str(error)
                except ray.exceptions.RayError as error:  # its worker has died too often, say
                    traces[program.number] = f"{type(error).__name__}: {error}"
    finally:  # nobody writes to the folder any more when its lock is given back
        _end(ray, list(under_way), folder)
    return traces


def _end(ray: Any, under_way: list[Any], folder: RunFolder) -> None:
    """Has tasks save where they stand, and ends those that take too long."""
    if not under_way:
        return
    flag = _flag(folder)
    flag.touch()
    _, late = ray.wait(under_way, num_returns=len(under_way), timeout=_GRACE)
    for reference in late:
        ray.cancel(reference, force=True)
    ray.wait(late, num_returns=len(late), timeout=_GRACE) if late else None
    flag.unlink(missing_ok=True)


def _flag(folder: RunFolder) -> Path:
    """Returns the file that asks tasks to end: signals do not reach them all."""
    return folder.path / "checkpoints" / "end"


def _task(
    experiment: Experiment,
    path: str,
    number: int,
    layout: Layout,
    cpus: int,
    variables: bool,
    save_every: float,
) -> None:
    """Trains one program, on a worker."""
    with contextlib.suppress(RuntimeError):  # a worker that has run another task has its devices
        jax.config.update("jax_num_cpu_devices", cpus)
    folder, devices = RunFolder(path), jax.local_devices()
    built = build(experiment, same_for_all(layout), only=number)
    if built.failures:
        raise RuntimeError(built.failures[0].trace)
    (program,) = built.programs
    if program.identity not in [p["text"] for p in folder.record()["fingerprint"]["programs"]]:
        message = (
            f"a worker makes another program of {program.static or 'the recipe'} than the one that has begun the run"
        )
        raise RunFolderError(f"{message}. Have the same versions and devices everywhere.")
    holds = ft.partial(
        predict_memory,
        seeds=len(experiment.seed_values),
        table=size_bytes(built.table),
        devices=devices,
        budget=memory_budget(devices),
        kept=0,
    )
    saver = Saver(folder.checkpoints(number), save_every)
    newest = folder.checkpoints(number).newest()
    own = (newest or {}).get("programs", {}).get(str(number))  # what others had there is in their own by now
    journal = Journal(saver, _flag(folder).exists, None if own is None else {"programs": {str(number): own}})
    if own is not None:
        folder.log("program resumed", number=number)
    try:
        _, failures = train(
            experiment, built, devices, holds, variables, False, Notes(journal, folder.log, reshaped=None)
        )
        journal.end({failure.number: failure.trace for failure in failures})
    finally:
        saver.close()


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        reason = "it is a cluster of Ray, which is not installed"
        raise InputError("cluster", "jt.Ray(...)", reason, "Install it: pip install 'jaxtune[ray]'.") from error
    return ray
