"""From the outcomes of programs to the cube, and to the variables that stay."""

import functools as ft
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import jax
import numpy as np

from jaxtune.data import Stream
from jaxtune.results._dataset import make_dataset
from jaxtune.results._tables import best
from jaxtune.sweep._experiment import Experiment
from jaxtune.sweep.lanes._record import Outcome
from jaxtune.sweep.programs._programs import Built, Failure, Program
from jaxtune.training import NOT_FINITE, STATUSES, Status
from jaxtune.training._facts import evaluation_steps

if TYPE_CHECKING:
    import xarray as xr

Keep = Literal["all", "best"] | None


def gather(
    experiment: Experiment, built: Built, outcomes: list[tuple[Program, Outcome]], failures: list[Failure]
) -> "xr.Dataset":
    """Returns the cube of all programs."""
    n_arms, n_seeds = len(experiment.space), len(experiment.seed_values)
    steps = evaluation_steps(built.steps, built.eval_every)
    curves: dict[str, np.ndarray] = {}
    finals: dict[str, np.ndarray] = {}
    status = np.full((n_arms, n_seeds), Status.FAILED)
    best_step, first_bad, what = (np.zeros((n_arms, n_seeds), np.int64) for _ in range(3))
    where, norm = np.full((n_arms, n_seeds), "", object), np.full((n_arms, n_seeds), np.nan, np.float32)
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
        where[arms], norm[arms] = outcome.not_finite_path, outcome.gradient_norm
    finals |= {"status": np.array(STATUSES)[status], "best_step": best_step}
    finals |= {"first_bad_step": first_bad, "not_finite": np.array(NOT_FINITE)[what]}
    finals |= {"not_finite_path": where.astype(str), "gradient_norm": norm}
    made = make_dataset(
        experiment.space.coordinates(),
        [d.name for d in experiment.space.dims],
        experiment.seed_values,
        steps,
        curves,
        finals,
        modes,
        [f.trace for f in failures],
    )
    if isinstance(experiment.data.train, Stream):
        made.attrs["streamed"] = 1
    return made


class Stack(NamedTuple):
    """Variables that stay of one program: parameters and model state, each leaf with a leading axis of rows.

    Attributes:
      tree: the pair of parameters and model state.
      trials: arm and seed, as positions, of each row.
    """

    tree: Any
    trials: list[tuple[int, int]]


def kept_variables(
    experiment: Experiment, dataset: "xr.Dataset", outcomes: list[tuple[Program, Outcome]], keep: Keep
) -> list[Stack]:
    """Returns the variables that stay, for each program that has some."""
    if keep is None:
        return []
    seeds = range(len(experiment.seed_values))
    best_arm = _best_arm(experiment, dataset) if keep == "best" else None
    stacks = []
    for program, outcome in outcomes:
        trials = [(arm, s) for arm in program.arms for s in seeds]
        rows = [row for row, (arm, _) in enumerate(trials) if keep == "all" or arm == best_arm]
        if len(rows) == len(trials):
            stacks.append(Stack(outcome.variables, trials))
        elif rows:
            tree = jax.tree.map(ft.partial(np.take, indices=rows, axis=0), outcome.variables)
            stacks.append(Stack(tree, [trials[row] for row in rows]))
    return stacks


def _best_arm(experiment: Experiment, dataset: "xr.Dataset") -> int | None:
    """Returns the number of the best arm, None if there is none."""
    metric = "valid_accuracy" if "valid_accuracy" in dataset else "valid_loss"
    try:
        arm = best(dataset, metric, None, 0.95).arm
    except ValueError:
        return None
    place = [dataset[d].values.tolist().index(arm[d]) for d in arm]
    return int(np.ravel_multi_index(place, experiment.space.shape))
