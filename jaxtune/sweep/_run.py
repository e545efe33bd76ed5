"""From an experiment to its result."""

import functools as ft
import os
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import Literal

import jax

from jaxtune import _check
from jaxtune._errors import InputError, InputTypeError
from jaxtune._tree import size_bytes
from jaxtune.checkpoint import RunFolder
from jaxtune.results import KeptVariables, Result, Variables
from jaxtune.results._dataset import write_dataset
from jaxtune.results._variables import places
from jaxtune.sweep._experiment import Experiment
from jaxtune.sweep._gather import Keep, gather, kept_variables
from jaxtune.sweep._identity import circumstances, fingerprint, recorded_layout
from jaxtune.sweep._layout import layout_given
from jaxtune.sweep._load import predictor, read_result
from jaxtune.sweep._progress import progress_bar
from jaxtune.sweep.lanes._compile import compile_program
from jaxtune.sweep.lanes._devices import lane_devices
from jaxtune.sweep.lanes._execute import Outcome, run_program
from jaxtune.sweep.lanes._memory import Memory, kept_bytes, memory_budget, predict_memory
from jaxtune.sweep.programs._programs import Built, Convolution, Failure, LayoutOf, Program, build
from jaxtune.training._facts import evaluation_steps


def run(
    experiment: Experiment,
    *,
    out: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    keep: Keep = "all",
    force: bool = False,
    chunk: tuple[int, int] | Literal["measure"] | None = None,
    convolution: Convolution | None = None,
    memory: int | None = None,
    devices: Sequence[jax.Device] | None = None,
) -> Result:
    """Trains every arm with every seed, and returns the result.

    Args:
      experiment: the experiment.
      out: a folder for the run; None keeps it in memory. A folder that holds the finished run of this experiment
        returns its result.
      progress: whether to draw a progress bar; None draws one where standard error is a terminal.
      keep: of which trials the variables stay: `"all"`, `"best"` (of the arm with the best validation accuracy, or else
        loss), or None.
      force: whether to replace another run that `out` holds.
      chunk: (arms, seeds) that run together, in place of the default. It changes bits. `"measure"` compiles and times
        some shapes, and takes the fastest; a folder remembers which that was.
      convolution: `"patches"` computes convolutions as patches times a matrix, the default on CPUs; `"native"` by XLA's
        own operation, the default elsewhere.
      memory: bytes that the run may hold; None is half of what is free. It decides how many trials run at once, which
        changes no bit.
      devices: where to run; None takes all devices of JAX's default backend. On CPUs it changes no bit.

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
    where = lane_devices() if devices is None else list(devices)
    if not where:
        raise InputError("devices", devices, "there is none", "Pass jax.devices(), say, or None.")
    if {d.platform for d in where} != {jax.default_backend()}:
        reason = f"programs are made for JAX's default backend, which is {jax.default_backend()}"
        raise InputError("devices", devices, reason, "Choose the backend with JAX_PLATFORMS.")
    folder = None if out is None else RunFolder(out)
    if folder is not None:
        _look(folder)
    built = build(experiment, _layout(experiment, None if force else folder, chunk, convolution, where))
    budget = memory_budget(where) if memory is None else _check.count("memory", memory)
    holds = ft.partial(
        predict_memory,
        seeds=len(experiment.seed_values),
        data=size_bytes(built.table),
        devices=len(where),
        budget=budget,
        kept=kept_bytes(built.programs, len(experiment.seed_values)) if keep is not None else 0,
    )
    identity = {} if folder is None else fingerprint(experiment, built)
    if folder is not None and not force and folder.check(identity):
        _check_keep(folder, keep)
        return read_result(folder, experiment, built)
    for program in built.programs:
        holds(program).check(program.shape)
    if folder is not None:
        folder.begin(identity, {"keep": keep, **circumstances(where)})

    began = time.perf_counter()
    outcomes, failures = _train(experiment, built, where, holds, keep is not None, progress, _logger(folder))
    for failure in failures:
        settings = ", ".join(f"{k}={v}" for k, v in failure.static.items()) or "all arms"
        reason = failure.trace.strip().splitlines()[-1]
        warnings.warn(f"the program of {settings} failed: {reason}. See result.failures.", RuntimeWarning, stacklevel=2)
    dataset = gather(experiment, built, outcomes, failures)
    stacks = kept_variables(experiment, dataset, outcomes, keep)
    if folder is not None:
        folder.finish(lambda path: write_dataset(dataset, path), stacks)
        folder.log("finished", seconds=time.perf_counter() - began)
    place = places((len(experiment.space), len(experiment.seed_values)), [s.trials for s in stacks])
    variables = KeptVariables(place, [ft.partial(Variables, *s.tree) for s in stacks])
    return Result(dataset, variables, predictor(experiment, built))


def _layout(
    experiment: Experiment,
    folder: RunFolder | None,
    chunk: tuple[int, int] | Literal["measure"] | None,
    convolution: Convolution | None,
    devices: Sequence[jax.Device],
) -> LayoutOf:
    """Returns the layout of every program; what an earlier run in the folder has measured is not measured again."""
    if chunk == "measure" and folder is not None and (folder.path / "run.json").is_file():
        layout_given(experiment, None, convolution, devices)  # for its checks
        recorded = recorded_layout(folder.record()["fingerprint"])
        if convolution is None:
            return recorded
        return lambda static: recorded(static)._replace(convolution=convolution)
    return layout_given(experiment, chunk, convolution, devices)


def _check_keep(folder: RunFolder, keep: Keep) -> None:
    """Refuses a finished run that has kept fewer variables than are asked for."""
    kept = folder.record().get("keep", "all")
    ranks = {None: 0, "best": 1, "all": 2}
    if ranks.get(kept, 2) < ranks[keep]:
        reason = f"the finished run in {str(folder.path)!r} was made with keep={kept!r}"
        raise InputError("keep", keep, reason, f"Pass keep={kept!r}, or force=True to train again.")


def _look(folder: RunFolder) -> None:
    """Refuses a path that can never become a run folder, before any work is done."""
    if folder.path.exists() and (not folder.path.is_dir() or any(folder.path.iterdir())):
        if not folder.path.is_dir():
            folder.check({})
        folder.record()


def _train(
    experiment: Experiment,
    built: Built,
    devices: Sequence[jax.Device],
    holds: Callable[[Program], Memory],
    variables: bool,
    progress: bool | None,
    log: Callable[..., None],
) -> tuple[list[tuple[Program, Outcome]], list[Failure]]:
    """Returns the outcomes of the programs that ran, and all failures."""
    trials = sum(len(p.arms) for p in built.programs) * len(experiment.seed_values)
    ends = evaluation_steps(built.steps, built.eval_every)
    outcomes, failures = [], list(built.failures)
    with progress_bar(trials * built.steps, trials, progress) as report:
        for program in built.programs:
            try:
                began = time.perf_counter()
                memory = holds(program)
                compiled = compile_program(program, built.table, devices[: memory.devices])
                log("compiled", static=program.static, seconds=time.perf_counter() - began)
                began = time.perf_counter()
                outcome = run_program(program, experiment, compiled, ends, variables, report, memory.at_once)
                outcomes.append((program, outcome))
                log(
                    "trained",
                    static=program.static,
                    trials=len(program.arms) * len(experiment.seed_values),
                    at_once=memory.at_once,
                    segments=outcome.segments,
                    seconds=time.perf_counter() - began,
                )
            except Exception:
                failures.append(Failure(program.static, program.arms, traceback.format_exc()))
                log("failed", static=program.static)
    return outcomes, failures


def _logger(folder: RunFolder | None) -> Callable[..., None]:
    return (lambda event, **facts: None) if folder is None else folder.log
