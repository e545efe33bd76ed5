"""From trials to programs: arms that share all static values are lanes of one program."""

import dataclasses
import functools as ft
import traceback
from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from jaxtune._errors import InputError, JaxtuneError
from jaxtune.checkpoint import text_hash
from jaxtune.data._stream import Stream
from jaxtune.data.batches._feed import Feed, feed_of
from jaxtune.data.batches._table import Table, make_table, steps_per_epoch
from jaxtune.sweep._experiment import Experiment
from jaxtune.sweep.programs._chunks import ChunkFunctions, ChunkShape, chunk_functions, count_chunks, lower
from jaxtune.sweep.programs._default_chunk import default_chunk
from jaxtune.sweep.programs._probe import Probe, abstract, batch_shapes, check_ranges, probe
from jaxtune.sweep.programs._use import check_use
from jaxtune.training._facts import batch_size_of, default_eval_every, evaluation_steps, facts_of
from jaxtune.training._lane import PLAIN, Form, Lane, make_lane
from jaxtune.training._recipe import Recipe
from jaxtune.training._turns import Fed, fed_shapes, turns_of

Convolution = Literal["patches", "native"]
"""How convolutions are computed: as patches times a matrix, or by XLA's own operation."""


class Layout(NamedTuple):
    """How a program is laid out, where it is not left to jaxtune.

    Attributes:
      chunk: arms and seeds that run together, or None.
      convolution: how convolutions are computed, or None.
    """

    chunk: ChunkShape | None = None
    convolution: Convolution | None = None


LayoutOf = Callable[[dict[str, Any]], Layout]
"""From a program's static labels to its layout."""


def same_for_all(layout: Layout) -> LayoutOf:
    """Returns one layout for every program."""
    return lambda static: layout


@dataclasses.dataclass(frozen=True)
class Program:
    """The trials that share all static values.

    Attributes:
      number: its place among all programs of the experiment, those that raised included.
      static: labels of the static hyperparameters.
      arms: numbers of its arms.
      lane: one training run.
      batch_size: examples per update.
      probe: what a lane's trace tells.
      shape: how many arms and seeds run together.
      convolution: how convolutions are computed, None where there are none.
      feed: where its batches come from if they are streamed, or None.
      fed: shapes of what is sent at a time, or None.
      functions: the jitted functions of a chunk.
      lowered: the functions of a chunk, lowered for the default device.
      lower: returns them lowered for another one.
    """

    number: int
    static: dict[str, Any]
    arms: tuple[int, ...]
    lane: Lane
    batch_size: int
    probe: Probe
    shape: ChunkShape
    convolution: Convolution | None
    feed: Feed | None
    fed: Fed | None
    functions: ChunkFunctions
    lowered: tuple[Any, ...]
    lower: Callable[[jax.Device], tuple[Any, ...]]

    def chunks(self, seeds: int) -> int:
        """Returns the number of chunks that hold all its trials."""
        return count_chunks(len(self.arms), seeds, self.shape)

    @ft.cached_property
    def identity(self) -> str:
        """A hash of all that the program computes, and of what it calls it."""
        names = (n for names in self.functions.metric_names.values() for n in names)
        return text_hash([*(function.as_text() for function in self.lowered), *names])


class Failure(NamedTuple):
    """A program that raised: its number, its static values, its arms, and the traceback as text."""

    number: int
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


def build(experiment: Experiment, layout_of: LayoutOf, only: int | None = None) -> Built:
    """Returns the programs of an experiment, traced and lowered.

    A program whose recipe raises something that is not jaxtune's own verdict is a failure; if all do, it is raised.

    Args:
      experiment: the experiment.
      layout_of: how each program is laid out.
      only: the number of the one program to build; None builds all.

    Raises:
      ValueError, TypeError: bad input, found before anything compiles.
    """
    groups = _groups(experiment)
    table, spans = make_table(experiment.data)
    steps = _steps(experiment, [arm for arms in groups for arm in _differing_in_size(experiment, arms)])
    eval_every = experiment.eval_every or default_eval_every(steps)
    programs: list[Program] = []
    failures: list[Failure] = []
    first: Exception | None = None
    for number, arms in enumerate(groups):
        if only not in (None, number):
            continue
        static = experiment.space.static_labels(arms[0])
        try:
            programs.append(_program(experiment, number, arms, table, spans, steps, eval_every, layout_of(static)))
        except JaxtuneError:
            raise
        except Exception as error:
            first = first or error
            failures.append(Failure(number, static, tuple(arms), traceback.format_exc()))
    if first is not None and not programs:
        raise first
    if not failures and only is None:
        check_use(experiment.space, programs)
    return Built(programs, failures, table, steps, eval_every)


