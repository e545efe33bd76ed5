"""A finished run as a part of a larger one: more seeds, or more values on an axis, and nothing is trained twice."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxtune._types import PyTree
from jaxtune.checkpoint import RunFolder
from jaxtune.results import _cube
from jaxtune.results._dataset import read_dataset
from jaxtune.sweep._experiment import Experiment
from jaxtune.sweep._load import variables_like
from jaxtune.sweep.lanes._record import Record
from jaxtune.sweep.lanes._standing import Standing
from jaxtune.sweep.programs._programs import Built
from jaxtune.training._facts import evaluation_steps

if TYPE_CHECKING:
    import xarray as xr

_GROWS = ("space", "seeds", "programs")
"""What of a fingerprint may be more."""


class Places(NamedTuple):
    """Where the trials of a run are in a larger one.

    Attributes:
      arms: for each arm its number there.
      seeds: for each seed its position there.
    """

    arms: list[int]
    seeds: list[int]


def places_in(given: Mapping[str, Any], recorded: Mapping[str, Any]) -> Places | None:
    """Returns where the trials of a recorded run are in a given experiment, None if it is no part of that.

    It is one if all of its seeds and arms are there, trained by the same programs on the same data.

    Args:
      given: the fingerprint of the experiment, in JSON's types.
      recorded: that of the run.
    """
    if any(given.get(name) != recorded.get(name) for name in {*given, *recorded} - {*_GROWS}):
        return None
    try:
        if any(program not in given["programs"] for program in recorded["programs"]):
            return None
        seeds = [given["seeds"].index(seed) for seed in recorded["seeds"]]
        old, new = recorded["space"], given["space"]
        if [dim["dim"] for dim in old] != [dim["dim"] for dim in new]:
            return None
        along = [[_settings(b).index(s) for s in _settings(a)] for a, b in zip(old, new, strict=True)]
    except (ValueError, KeyError, TypeError, AttributeError):  # something is not there, or the record is none of ours
        return None
    if not new:
        return Places([0], seeds)
    shape = [len(_settings(dim)) for dim in new]
    grid = np.meshgrid(*along, indexing="ij")
    return Places(np.ravel_multi_index([g.reshape(-1) for g in grid], shape).tolist(), seeds)


def standing_of(folder: RunFolder, experiment: Experiment, built: Built, places: Places, variables: bool) -> PyTree:
    """Returns a finished run as a checkpoint of a larger one in which its trials have ended.

    Args:
      folder: the finished run.
      experiment: the larger experiment.
      built: its programs.
      places: where the run's trials are in it.
      variables: whether variables are kept.

    Raises:
      ValueError: results or variables are missing or damaged.
    """
    folder.check_results()
    dataset = read_dataset(folder.results)
    stored = folder.variables() if variables else []
    n_seeds, n_evaluations = len(experiment.seed_values), len(evaluation_steps(built.steps, built.eval_every))
    found = {}
    for program in built.programs:
        arms = {old: program.arms.index(new) for old, new in enumerate(places.arms) if new in program.arms}
        if not arms:
            continue
        record = Record(program, n_seeds, n_evaluations, variables)
        into = np.ix_(list(arms.values()), places.seeds)
        record.fill(into, {str(name): _by_arm(dataset, v)[list(arms)] for name, v in dataset.data_vars.items()})
        if not record.ended.any():  # a program that has failed is as good as new
            continue
        for read, trials in stored:
            if trials and trials[0][0] in arms:  # those of one program lie together
                there = [(arms[arm], places.seeds[seed]) for arm, seed in trials]
                record.fill_variables(there, read(variables_like(experiment, built, program.arms[0])))
        found[str(program.number)] = Standing(program, experiment, built.table).take(record)
    return {"programs": found}


def _by_arm(dataset: "xr.Dataset", values: "xr.DataArray") -> np.ndarray:
    """Returns values with the leading axes (arms, seeds)."""
    dims = _cube.arm_dims(dataset)
    ordered = values.transpose(*dims, "seed", ...)
    return ordered.values.reshape(-1, *ordered.shape[len(dims) :])


def _settings(dim: Mapping[str, Any]) -> list[Any]:
    """Returns label and values of each position along a dimension."""
    columns = [values for _, values in sorted(dim["axes"].items())]
    return list(zip(dim["labels"], *columns, strict=True))
