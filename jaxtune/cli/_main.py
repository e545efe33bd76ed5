"""Runs experiment files.

An experiment file exposes `experiment`, and optionally `report(result, out)` and the name of the `metric` that its tables
are about; it calls `script` when it is run itself.
"""

import argparse
import importlib.util
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import jax

from jaxtune import _check
from jaxtune._errors import InputError, InputTypeError, JaxtuneError, first_line
from jaxtune.results import Result
from jaxtune.sweep import Experiment, Ray, run
from jaxtune.sweep.lanes._devices import ask_for_all_cores

if TYPE_CHECKING:
    import pandas as pd

INTERRUPTED = 130
"""Exit status after SIGINT (Ctrl-C) or SIGTERM, when all is saved."""

Reporter = Callable[[Result, Path | None], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status of the command line `jaxtune`.

    Args:
      arguments: what follows the command's name; None reads `sys.argv`.
    """
    parser = argparse.ArgumentParser(prog="jaxtune", description="Vectorized ablations for JAX.")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("run", help="run an experiment file", description="Run the `experiment` of a file.")
    command.add_argument("file", type=Path, help="a Python file that exposes `experiment`")
    _add_options(command)
    given = parser.parse_args(arguments)

    def start() -> None:
        _join(given)
        module = _load(given.file)
        _run(module.experiment, getattr(module, "report", None), getattr(module, "metric", None), given)

    return _guarded(start, given)


def script(
    experiment: Experiment,
    report: Reporter | None = None,
    metric: str | None = None,
    arguments: Sequence[str] | None = None,
) -> None:
    """Runs an experiment file as a script, with the options of `jaxtune run`, and exits with its status.

    Args:
      experiment: the experiment.
      report: `report(result, out)`, called with the result and the run folder, or None, at the end.
      metric: the validation metric of the tables; None is the accuracy, or else the loss.
      arguments: options; None reads `sys.argv`.
    """
    parser = argparse.ArgumentParser(description="Run this experiment.")
    _add_options(parser)
    given = parser.parse_args(arguments)

    def start() -> None:
        _join(given)
        _run(experiment, report, metric, given)

    sys.exit(_guarded(start, given))


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, help="a folder for the run and its figures")
    parser.add_argument("--quick", action="store_true", help="a tenth of the steps with two seeds")
    parser.add_argument(
        "--force", action="store_true", help="replace a run that the folder holds, an unfinished one too"
    )
    several = parser.add_argument_group("several processes, all started with the same command and --out")
    several.add_argument("--distributed", action="store_true", help="join those of a SLURM job, a TPU pod or Open MPI")
    several.add_argument(
        "--coordinator", metavar="HOST:PORT", help="or of this first process, with the two numbers below"
    )
    several.add_argument("--processes", type=int, metavar="N", help="how many there are")
    several.add_argument("--process", type=int, metavar="I", help="which this is, from 0")
    parser.add_argument("--ray", action="store_true", help="train the programs side by side on a cluster of Ray")


def _join(given: argparse.Namespace) -> None:
    """Joins the other processes of a run, if there are to be some.

    Raises:
      ValueError: the options do not go together, or JAX has been used before.
    """
    explicit = {name: getattr(given, name) for name in ("coordinator", "processes", "process")}
    missing = [f"--{name}" for name, value in explicit.items() if value is None]
    if not given.distributed and len(missing) == len(explicit):
        return
    if given.distributed and len(missing) < len(explicit):
        cure = "Pass the one or the others."
        raise InputError("--distributed", True, "it finds out by itself what the other options say", cure)
    if given.out is None:
        raise InputError("--out", None, "processes put their results together in a folder", "Name one that all see.")
    if not given.distributed:
        if missing:
            value = {f"--{name}": v for name, v in explicit.items() if v is not None}
            raise InputError("--coordinator", value, "the three go together", f"Pass {' and '.join(missing)}, too.")
        if not 0 <= given.process < given.processes:
            reason = f"processes are numbered from 0 to {given.processes - 1}"
            raise InputError("--process", given.process, reason, "Number them so.")
    ask_for_all_cores()
    try:
        if given.distributed:
            jax.distributed.initialize()
        else:
            jax.distributed.initialize(given.coordinator, given.processes, given.process)
    except (RuntimeError, ValueError) as error:
        where = "--distributed" if given.distributed else "--coordinator"
        cure = "Start the processes with `jaxtune run FILE`, by srun, mpirun or on every host of a pod, or name the coordinator."
        raise InputError(where, given.coordinator or True, first_line(error), cure) from error


def _run(experiment: Experiment, report: Reporter | None, metric: str | None, given: argparse.Namespace) -> None:
    mark = ""
    if not isinstance(experiment, Experiment):
        reason, cure = "it is no jt.Experiment", "Pass jt.Experiment(recipe, space, data, steps=...)."
        raise InputTypeError("experiment", type(experiment).__name__, reason, cure)
    if given.quick:
        experiment, mark = experiment.quick(), "QUICK RUN (a tenth of the steps, two seeds): "
    began = time.time()
    result = run(experiment, out=given.out, force=given.force, cluster=Ray() if given.ray else None)
    if jax.process_index() > 0:
        return  # the first process speaks for all
    if given.out is not None and (given.out / "run.json").stat().st_mtime < began:
        print(f"{given.out} holds this run, finished before; --force trains it again.", file=sys.stderr)
    metric = metric or ("valid_accuracy" if "valid_accuracy" in result.dataset else "valid_loss")
    versus = "arm" in result.dataset.dims and "default" in result.dataset["arm"].values
    for table in [result.summary(metric), *([result.compare(metric)] if versus else [])]:
        print(f"{mark}{table.attrs['note']}\n{_text(table)}\n")
    lost = int((~result.dataset["status"].isin(["finished", "stopped"])).sum())
    if lost:
        print(f"{mark}{lost} trials did not end well; see result.dataset.status.\n")
    for trace in result.failures:
        print(f"{mark}a program failed: {trace.strip().splitlines()[-1]}\n")
    try:
        print(f"{mark}{result.best(metric)}")
    except InputError as error:
        print(f"{mark}no best arm: {error}")
    if report is not None:
        if mark:
            print(f"{mark}what follows is from the quick run.")
        report(result, given.out)


def _text(table: "pd.DataFrame") -> str:
    """Returns a table as text: four decimals, p values with as many digits as they need."""
    shown = table.drop(columns=["p_sign_flip_floor"], errors="ignore")
    tiny = {c: (lambda p: "<0.0001" if p < 1e-4 else f"{p:.4f}") for c in shown.columns if str(c).startswith("p")}
    return str(
        shown.to_string(
            formatters={k: v for k, v in tiny.items() if k != "pairs"},
            float_format=lambda v: f"{v:.4g}" if abs(v) < 1e-3 and v else f"{v:.4f}",
        )
    )


def _load(file: Path) -> ModuleType:
    if not _check.exists(file) or not file.is_file():
        raise InputError("file", str(file), "there is no such file", "Pass the path of an experiment file.")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise InputError("file", str(file), "it is no Python file", "Pass a file that ends in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(file.parent.absolute()))
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)
    if not isinstance(getattr(module, "experiment", None), Experiment):
        found: Any = getattr(module, "experiment", None)
        raise InputError(
            "experiment",
            found,
            f"{file} exposes no jt.Experiment of that name",
            "Write `experiment = jt.Experiment(...)` in it.",
        )
    return module


def _guarded(action: Callable[[], None], given: argparse.Namespace) -> int:
    """Returns the exit status of an action: 2 for bad input, 130 where it was asked to end."""
    try:
        action()
    except JaxtuneError as error:
        print(f"jaxtune: {error}".replace("force=True", "--force"), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        same = "The same command without --force" if given.force else "The same command"
        saved = "" if given.out is None else f". {same} goes on from where it was saved"
        print(f"jaxtune: interrupted{saved}.", file=sys.stderr)
        return INTERRUPTED
    except Exception:
        traceback.print_exc()
        return 1
    return 0
