"""Runs the chunks of a program on the devices.

Every device runs the same single-device program, dispatched from one thread; so the bits of a trial do not depend on
how many devices there are. JAX dispatches asynchronously: while the host reads one chunk's metrics the devices are at
work on others. A chunk that has ended makes room for one that waits; of chunks that have lost lanes, the lanes are
packed into fewer.
"""

import collections
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxtune._tree import is_key
from jaxtune._types import PyTree
from jaxtune.data._batches import Batch, Feed
from jaxtune.sweep._experiment import Experiment
from jaxtune.sweep.lanes._compile import Compiled
from jaxtune.sweep.lanes._feed import Feeder
from jaxtune.sweep.programs._chunks import Chunk, lane_inputs, pack
from jaxtune.sweep.programs._programs import Program
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
      segments: segments of chunks that were run.
    """

    curves: dict[str, np.ndarray]
    finals: dict[str, np.ndarray]
    status: np.ndarray
    best_step: np.ndarray
    first_bad_step: np.ndarray
    not_finite: np.ndarray
    variables: PyTree
    segments: int


def run_program(
    program: Program,
    experiment: Experiment,
    compiled: Sequence[Compiled],
    ends: np.ndarray,
    variables: bool,
    report: Callable[[int, int], None],
    at_once: int | None = None,
    feed: Feed | None = None,
) -> Outcome:
    """Returns the outcome of all trials of a program.

    Args:
      program: the program.
      experiment: what it is part of.
      compiled: its functions, for each device.
      ends: the updates after which is evaluated, the last being all.
      variables: whether to fetch the kept variables.
      report: called with the numbers of updates made and of trials ended since the last call.
      at_once: most chunks under way; None is all.
      feed: where training batches come from, if not from the table.
    """
    seeds = experiment.seed_values
    everyone = [(arm, seed) for arm in range(len(program.arms)) for seed in range(len(seeds))]
    waiting = collections.deque(pack(everyone, program.shape))
    most = at_once or len(waiting)
    stacked = experiment.space.stacked(program.arms)
    record = _Record(program, len(seeds), len(ends), variables)
    feeder = None if feed is None else Feeder(feed, ends)
    live: list[_RunningChunk] = []
    segments = 0

    def start(chunk: Chunk, state: PyTree = None, turn: int = 0) -> _RunningChunk:
        return _RunningChunk(chunk, _least_busy(compiled, live), lane_inputs(chunk, stacked, seeds), state, turn)

    def advance(running: _RunningChunk) -> None:
        running.advance(ends, None if feeder is None else feeder.batches(running.turn, running.on.device))

    while waiting or live:
        while waiting and len(live) < most:
            live.append(start(waiting.popleft()))
            advance(live[-1])
        segments += len(live)
        under_way, live, partial, held, ending = live, [], [], [], []
        for running in under_way:
            before = running.n_running
            record.segment(running, *running.fetch())
            report(before * running.length, before - running.n_running)
            if running.n_running == 0 or running.turn == len(ends):
                running.finish(running.which.real)
                ending.append(running)
            elif running.n_running < program.shape.lanes:
                partial.append(running)
            else:
                live.append(running)
                advance(running)
        for together in _by_turn(partial):
            fewer = pack([trial for c in together for trial, _ in c.which.lanes(c.running)], program.shape)
            if len(fewer) < len(together):
                fresh = zip(fewer, gather_lanes(fewer, together), strict=True)
                for running in together:
                    ended = running.which.real & ~running.running
                    if ended.any():
                        running.finish(ended)
                        ending.append(running)
                turn, together = together[0].turn, []
                for chunk, state in fresh:
                    together.append(start(chunk, state, turn))
                    live.append(together[-1])
            else:
                live += together
            held += together
        _balance(live, compiled)
        for running in held:
            advance(running)
        if feeder is not None:
            feeder.forget([running.turn - 1 for running in live])
        for running in ending:
            left = running.n_running if running.turn == len(ends) else 0
            record.end(running)
            report(0, left)
    return record.outcome(segments)


class _RunningChunk:
    """One chunk on its device."""

    def __init__(self, chunk: Chunk, compiled: Compiled, inputs: Any, state: Any = None, turn: int = 0):
        self.which, self.on = chunk, compiled
        self._seeds, self._hp = jax.device_put(inputs, compiled.device)
        if state is None:
            self.state = compiled.init(self._seeds, compiled.table, self._hp)
        else:
            self.state = jax.device_put(state, compiled.device)
        self.turn, self.length = turn, 0
        self.running = self.wanted = chunk.real
        self._pending: Any = None

    @property
    def n_running(self) -> int:
        """Lanes, copies apart, that were running when last fetched."""
        return int(self.running.sum())

    def advance(self, ends: np.ndarray, fed: Batch | None) -> None:
        """Dispatches the next segment, on batches from the host or from the table."""
        start = int(ends[self.turn - 1]) if self.turn else 0
        self.length = int(ends[self.turn]) - start
        self.turn += 1
        numbers = jax.device_put((np.int32(start), np.int32(self.length)), self.on.device)
        self.state, *self._pending = self.on.advance(self._seeds, self.state, self.on.table, self._hp, *numbers, fed)

    def fetch(self) -> tuple[np.ndarray, np.ndarray]:
        """Waits for the segment, and returns status (seeds, arms) and metrics (metrics, seeds, arms)."""
        status, metrics = jax.device_get(self._pending)
        self.running = self.running & (status == Status.RUNNING)
        return status, metrics

    def finish(self, lanes: np.ndarray) -> None:
        """Dispatches the choice of the kept parameters and their test, of which these lanes are wanted."""
        self._pending = self.on.finish(self._seeds, self.state, self.on.table, self._hp)
        self.state, self.wanted = None, lanes

    def ended(self) -> Any:
        """Waits for that; the variables stay on the device."""
        params, model_state, counters, metrics = self._pending
        self._pending = None
        return (params, model_state), *jax.device_get((counters, metrics))

    def move(self, compiled: Compiled) -> None:
        """Goes on on another device."""
        self.on = compiled
        self._seeds, self._hp, self.state = jax.device_put((self._seeds, self._hp, self.state), compiled.device)


class _Record:
    """The results of a program's trials, filled in as they come."""

    def __init__(self, program: Program, n_seeds: int, evaluations: int, variables: bool):
        shape = (len(program.arms), n_seeds)
        self._names = program.functions.metric_names
        self._curves = np.full((len(self._names["advance"]), *shape, evaluations), np.nan, np.float32)
        self._finals = np.full((len(self._names["finish"]), *shape), np.nan, np.float32)
        self._status = np.full(shape, Status.RUNNING, np.int8)
        self._counters = np.zeros((*shape, 3), np.int64)
        self._keeps, self._variables = variables, None

    def segment(self, running: _RunningChunk, status: np.ndarray, metrics: np.ndarray) -> None:
        for (arm, seed), place in running.which.lanes():
            self._status[arm, seed] = status[place]
            self._curves[:, arm, seed, running.turn - 1] = metrics[(slice(None), *place)]

    def end(self, running: _RunningChunk) -> None:
        variables, counters, metrics = running.ended()
        host = jax.device_get(variables) if self._keeps else None
        n_arms, n_seeds = self._status.shape
        if self._keeps and self._variables is None:
            self._variables = jax.tree.map(lambda a: np.empty((n_arms * n_seeds, *a.shape[2:]), a.dtype), host)
        for (arm, seed), place in running.which.lanes(running.wanted):
            self._finals[:, arm, seed] = metrics[(slice(None), *place)]
            self._counters[arm, seed] = counters[place]
            for kept, leaf in zip(jax.tree.leaves(self._variables), jax.tree.leaves(host), strict=True):
                kept[arm * n_seeds + seed] = leaf[place]

    def outcome(self, segments: int) -> Outcome:
        self._status[self._status == Status.RUNNING] = Status.FINISHED
        self._finals[:, self._status == Status.DIVERGED] = np.nan
        return Outcome(
            curves=dict(zip(self._names["advance"], self._curves, strict=True)),
            finals=dict(zip(self._names["finish"], self._finals, strict=True)),
            status=self._status,
            best_step=self._counters[..., 0],
            first_bad_step=self._counters[..., 1],
            not_finite=self._counters[..., 2],
            variables=self._variables,
            segments=segments,
        )


