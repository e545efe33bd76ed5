"""From a run folder back to its result."""

import functools as ft
import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxtune._errors import InputError, RunFolderError
from jaxtune.checkpoint import RunFolder
from jaxtune.results import KeptVariables, Result, Variables
from jaxtune.results._dataset import read_dataset
from jaxtune.results._variables import places
from jaxtune.sweep._experiment import Experiment
from jaxtune.sweep._identity import fingerprint, recorded_layout
from jaxtune.sweep._streaming import streamed, was_streamed
from jaxtune.sweep.lanes._devices import lane_devices
from jaxtune.sweep.programs._chunks import lane_inputs, pack
from jaxtune.sweep.programs._programs import Built, build


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
        raise RunFolderError(
            f"{str(folder.path)!r} holds an unfinished run. Run the experiment again, which goes on from there."
        )
    if experiment is None:
        return read_result(folder, None, None)
    lane_devices()
    if was_streamed(record["fingerprint"]):
        experiment = streamed(experiment)
    built = build(experiment, recorded_layout(record["fingerprint"]))
    folder.check(fingerprint(experiment, built))
    return read_result(folder, experiment, built)


def read_result(folder: RunFolder, experiment: Experiment | None, built: Built | None) -> Result:
    """Returns the result of a finished folder.

    Args:
      folder: the folder.
      experiment: the experiment that was run, if known.
      built: its programs, if it is.
    """
    folder.check_results()
    dataset = read_dataset(folder.results)
    stored = folder.variables()
    try:
        n_seeds = dataset.sizes["seed"]
        place = places((dataset["status"].size // n_seeds, n_seeds), [trials for _, trials in stored])
    except (KeyError, IndexError, ZeroDivisionError) as error:  # not what was written there
        raise RunFolderError(f"{str(folder.path)!r} holds variables of trials that its results do not have.") from error
    if experiment is None or built is None:
        return Result(dataset, KeptVariables(place, [ft.partial(_variables, read, None) for read, _ in stored]))
    if not all(trials for _, trials in stored):
        raise RunFolderError(f"{str(folder.path)!r} holds variables of no trial.")
    likes = [variables_like(experiment, built, trials[0][0]) for _, trials in stored]
    stacks = [ft.partial(_variables, read, like) for (read, _), like in zip(stored, likes, strict=True)]
    return Result(dataset, KeptVariables(place, stacks), predictor(experiment, built))


def predictor(experiment: Experiment, built: Built) -> Callable[[int], Callable[..., Any]]:
    """Returns a function from the number of an arm to its model in evaluation mode."""

    def of_arm(arm: int) -> Callable[..., Any]:
        program = next(p for p in built.programs if arm in p.arms)
        hp = {name: jax.tree.map(lambda a: a[0], value) for name, value in experiment.space.stacked([arm]).items()}

        def apply(params: Any, model_state: Any, x: Any, step: int) -> jax.Array:
            shapes = jax.tree.map(lambda a: a.shape[1:], x)
            if shapes != program.lane.facts.input_shape:
                raise InputError(
                    "x",
                    jax.tree.map(np.shape, x),
                    f"the model was trained on examples of shape {program.lane.facts.input_shape}",
                    "Pass a batch of such inputs.",
                )
            x = jax.tree.map(lambda a: a.astype(np.float32) if a.dtype == np.float64 else a, x)
            outputs, _ = program.lane.resolve(hp, step).model.apply(
                params, model_state, x, key=jax.random.key(0), train=False
            )
            return outputs

        return apply

    return of_arm


def _variables(read: Callable[[Any], Any], like: Any) -> Variables:
    """Returns the stacked variables of a program, read with or without their structure."""
    tree = read(like)
    return Variables(*tree) if isinstance(tree, tuple) else Variables(tree.get(0, {}), tree.get(1, {}))


def variables_like(experiment: Experiment, built: Built, arm: int) -> Any:
    """Returns parameters and model state of a chunk of an arm's program, as shapes."""
    program = next(p for p in built.programs if arm in p.arms)
    (chunk,) = pack([(0, 0)], program.shape)
    inputs = lane_inputs(chunk, experiment.space.stacked([arm]), experiment.seed_values)
    state = jax.eval_shape(program.functions.init, inputs[0], built.table, inputs[1])
    return state.params, state.model_state
