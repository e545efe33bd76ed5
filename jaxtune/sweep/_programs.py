"""From trials to programs: arms that share all static values are lanes of one program."""

import dataclasses
import hashlib
import traceback
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxtune import _check
from jaxtune._errors import InputError, JaxtuneError, UnusedHyperparameterError
from jaxtune.data._batches import Table, make_table, steps_per_epoch
from jaxtune.sweep._chunks import ChunkFunctions, ChunkShape, chunk_functions, chunks, default_chunk, lower
from jaxtune.sweep._experiment import Experiment
from jaxtune.sweep._probe import Probe, abstract, check_ranges, probe
from jaxtune.training._hyperparameters import Hyperparameters
from jaxtune.training._lane import EVALUATION_BATCH, Lane, make_lane
from jaxtune.training._recipe import call_recipe
from jaxtune.training._train import batch_size_of, default_eval_every, facts_of

# Round numbers of a CPU core, which decide on devices and on nothing else.
_UPDATE_SECONDS = 3e-5
_FLOPS_PER_SECOND = 3e10
_WORTH_SECONDS = 12.0


@dataclasses.dataclass(frozen=True)
class Program:
    """The trials that share all static values.

    Attributes:
      static: labels of the static hyperparameters.
      arms: numbers of its arms.
      lane: one training run.
      batch_size: examples per update.
      probe: what a lane's trace tells.
      shape: how many arms and seeds run together.
      functions: the jitted functions of a chunk.
      lowered: the texts of the lowered functions.
    """

    static: dict[str, Any]
    arms: tuple[int, ...]
    lane: Lane
    batch_size: int
    probe: Probe
    shape: ChunkShape
    functions: ChunkFunctions
    lowered: tuple[str, ...]


class Failure(NamedTuple):
    """A program that raised: its static values, its arms, and the traceback as text."""

    static: dict[str, Any]
    arms: tuple[int, ...]
    trace: str


class Built(NamedTuple):
    """All programs of an experiment, the data they share, how many updates they make and how often they evaluate."""

    programs: list[Program]
    failures: list[Failure]
    table: Table
    steps: int
    eval_every: int


def build(experiment: Experiment, shape: ChunkShape | None) -> Built:
    """Returns the programs of an experiment, traced and lowered.

    A program whose recipe raises something that is not jaxtune's own verdict is a failure; if all do, it is raised.

    Raises:
      ValueError, TypeError: bad input, found before anything compiles.
    """
    groups = _groups(experiment)
    table, spans = make_table(experiment.data, EVALUATION_BATCH)
    steps = _steps(experiment, [arms[0] for arms in groups])
    programs: list[Program] = []
    failures: list[Failure] = []
    first: Exception | None = None
    for arms in groups:
        static = experiment.space.static_labels(arms[0])
        try:
            programs.append(_program(experiment, arms, table, spans, steps, shape))
        except JaxtuneError:
            raise
        except Exception as error:
            first = first or error
            failures.append(Failure(static, tuple(arms), traceback.format_exc()))
    if first is not None and not programs:
        raise first
    if not failures:
        _check_use(experiment, programs)
    return Built(programs, failures, table, steps, experiment.eval_every or default_eval_every(steps))


def _groups(experiment: Experiment) -> list[list[int]]:
    found: dict[Any, list[int]] = {}
    for arm in range(len(experiment.space)):
        labels = experiment.space.static_labels(arm)
        found.setdefault(tuple((type(v), v) for v in labels.values()), []).append(arm)
    return list(found.values())


def _steps(experiment: Experiment, arms: Sequence[int]) -> int:
    """Returns the updates of a trial; epochs become steps by way of the recipe's batch size."""
    if experiment.steps is not None:
        return experiment.steps
    assert experiment.epochs is not None
    n = len(experiment.data.train)
    sizes = {
        arm: batch_size_of(experiment.recipe, experiment.space.values(arm), experiment.data, experiment.epochs * n)
        for arm in arms
    }
    if len(set(sizes.values())) > 1:
        raise InputError(
            "epochs",
            experiment.epochs,
            f"batch sizes {sorted(set(sizes.values()))} make different numbers of steps of it",
            "Pass steps.",
        )
    steps = experiment.epochs * steps_per_epoch(n, sizes[arms[0]])
    if experiment.eval_every is not None and experiment.eval_every > steps:
        raise InputError(
            "eval_every",
            experiment.eval_every,
            f"it is more than the {steps} steps of {experiment.epochs} epochs",
            "Evaluate at least once.",
        )
    return steps


