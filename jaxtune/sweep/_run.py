"""From an experiment to its result."""

import functools as ft
import os
import platform
import time
import traceback
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Any, Literal

import jax
import numpy as np

from jaxtune._errors import InputError, RunFolderError
from jaxtune.checkpoint import RunFolder, data_hash, text_hash
from jaxtune.results import KeptVariables, Result, Variables
from jaxtune.results._dataset import make_dataset, read_dataset, write_dataset
from jaxtune.results._tables import best
from jaxtune.sweep._devices import lane_devices
from jaxtune.sweep._execute import Outcome, compile_program, run_program
from jaxtune.sweep._experiment import Experiment
from jaxtune.sweep._plan import chunk_shape
from jaxtune.sweep._programs import Built, Failure, Program, build, devices_worth_using
from jaxtune.sweep._progress import progress_bar
from jaxtune.training import NOT_FINITE, STATUSES, Status
from jaxtune.training._train import evaluation_steps

Keep = Literal["all", "best"] | None
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def run(
    experiment: Experiment,
    *,
    out: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    keep: Keep = "all",
    force: bool = False,
    chunk: tuple[int, int] | None = None,
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
      chunk: (arms, seeds) that run together, in place of the default. It changes bits.
      devices: where to run; None takes all devices of JAX's default backend. On CPUs it changes no bit.

    Raises:
      ValueError, TypeError: bad input, before anything compiles.
    """
    if keep not in ("all", "best", None):
        raise InputError("keep", keep, "there is no such choice", "Pass 'all', 'best' or None.")
    if not isinstance(experiment, Experiment):
        raise InputError(
            "experiment",
            type(experiment).__name__,
            "it is no jt.Experiment",
            "Pass jt.Experiment(recipe, space, data, steps=...).",
        )
    where = lane_devices() if devices is None else list(devices)
    if not where:
        raise InputError("devices", devices, "there is none", "Pass jax.devices(), say, or None.")
    folder = None if out is None else RunFolder(out)
    if folder is not None:
        _look(folder)
    built = build(experiment, chunk_shape(chunk))
    if folder is not None:
        fingerprint = _fingerprint(experiment, built)
        if not force and folder.check(fingerprint):
            return _loaded(folder, experiment, built)
        folder.begin(fingerprint, _circumstances(where))

    began = time.perf_counter()

    def devices_for(program: Program) -> Sequence[jax.Device]:
        return (
            where if devices is not None else where[: devices_worth_using(program, experiment, built.steps, len(where))]
        )

    outcomes, failures = _train(experiment, built, devices_for, keep is not None, progress, _logger(folder))
    dataset = _dataset(experiment, built, outcomes, failures)
    stacks = _kept(experiment, dataset, outcomes, keep)
    if folder is not None:
        folder.finish(lambda path: write_dataset(dataset, path), [(tree, trials) for tree, trials, _ in stacks])
        folder.log("finished", seconds=time.perf_counter() - began)
    trials = [trials for _, trials, _ in stacks]
    variables = KeptVariables(_places(experiment, trials), [ft.partial(Variables, *tree) for tree, _, _ in stacks])
    return Result(dataset, variables, _predictor(experiment, built))


def load(path: str | os.PathLike[str], experiment: Experiment | None = None) -> Result:
    """Returns the result of a finished run from its folder.

    Args:
      path: the folder.
      experiment: the experiment that was run. A folder holds data and no code, so without it `predict` is not possible,
        and containers other than dicts in variables come back as dicts.

    Raises:
      ValueError: no finished run there, or the run of another experiment.
    """
    folder = RunFolder(path)
    record = folder.record()
    if not record["finished"]:
        raise RunFolderError(f"{str(folder.path)!r} holds an unfinished run. Run the experiment again with force=True.")
    if experiment is None:
        return _loaded(folder, None, None)
    lane_devices()
    shapes = {tuple(p["chunk"]) for p in record["fingerprint"]["programs"]}
    built = build(experiment, chunk_shape(shapes.pop()) if len(shapes) == 1 else None)
    folder.check(_fingerprint(experiment, built))
    return _loaded(folder, experiment, built)


def _look(folder: RunFolder) -> None:
    """Refuses a path that can never become a run folder, before any work is done."""
    if folder.path.exists() and (not folder.path.is_dir() or any(folder.path.iterdir())):
        if not folder.path.is_dir():
            folder.check({})
        folder.record()


def _train(
    experiment: Experiment,
    built: Built,
    devices_for: Callable[[Program], Sequence[jax.Device]],
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
                compiled = compile_program(program, experiment, built.table, devices_for(program))
                log("compiled", static=program.static, seconds=time.perf_counter() - began)
                began = time.perf_counter()
                outcomes.append((program, run_program(program, experiment, compiled, ends, variables, report)))
                log(
                    "trained",
                    static=program.static,
                    trials=len(program.arms) * len(experiment.seed_values),
                    seconds=time.perf_counter() - began,
                )
            except Exception:
                failures.append(Failure(program.static, program.arms, traceback.format_exc()))
                log("failed", static=program.static)
    return outcomes, failures


def _logger(folder: RunFolder | None) -> Callable[..., None]:
    return (lambda event, **facts: None) if folder is None else folder.log


def _dataset(
    experiment: Experiment, built: Built, outcomes: list[tuple[Program, Outcome]], failures: list[Failure]
) -> Any:
    """Returns the cube of all programs."""
    n_arms, n_seeds = len(experiment.space), len(experiment.seed_values)
    steps = evaluation_steps(built.steps, built.eval_every)
    curves: dict[str, np.ndarray] = {}
    finals: dict[str, np.ndarray] = {}
    status = np.full((n_arms, n_seeds), Status.FAILED)
    best_step, first_bad, what = (np.zeros((n_arms, n_seeds), np.int64) for _ in range(3))
    modes: dict[str, Any] = {}
    for program, outcome in outcomes:
        arms = list(program.arms)
        modes |= program.probe.modes
        for name, values in outcome.curves.items():
            curves.setdefault(name, np.full((n_arms, n_seeds, len(steps)), np.nan, np.float32))[arms] = values
        for name, values in outcome.finals.items():
            finals.setdefault(name, np.full((n_arms, n_seeds), np.nan, np.float32))[arms] = values
        status[arms], what[arms] = outcome.status, outcome.not_finite
        best_step[arms], first_bad[arms] = outcome.best_step, outcome.first_bad_step
    finals |= {"status": np.array(STATUSES)[status], "best_step": best_step}
    finals |= {"first_bad_step": first_bad, "not_finite": np.array(NOT_FINITE)[what]}
    return make_dataset(
        experiment.space.coordinates(),
        [d.name for d in experiment.space.dims],
        experiment.seed_values,
        steps,
        curves,
        finals,
        modes,
        [f.trace for f in failures],
    )


def _kept(
    experiment: Experiment, dataset: Any, outcomes: list[tuple[Program, Outcome]], keep: Keep
) -> list[tuple[Any, list[tuple[int, int]], Program]]:
    """Returns for each program the stacked variables that stay, and arm and seed of each row."""
    if keep is None:
        return []
    n_seeds = len(experiment.seed_values)
    chosen = set(range(len(experiment.space)))
    if keep == "best":
        chosen = {_best_arm(experiment, dataset)} - {-1}
    found = []
    for program, outcome in outcomes:
        rows = [
            (i * n_seeds + s, (arm, s)) for i, arm in enumerate(program.arms) if arm in chosen for s in range(n_seeds)
        ]
        index = [row for row, _ in rows]
        tree = jax.tree.map(lambda a: a[index], outcome.variables)  # noqa: B023
        found.append((tree, [trial for _, trial in rows], program))
    return [f for f in found if f[1]]


def _best_arm(experiment: Experiment, dataset: Any) -> int:
    metric = "valid_accuracy" if "valid_accuracy" in dataset else "valid_loss"
    try:
        arm = best(dataset, metric, None, 0.95).arm
    except ValueError:
        return -1
    place = [dataset[d].values.tolist().index(arm[d]) for d in arm]
    return int(np.ravel_multi_index(place, experiment.space.shape))


def _places(experiment: Experiment, trials: Sequence[Sequence[tuple[int, int]]]) -> np.ndarray:
    place = np.full((len(experiment.space), len(experiment.seed_values), 2), -1)
    for program, rows in enumerate(trials):
        for row, (arm, seed) in enumerate(rows):
            place[arm, seed] = program, row
    return place


def _predictor(experiment: Experiment, built: Built) -> Callable[[int], Callable[..., Any]]:
    """Returns a function from the number of an arm to its model in evaluation mode."""

    def of_arm(arm: int) -> Callable[..., Any]:
        program = next(p for p in built.programs if arm in p.arms)
        hp = {name: jax.tree.map(lambda a: a[0], value) for name, value in experiment.space.stacked([arm]).items()}

        def apply(params: Any, model_state: Any, x: Any) -> jax.Array:
            shapes = jax.tree.map(lambda a: a.shape[1:], x)
            if shapes != program.lane.facts.input_shape:
                raise InputError(
                    "x",
                    jax.tree.map(np.shape, x),
                    f"the model was trained on inputs of shape (n, *{program.lane.facts.input_shape})",
                    "Pass a batch of such inputs.",
                )
            x = jax.tree.map(lambda a: a.astype(np.float32) if a.dtype == np.float64 else a, x)
            outputs, _ = program.lane.resolve(hp).model.apply(
                params, model_state, x, key=jax.random.key(0), train=False
            )
            return outputs

        return apply

    return of_arm


def _loaded(folder: RunFolder, experiment: Experiment | None, built: Built | None) -> Result:
    folder.check_results()
    dataset = read_dataset(folder.results)
    stored = folder.variables()
    dims = [d for d in dataset["status"].dims if d != "seed"]
    place = np.full((int(np.prod([dataset.sizes[d] for d in dims])), dataset.sizes["seed"], 2), -1)
    stacks = []
    for i, (read, trials) in enumerate(stored):
        for row, (arm, seed) in enumerate(trials):
            place[arm, seed] = i, row
        like = None
        if built is not None and trials:
            program = next(p for p in built.programs if trials[0][0] in p.arms)
            state = jax.eval_shape(program.functions.init, *_init_shapes(program, experiment, built))
            like = (state.params, state.model_state)
        stacks.append(ft.partial(_variables, read, like))
    predictor = _predictor(experiment, built) if experiment is not None and built is not None else None
    return Result(dataset, KeptVariables(place, stacks), predictor)


def _variables(read: Callable[[Any], Any], like: Any) -> Variables:
    """Returns the stacked variables of a program, read with or without their structure."""
    tree = read(like)
    return Variables(*tree) if isinstance(tree, tuple) else Variables(tree.get(0, {}), tree.get(1, {}))


def _init_shapes(program: Program, experiment: Experiment | None, built: Built) -> tuple[Any, ...]:
    assert experiment is not None
    hp = experiment.space.stacked([program.arms[0]] * program.shape.arms)
    return np.zeros(program.shape.seeds, np.uint32), built.table, hp


def _fingerprint(experiment: Experiment, built: Built) -> dict[str, Any]:
    """Returns what makes this experiment itself, in JSON's types."""
    space = [
        {
            "dim": d.name,
            "labels": [str(x) for x in d.labels],
            "axes": {a.name: [repr(v) for v in (a.values if a.traced else a.labels)] for a in d.axes},
        }
        for d in experiment.space.dims
    ]
    programs = [
        {"static": {k: str(v) for k, v in p.static.items()}, "chunk": list(p.shape), "text": text_hash(p.lowered)}
        for p in built.programs
    ]
    return {
        "programs": programs,
        "space": space,
        "steps": built.steps,
        "eval_every": built.eval_every,
        "seeds": list(experiment.seed_values),
        "data": data_hash(built.table),
        "compiler": {},  # options beyond XLA's defaults
    }


def _circumstances(devices: list[jax.Device]) -> dict[str, Any]:
    """Returns where and with what a run is made."""
    return {
        "devices": [f"{d.platform}:{d.id} {d.device_kind}" for d in devices],
        "partition": "one single-device program dispatched to each device",
        "machine": platform.machine(),
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in _PACKAGES},
    }
