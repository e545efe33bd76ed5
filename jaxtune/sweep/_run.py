"""From an experiment to its result."""

import functools as ft
import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax

from jaxtune import _check
from jaxtune._errors import InputError, InputTypeError
from jaxtune._tree import size_bytes
from jaxtune.checkpoint import RunFolder, in_json
from jaxtune.results import Result
from jaxtune.sweep._experiment import Experiment
from jaxtune.sweep._gather import Keep
from jaxtune.sweep._identity import circumstances, fingerprint, recorded_layout
from jaxtune.sweep._in_folder import found_in, result_of, run_in_folder
from jaxtune.sweep._layout import layout_given
from jaxtune.sweep._load import read_result
from jaxtune.sweep._processes import Processes
from jaxtune.sweep._ray import Ray, connect
from jaxtune.sweep._streaming import placed
from jaxtune.sweep._train import Notes, train
from jaxtune.sweep.lanes._devices import lane_devices
from jaxtune.sweep.lanes._memory import kept_bytes, memory_budget, predict_memory
from jaxtune.sweep.programs._programs import Convolution, LayoutOf, build


def run(
    experiment: Experiment,
    *,
    out: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    keep: Keep = "all",
    force: bool = False,
    save_every: float = 30.0,
    chunk: tuple[int, int] | Literal["measure"] | None = None,
    convolution: Convolution | None = None,
    memory: int | None = None,
    devices: Sequence[jax.Device] | None = None,
    cluster: Ray | None = None,
) -> Result:
    """Trains every arm with every seed, and returns the result.

    Args:
      experiment: the experiment.
      out: a folder for the run; None keeps it in memory. A folder that holds the finished run of this experiment
        returns its result; an unfinished one is continued from its last checkpoint, and ends with the bits of a run that was
        never interrupted. The finished run of a part of it, with fewer seeds or fewer values on its axes, is extended: the
        trials that it has are not trained again.
      progress: whether to draw a progress bar; None draws one where standard error is a terminal.
      keep: of which trials the variables stay: `"all"`, `"best"` (of the arm with the best validation accuracy, or else
        loss), or None.
      force: whether to replace a run that `out` holds, this one or another, finished or not.
      save_every: seconds between checkpoints of a run in a folder, at least 0, which are made after evaluations;
        infinity makes none. On SIGINT (Ctrl-C)
        and SIGTERM it makes one more and raises KeyboardInterrupt; a second SIGINT ends at once.
      chunk: (arms, seeds) that run together, in place of the default. It changes bits. `"measure"` compiles and times
        some shapes, and takes the fastest; a folder remembers which that was.
      convolution: `"patches"` computes convolutions as patches times a matrix, the default on CPUs; `"native"` by XLA's
        own operation, the default elsewhere.
      memory: bytes that the run may hold, apart from what is compiled; None is half of what is free, and where several
        processes run together, of what the one with the least has free. It decides how many trials run at once, which
        changes no bit, and whether training examples are streamed: they are where the data takes more than a quarter of
        it, so that all trials see the same batches, and a warning says so; see `jt.data.Stream`.
      devices: where to run; None takes all devices of JAX's default backend. On CPUs it changes no bit.
      cluster: a `jt.Ray(...)` trains the programs side by side on a cluster; this process then only collects what they come to.
        None trains here, together with all processes that have joined by `jax.distributed.initialize`.

    Raises:
      ValueError, TypeError: bad input, before anything compiles.
    """
    if keep not in ("all", "best", None):
        raise InputError("keep", keep, "there is no such choice", "Pass 'all', 'best' or None.")
    if not isinstance(experiment, Experiment):
        raise InputTypeError(
            "experiment",
            type(experiment).__name__,
            "it is no jt.Experiment",
            "Pass jt.Experiment(recipe, space, data, steps=...).",
        )
    _check.number("save_every", save_every, low=0.0, infinity="saves when interrupted alone")
    if devices is not None and not (isinstance(devices, Sequence) and all(isinstance(d, jax.Device) for d in devices)):
        raise InputTypeError("devices", devices, "it is no sequence of devices", "Pass jax.devices(), say, or None.")
    where = lane_devices() if devices is None else list(devices)
    if not where:
        raise InputError("devices", devices, "there is none", "Pass jax.devices(), say, or None.")
    if {d.platform for d in where} != {jax.default_backend()}:
        reason = f"programs are made for JAX's default backend, which is {jax.default_backend()}"
        raise InputError("devices", devices, reason, "Choose the backend with JAX_PLATFORMS.")
    processes = Processes()
    if processes.count > 1:
        _check_processes(processes, out, chunk)
    if cluster is not None:
        _check_cluster(cluster, out, processes)
    folder = None if out is None else RunFolder(out, "out")
    if folder is not None:
        _look(folder)
    budget = processes.least(memory_budget(where)) if memory is None else _check.count("memory", memory)
    earlier = None if folder is None or force or not (folder.path / "run.json").is_file() else folder.record()
    experiment = placed(experiment, budget, None if earlier is None else earlier["fingerprint"])
    built = build(experiment, _layout(experiment, earlier, chunk, convolution, where))
    holds = ft.partial(
        predict_memory,
        seeds=len(experiment.seed_values),
        table=size_bytes(built.table),
        devices=where,
        budget=budget,
        kept=kept_bytes(built.programs, len(experiment.seed_values)) if keep is not None else 0,
    )
    identity = {} if folder is None else fingerprint(experiment, built)
    if folder is not None and not force and found_in(folder, identity, keep) == "finished":
        folder.tidy()
        return read_result(folder, experiment, built)
    for program in built.programs:
        holds(program).check(program.shape)
    job = ft.partial(train, experiment, built, where, holds, keep is not None, progress)
    if folder is None:
        return result_of(experiment, built, *job(Notes()), keep, None)
    circumstances_now = {"chunk": chunk, **circumstances(experiment, where)}
    return run_in_folder(folder, experiment, built, job, identity, circumstances_now, keep, force, save_every, cluster)