def gather_lanes(chunks: Sequence[Chunk], sources: Sequence[_RunningChunk]) -> list[PyTree]:
    """Returns the states of chunks whose lanes are now in others, as host arrays."""
    places = {trial: (i, place) for i, source in enumerate(sources) for trial, place in source.which.lanes()}
    kinds = sources[0].state
    states = jax.device_get([jax.tree.map(_without_keys, source.state) for source in sources])

    def state_of(chunk: Chunk) -> PyTree:
        rows = zip(chunk.arms.tolist(), chunk.seeds.tolist(), strict=True)
        lanes = [[places[arm, seed] for arm in row] for row, seed in rows]

        def gathered(kind: Any, *leaves: Any) -> Any:
            found = np.array([[leaves[i][p] for i, p in row] for row in lanes])
            if is_key(kind):
                return jax.random.wrap_key_data(jnp.asarray(found), impl=jax.random.key_impl(kind))
            return found

        return jax.tree.map(gathered, kinds, *states)

    return [state_of(chunk) for chunk in chunks]


def _without_keys(a: Any) -> Any:
    """Returns random keys, which an optimizer may keep, as numbers."""
    return jax.random.key_data(a) if is_key(a) else a


def _by_turn(chunks: Sequence[_RunningChunk]) -> list[list[_RunningChunk]]:
    """Returns the chunks grouped by the updates that they have made, for only those can be one."""
    groups: dict[int, list[_RunningChunk]] = {}
    for chunk in chunks:
        groups.setdefault(chunk.turn, []).append(chunk)
    return list(groups.values())


def _load(compiled: Sequence[Compiled], live: Sequence[_RunningChunk]) -> dict[jax.Device, int]:
    busy = collections.Counter(chunk.on.device for chunk in live)
    return {c.device: busy[c.device] for c in compiled}


def _least_busy(compiled: Sequence[Compiled], live: Sequence[_RunningChunk]) -> Compiled:
    load = _load(compiled, live)
    return min(compiled, key=lambda c: load[c.device])


def _balance(live: Sequence[_RunningChunk], compiled: Sequence[Compiled]) -> None:
    """Moves chunks from busier devices to less busy ones while that evens them out."""
    load = _load(compiled, live)
    for chunk in live:
        idle = min(compiled, key=lambda c: load[c.device])
        if load[chunk.on.device] - load[idle.device] > 1:
            load[chunk.on.device] -= 1
            load[idle.device] += 1
            chunk.move(idle)