def reshaped(experiment: Experiment, built: Built, program: Program, shape: ChunkShape) -> Program:
    """Returns a program of an experiment with chunks of another shape."""
    layout = Layout(shape, program.convolution)
    number, arms, spans = program.number, list(program.arms), program.lane.spans
    return _program(experiment, number, arms, built.table, spans, built.steps, built.eval_every, layout)


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
    experiment: Experiment,
    number: int,
    arms: list[int],
    table: Table,
    spans: Any,
    steps: int,
    eval_every: int,
    layout: Layout,
) -> Program:
    space, data = experiment.space, experiment.data
    values = space.values(arms[0])
    axes = [a for a in space.axes if a.traced]
    sized = _differing_in_size(experiment, arms)
    sizes = {batch_size_of(experiment.recipe, space.values(arm), data, steps) for arm in sized}
    batch_size = max(sizes)
    facts = facts_of(data, steps, batch_size)
    static = {a.name: values[a.name] for a in space.axes if not a.traced}
    given = (experiment.recipe, static, facts, spans, batch_size, data.classes)
    plain = make_lane(*given)
    feed, fed = None, None
    if isinstance(data.train, Stream):
        feed = feed_of(data.train, batch_size, data.classes)
        fed = fed_shapes(feed.example, turns_of(evaluation_steps(steps, eval_every), feed.most))
        _check_stream(plain, abstract({a.name: a.stacked([0]) for a in axes}), sizes)
    settings = [{a.name: space.values(arm)[a.name] for a in axes} for arm in _extremes(experiment, arms)]
    batch = batch_shapes(table, len(data.train), batch_size) if feed is None else feed.example
    check_ranges(plain, settings, batch)
    told = probe(plain, axes, {a.name: values[a.name] for a in axes}, table, batch, fed)

    platform = jax.default_backend()
    fit = (len(arms), len(experiment.seed_values), jax.device_count())
    shape = layout.chunk or default_chunk(told, platform, *fit)
    convolution = layout.convolution or ("patches" if platform == "cpu" else "native")
    # Lanes that share a batch share the patches of a first convolution; a first matrix product is better made apart.
    form = Form(patches=told.convolves and convolution == "patches", own_inputs=not told.convolves)
    lane = make_lane(*given, form) if form != PLAIN else plain
    functions = chunk_functions(lane, shape)
    lower_for = ft.partial(lower, functions, shape, abstract({a.name: a.stacked([0]) for a in axes}), table, fed)
    return Program(
        number=number,
        static=space.static_labels(arms[0]),
        arms=tuple(arms),
        lane=lane,
        batch_size=batch_size,
        probe=told,
        shape=shape,
        convolution=convolution if told.convolves else None,
        feed=feed,
        fed=fed,
        functions=functions,
        lowered=lower_for(jax.local_devices()[0]),
        lower=lower_for,
    )


def _check_stream(lane: Lane, hp: dict[str, Any], sizes: Collection[int]) -> None:
    """Refuses what needs the training examples of each trial, where all trials see the same."""
    reason = "training examples are streamed, and all trials see the same batches"
    cure = "Make it static, a program for each value, or pass more memory."
    made: list[Recipe] = []
    jax.eval_shape(lambda hp: made.append(lane.resolve(hp)), hp)
    if isinstance(made[0].batch_size, jax.core.Tracer):
        raise InputError("batch_size", sorted(sizes), reason, cure)
    if made[0].subset is not None:
        raise InputError("subset", "a jt.data.Subset", reason, "Stream the subset itself, or pass more memory.")


def _differing_in_size(experiment: Experiment, arms: Sequence[int]) -> Sequence[int]:
    """Returns the arms of a program among which batch sizes may differ: one, unless a traced axis has whole numbers."""
    leaves = [leaf for a in experiment.space.axes if a.traced for leaf in jax.tree.leaves(a.stacked([0]))]
    return arms if any(np.issubdtype(leaf.dtype, np.integer) for leaf in leaves) else arms[:1]


def _extremes(experiment: Experiment, arms: Sequence[int]) -> list[int]:
    """Returns the arms that hold the smallest and the largest value of each traced axis; ranges are intervals."""
    settings = {arm: experiment.space.values(arm) for arm in arms}
    chosen = {arms[0]}
    for axis in experiment.space.axes:
        if not axis.traced:
            continue
        for leaf in range(len(jax.tree.leaves(axis.values[0]))):
            sizes = {arm: float(np.max(jax.tree.leaves(s[axis.name])[leaf])) for arm, s in settings.items()}
            chosen |= {min(sizes, key=sizes.__getitem__), max(sizes, key=sizes.__getitem__)}
    return sorted(chosen)