def _layout(
    experiment: Experiment,
    earlier: Mapping[str, Any] | None,
    chunk: tuple[int, int] | Literal["measure"] | None,
    convolution: Convolution | None,
    devices: Sequence[jax.Device],
) -> LayoutOf:
    """Returns the layout of every program, that of an earlier run in the folder if it was measured, or a lack of memory's."""
    # On accelerators the default follows from the number of trials and devices, which may have grown.
    stays = earlier is not None and (earlier.get("reshaped") or jax.default_backend() != "cpu")
    same = earlier is not None and earlier.get("chunk") == in_json(chunk)
    if earlier is not None and (chunk == "measure" or (stays and (chunk is None or same))):
        layout_given(experiment, None, convolution, devices)  # for its checks
        recorded = recorded_layout(earlier["fingerprint"])
        if convolution is None:
            return recorded
        return lambda static: recorded(static)._replace(convolution=convolution)
    return layout_given(experiment, chunk, convolution, devices)


def _look(folder: RunFolder) -> None:
    """Refuses a path that can never become a run folder, before any work is done."""
    if folder.path.exists() and (not folder.path.is_dir() or not folder.is_empty):
        if not folder.path.is_dir():
            folder.check({})
        folder.record()


def _check_processes(processes: Processes, out: Any, chunk: Any) -> None:
    """Refuses what several processes cannot do together."""
    if out is None:
        reason = f"{processes.count} processes put their results together in a folder"
        raise InputError("out", None, reason, "Pass a folder that all of them see.")
    if chunk == "measure":
        reason = f"{processes.count} processes would not measure the same"
        raise InputError("chunk", chunk, reason, "Pass (arms, seeds), or None.")


def _check_cluster(cluster: Any, out: Any, processes: Processes) -> None:
    """Refuses a cluster that cannot be used."""
    if not isinstance(cluster, Ray):
        raise InputTypeError("cluster", type(cluster).__name__, "it is no cluster", "Pass jt.Ray(), or None.")
    if out is None:
        raise InputError("out", None, "the workers of a cluster meet in a folder", "Pass one that all of them see.")
    if processes.count > 1:
        reason = f"{processes.count} processes run together, and each would give all programs to it"
        raise InputError("cluster", cluster, reason, "Start one process, without jax.distributed.initialize.")
    connect()
