"""Runs the chunks of a program on the devices.

Every device runs the same single-device program, dispatched from one thread; so the bits of a trial do not depend on
how many devices there are. JAX dispatches asynchronously: while the host reads one chunk's metrics the other devices
are at work.
"""

import concurrent.futures
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxtune._types import PyTree
from jaxtune.data._batches import Table
from jaxtune.sweep._chunks import Chunk, chunks, lane_inputs, lower
from jaxtune.sweep._experiment import Experiment
from jaxtune.sweep._probe import abstract
from jaxtune.sweep._programs import Program
from jaxtune.training import Status


class Outcome(NamedTuple):
    """What the trials of a program came to, with the leading axes (arms, seeds).

    Attributes:
      curves: metrics at each evaluation by name, shape (arms, seeds, evaluations).
      finals: metrics on the test split by name, shape (arms, seeds).
      status: numbers of `Status`, shape (arms, seeds).
      best_step: updates done at the kept parameters.
      first_bad_step: the first update whose loss was not finite, 0 if there was none.
      not_finite: what was not, positions in `NOT_FINITE`.
      variables: kept parameters and model state, each leaf of shape (arms * seeds, ...), or None.
    """

    curves: dict[str, np.ndarray]
    finals: dict[str, np.ndarray]
    status: np.ndarray
    best_step: np.ndarray
    first_bad_step: np.ndarray
    not_finite: np.ndarray
    variables: PyTree


class Compiled(NamedTuple):
    """A program's functions compiled for one device, with what stays there."""

    device: jax.Device
    init: Any
    advance: Any
    finish: Any
    table: Table


def compile_program(
    program: Program, experiment: Experiment, table: Table, devices: Sequence[jax.Device]
) -> list[Compiled]:
    """Returns the program compiled for each device; devices compile side by side."""
    hp = abstract(experiment.space.stacked(program.arms[:1]))
    lowered = [lower(program.functions, program.shape, hp, table, device) for device in devices]
    pool = concurrent.futures.ThreadPoolExecutor(max_workers=len(devices))
    try:
        jobs = [[pool.submit(x.compile) for x in functions] for functions in lowered]
        compiled = [[job.result() for job in row] for row in jobs]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # after Ctrl-C nothing more is begun
    places = zip(devices, compiled, strict=True)
    return [Compiled(d, init, advance, finish, jax.device_put(table, d)) for d, (init, advance, finish) in places]


def run_program(
    program: Program,
    experiment: Experiment,
    compiled: Sequence[Compiled],
    ends: np.ndarray,
    variables: bool,
    report: Callable[[int, int], None],
) -> Outcome:
    """Returns the outcome of all trials of a program.

    Args:
      program: the program.
      experiment: what it is part of.
      compiled: its functions, for each device.
      ends: the updates after which is evaluated, the last being all.
      variables: whether to fetch the kept variables.
      report: called with the numbers of updates made and of trials ended since the last call.
    """
    n_arms, n_seeds = len(program.arms), len(experiment.seed_values)
    work = chunks(n_arms, n_seeds, program.shape)
    stacked = experiment.space.stacked(program.arms)
    running = [
        _RunningChunk(chunk, compiled[i % len(compiled)], stacked, experiment.seed_values)
        for i, chunk in enumerate(work)
    ]
    names = program.functions.metric_names
    curves = np.full((len(names["advance"]), n_arms, n_seeds, len(ends)), np.nan, np.float32)
    finals = np.full((len(names["finish"]), n_arms, n_seeds), np.nan, np.float32)
    status = np.full((n_arms, n_seeds), Status.RUNNING, np.int8)
    counters = np.zeros((n_arms, n_seeds, 3), np.int64)

    start = 0
    for turn, end in enumerate(ends):
        live = [chunk for chunk in running if chunk.n_running > 0]
        for chunk in live:
            chunk.advance(start, int(end) - start)
        for chunk in live:
            before = chunk.n_running
            now, metrics = chunk.fetch()
            put(curves[..., turn], chunk.which, metrics)
            put(status, chunk.which, now)
            report(before * (int(end) - start), before - chunk.n_running)
        start = int(end)

    rows: list[Any] = [None] * (n_arms * n_seeds)
    for chunk in running:
        chunk.finish()
    for chunk in running:
        params, model_state, counted, metrics = chunk.ended()
        put(finals, chunk.which, metrics)
        put(counters, chunk.which, counted, behind=1)
        if variables:
            host = jax.device_get((params, model_state))
            for arm, seed, j, i in real_lanes(chunk.which):
                rows[arm * n_seeds + seed] = jax.tree.map(operator.itemgetter((j, i)), host)
        report(0, chunk.n_running)
    status[status == Status.RUNNING] = Status.FINISHED
    finals[:, (status == Status.DIVERGED)] = np.nan
    kept = jax.tree.map(lambda *leaves: np.stack(leaves), *rows) if variables else None
    return Outcome(
        curves=dict(zip(names["advance"], curves, strict=True)),
        finals=dict(zip(names["finish"], finals, strict=True)),
        status=status,
        best_step=counters[..., 0],
        first_bad_step=counters[..., 1],
        not_finite=counters[..., 2],
        variables=kept,
    )


class _RunningChunk:
    """One chunk on its device."""

    def __init__(self, chunk: Chunk, compiled: Compiled, stacked: PyTree, seeds: Sequence[int]):
        self.which = chunk
        self._on = compiled
        self._seeds, self._hp = jax.device_put(lane_inputs(chunk, stacked, seeds), compiled.device)
        self._state = compiled.init(self._seeds, compiled.table, self._hp)
        self._pending: Any = None
        self.n_running = int(chunk.mask().sum())

    def advance(self, start: int, length: int) -> None:
        """Dispatches a segment."""
        numbers = jax.device_put((np.int32(start), np.int32(length)), self._on.device)
        self._state, *self._pending = self._on.advance(self._seeds, self._state, self._on.table, self._hp, *numbers)

    def fetch(self) -> tuple[np.ndarray, np.ndarray]:
        """Waits for the segment, and returns status (seeds, arms) and metrics (metrics, seeds, arms)."""
        status, metrics = jax.device_get(self._pending)
        self.n_running = int(((status == Status.RUNNING) & self.which.mask()).sum())
        return status, metrics

    def finish(self) -> None:
        """Dispatches the choice of the kept parameters and their test."""
        self._pending = self._on.finish(self._seeds, self._state, self._on.table, self._hp)

    def ended(self) -> Any:
        """Waits for that; the variables stay on the device."""
        params, model_state, counters, metrics = self._pending
        self._state = self._pending = None
        return params, model_state, *jax.device_get((counters, metrics))


def real_lanes(chunk: Chunk) -> list[tuple[int, int, int, int]]:
    """Returns arm and seed of every lane that is no copy, with its place (seeds, arms) in the chunk."""
    arms, seeds = chunk.real
    return [(chunk.arms[i], chunk.seeds[j], j, i) for j in range(seeds) for i in range(arms)]


def put(target: np.ndarray, chunk: Chunk, values: np.ndarray, behind: int = 0) -> None:
    """Writes what the lanes of a chunk gave, (..., seeds, arms, *behind), into an array (..., arms, seeds, *behind)."""
    lead: Any = (slice(None),) * (target.ndim - 2 - behind)
    for arm, seed, j, i in real_lanes(chunk):
        target[(*lead, arm, seed)] = values[(*lead, j, i)]