def _program(
    experiment: Experiment, arms: list[int], table: Table, spans: Any, steps: int, shape: ChunkShape | None
) -> Program:
    space, data = experiment.space, experiment.data
    values = space.values(arms[0])
    batch_size = batch_size_of(experiment.recipe, values, data, steps)
    facts = facts_of(data, steps, batch_size)
    axes = [a for a in space.axes if a.traced]
    static = {a.name: values[a.name] for a in space.axes if not a.traced}
    lane = make_lane(experiment.recipe, static, facts, spans, batch_size, data.classes)
    for arm in _extremes(experiment, arms):
        with _check.collect_infinities():
            call_recipe(experiment.recipe, Hyperparameters(space.values(arm), facts))
    check_ranges(
        lane,
        [{a.name: space.values(arm)[a.name] for a in axes} for arm in _extremes(experiment, arms)],
        table,
        batch_size,
    )
    told = probe(lane, axes, {a.name: values[a.name] for a in axes}, table, batch_size)
    shape = shape or default_chunk(told.draws)
    functions = chunk_functions(lane, shape)
    hp = abstract({a.name: a.stacked([0]) for a in axes})
    lowered = lower(functions, shape, hp, table, None)
    return Program(
        static=space.static_labels(arms[0]),
        arms=tuple(arms),
        lane=lane,
        batch_size=batch_size,
        probe=told,
        shape=shape,
        functions=functions,
        lowered=tuple(x.as_text() for x in lowered),
    )


def _extremes(experiment: Experiment, arms: Sequence[int]) -> list[int]:
    """Returns the arms that hold the smallest and the largest value of each traced axis; ranges are intervals."""
    settings = {arm: experiment.space.values(arm) for arm in arms}
    chosen = {arms[0]}
    for axis in experiment.space.axes:
        if not axis.traced:
            continue
        for leaf in range(len(jax.tree.leaves(axis.values[0]))):
            sizes = {arm: float(np.max(jax.tree.leaves(s[axis.name])[leaf])) for arm, s in settings.items()}
            chosen |= {min(sizes, key=lambda a: sizes[a]), max(sizes, key=lambda a: sizes[a])}  # noqa: B023
    return sorted(chosen)


def _check_use(experiment: Experiment, programs: Sequence[Program]) -> None:
    """Refuses hyperparameters that change nothing.

    Raises:
      UnusedHyperparameterError: no program depends on a traced one, or two values of a static one make one program.
    """
    for axis in experiment.space.axes:
        if axis.traced:
            if not any(axis.name in p.probe.used for p in programs):
                raise UnusedHyperparameterError(
                    f"`{axis.name}` is an axis, but nothing that the recipe computes depends on it. Use hp.{axis.name} in the recipe, or remove the axis."
                )
            continue
        contexts: dict[Any, dict[Any, str]] = {}
        for p in programs:
            rest = tuple((k, type(v), v) for k, v in p.static.items() if k != axis.name)
            text = hashlib.sha256("".join(p.lowered).encode()).hexdigest() + str(sorted(p.probe.modes))
            contexts.setdefault(rest, {})[p.static[axis.name]] = text
        labels = list(dict.fromkeys(axis.labels))
        for i, a in enumerate(labels):
            for b in labels[:i]:
                shared = [c for c in contexts.values() if a in c and b in c]
                if shared and all(c[a] == c[b] for c in shared):
                    raise UnusedHyperparameterError(
                        f"`{axis.name}` is an axis, but its values {b!r} and {a!r} make the same program. Use hp.{axis.name} in the recipe, or remove the axis or the value."
                    )


def duplicates(experiment: Experiment, programs: Sequence[Program]) -> dict[int, int]:
    """Returns the arms that repeat an earlier arm of their program, for it does not use the axes in which they differ."""
    found: dict[int, int] = {}
    for p in programs:
        seen: dict[Any, int] = {}
        for arm in p.arms:
            at = experiment.space.positions(arm)
            key = tuple(a.labels[at[a.name]] for a in experiment.space.axes if a.name in p.probe.used)
            if key in seen:
                found[arm] = seen[key]
            seen.setdefault(key, arm)
    return found


def devices_worth_using(program: Program, experiment: Experiment, steps: int, available: int) -> int:
    """Returns on how many devices a program is worth being compiled.

    XLA compiles a program anew for every device, in seconds, so another device has to have as much to do. It changes no
    bit, and follows from the program and the experiment alone.
    """
    work = chunks(len(program.arms), len(experiment.seed_values), program.shape)
    seconds = len(work) * program.shape.lanes * steps * (_UPDATE_SECONDS + program.probe.flops / _FLOPS_PER_SECOND)
    return max(1, min(available, len(work), 1 + int(seconds / _WORTH_SECONDS)))
