"""Runs the chunks of a program on the devices.

Every device runs the same single-device program, dispatched from one thread; so the bits of a trial do not depend on
how many devices there are. JAX dispatches asynchronously: while the host reads one chunk's metrics the devices are at
work on others, and of a streamed call on the next one. A chunk that has ended makes room for one that waits; of chunks that have lost lanes, the lanes are
packed into fewer.
"""

import collections
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from jaxtune._errors import first_line
from jaxtune._types import PyTree
from jaxtune.data.batches._table import Table
from jaxtune.sweep._experiment import Experiment
from jaxtune.sweep.lanes._causes import Causes
from jaxtune.sweep.lanes._compile import Compiled
from jaxtune.sweep.lanes._feed import Feeder
from jaxtune.sweep.lanes._record import Fetched, Outcome, Record
from jaxtune.sweep.lanes._standing import Saving, Standing, with_keys, without_keys
from jaxtune.sweep.programs._chunks import Chunk, lane_inputs, pack
from jaxtune.sweep.programs._programs import Program
from jaxtune.training import Status
from jaxtune.training._replay import Cause
from jaxtune.training._turns import Fed, Turns, turns_of


def run_program(
    program: Program,
    experiment: Experiment,
    compiled: Sequence[Compiled],
    evaluations: np.ndarray,
    variables: bool,
    report: Callable[[int, int], None],
    at_once: int | None = None,
    resumed: PyTree = None,
    saving: Saving | None = None,
    share: tuple[int, int] = (0, 1),
) -> Outcome:
    """Returns the outcome of all trials of a program, or of those that are this process's to train.

    Args:
      program: the program.
      experiment: what it is part of.
      compiled: its functions, for each device.
      evaluations: the updates after which is evaluated, the last being all.
      variables: whether to fetch the kept variables.
      report: called with the numbers of updates made and of trials ended since the last call.
      at_once: most chunks under way; None is all.
      resumed: where an earlier run has stopped, as it was handed to `saving`; None begins.
      saving: is handed where the trials stand, whenever it is due, as a tree that nobody changes any more.
      share: which process this is, and how many there are: each trains every so-manieth chunk.
    """
    seeds = experiment.seed_values
    stacked = experiment.space.stacked(program.arms)
    record = Record(program, len(seeds), len(evaluations), variables)
    standing = Standing(program, experiment, compiled[0].table)
    everyone = [(arm, seed) for arm in range(len(program.arms)) for seed in range(len(seeds))]
    chunks = pack(everyone, program.shape)[share[0] :: share[1]]
    mine = {trial for chunk in chunks for trial, _ in chunk.lanes()}
    under_way = [] if resumed is None else standing.restore(record, resumed, mine)
    known = {trial for chunk, *_ in under_way for trial, _ in chunk.lanes()}
    new = [trial for trial in everyone if trial in mine and not record.ended[trial] and trial not in known]
    waiting = collections.deque([*under_way, *((chunk, None, 0) for chunk in pack(new, program.shape))])
    most = at_once or max(len(waiting), 1)
    turns = turns_of(evaluations, None if program.feed is None else program.feed.most)
    done = sum(turns.start(turn) * int(chunk.real.sum()) for chunk, _, turn in under_way)
    report(done + int(evaluations[-1]) * int(record.ended.sum()), int(record.ended.sum()))
    feeder = None if program.feed is None else Feeder(program.feed, turns)
    causes = Causes(program, compiled[0], turns)
    live: list[_RunningChunk] = []

    def start(chunk: Chunk, state: PyTree = None, turn: int = 0) -> _RunningChunk:
        return _RunningChunk(chunk, _least_busy(compiled, live), lane_inputs(chunk, stacked, seeds), state, turn)

    def advance(running: _RunningChunk) -> None:
        running.advance(turns, None if feeder is None else feeder.fed(running.turn, running.on.device))

    while waiting or live:
        while waiting and len(live) < most:
            live.append(start(*waiting.popleft()))
            advance(live[-1])
        saves = saving is not None and saving.due
        if saves:
            idle = [(chunk, turn, state) for chunk, state, turn in waiting if state is not None]  # resumed, and wait
            begun = [*(running.which for running in live), *(chunk for chunk, *_ in idle)]
            standing.make_room(sum(int(chunk.real.sum()) for chunk in begun))
            for stood in idle:
                standing.note(*stood)
        elif feeder is not None:
            for running in live:
                if running.may_go_ahead(turns):
                    advance(running)
        going, live, partial, held, ending = live, [], [], [], []
        for running in going:
            for _ in range(running.n_pending if saves else 1):
                before = running.n_running
                fetched = running.fetch()
                record.segment(running.which, turns, fetched)
                report(before * turns.length(fetched.turn), before - running.n_running)
            if running.n_pending:  # where it stands is known when that has ended
                live.append(running)
                continue
            if saves and running.n_running and running.turn < len(turns.ends):
                standing.note(running.which, running.turn, running.state)
            if running.n_running == 0 or running.turn == len(turns.ends):
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
            left = running.n_running if running.turn == len(turns.ends) else 0
            variables, counters, metrics = running.ended()
            record.end(running.which, running.wanted, variables, counters, metrics, running.causes(causes))
            report(0, left)
        if saves and saving is not None:
            saving.save(standing.take(record))
    if saving is not None:
        saving.close(standing.take(record))
    return record.outcome()


def ended_outcome(
    program: Program, experiment: Experiment, table: Table, evaluations: np.ndarray, variables: bool, stood: PyTree
) -> Outcome:
    """Returns the outcome of a program all of whose trials had ended; nothing is run."""
    record = Record(program, len(experiment.seed_values), len(evaluations), variables)
    Standing(program, experiment, table).restore(record, stood)
    return record.outcome()


class _RunningChunk:
    """One chunk on its device."""

    def __init__(self, chunk: Chunk, compiled: Compiled, inputs: Any, state: Any = None, turn: int = 0):
        self.which, self.on = chunk, compiled
        self._seeds, self._hp = jax.device_put(inputs, compiled.device)
        if state is None:
            self.state = compiled.init(self._seeds, compiled.table, self._hp)
        else:
            self.state = jax.device_put(state, compiled.device)
        self.turn = turn
        self.running = self.wanted = chunk.real
        self._status = np.full(chunk.real.shape, Status.RUNNING)
        self._fallen: PyTree = None
        self._pending: collections.deque[Any] = collections.deque()
        self._last: Any = None

    @property
    def n_running(self) -> int:
        """Lanes, copies apart, that were running when last fetched."""
        return int(self.running.sum())

    @property
    def n_pending(self) -> int:
        """Segments that were dispatched and not fetched."""
        return len(self._pending)

    def may_go_ahead(self, turns: Turns) -> bool:
        """Returns whether to dispatch the next segment while one is under way, which keeps the device from waiting.

        Not where an evaluation ends that one, for lanes may stop there; and never two.
        """
        return self.n_pending == 1 and self.n_running > 0 and not turns.measured[self.turn - 1]

    def advance(self, turns: Turns, fed: Fed | None) -> None:
        """Dispatches the next segment, on batches from the host or from the table."""
        numbers = jax.device_put((np.int32(turns.start(self.turn)), np.int32(turns.length(self.turn))), self.on.device)
        self.turn += 1
        self.state, *pending = self.on.advance(self._seeds, self.state, self.on.table, self._hp, *numbers, fed)
        self._pending.append(pending)

    def fetch(self) -> Fetched:
        """Waits for the first of the pending segments, and returns what it has come to."""
        turn = self.turn - self.n_pending
        status, metrics = jax.device_get(self._pending.popleft())
        self._status, self.running = status, self.running & (status == Status.RUNNING)
        return Fetched(turn, status, metrics)

    def finish(self, lanes: np.ndarray) -> None:
        """Dispatches the choice of the kept parameters and their test, of which these lanes are wanted."""
        self._last = self.on.finish(self._seeds, self.state, self.on.table, self._hp)
        self._fallen = self.state if (lanes & (self._status == Status.DIVERGED)).any() else None
        self.state, self.wanted = None, lanes

    def ended(self) -> Any:
        """Waits for that; the variables stay on the device."""
        params, model_state, counters, metrics = self._last
        self._last = None
        return (params, model_state), *jax.device_get((counters, metrics))

    def causes(self, causes: Causes) -> Cause | None:
        """Returns why those of its lanes that are wanted have diverged, None if none has."""
        state, self._fallen = self._fallen, None
        if state is None:
            return None
        try:
            return causes.of(self._seeds, self._hp, state, self.wanted & (self._status == Status.DIVERGED))
        except (jax.errors.JaxRuntimeError, MemoryError) as error:  # the trials have ended all the same
            what = "why trials have diverged is known only roughly, for their last updates could not be made again"
            warnings.warn(f"{what} ({first_line(error) or type(error).__name__})", RuntimeWarning, stacklevel=2)
            return None

    def move(self, compiled: Compiled) -> None:
        """Goes on on another device."""
        self.on = compiled
        self._seeds, self._hp, self.state = jax.device_put((self._seeds, self._hp, self.state), compiled.device)


def gather_lanes(chunks: Sequence[Chunk], sources: Sequence[_RunningChunk]) -> list[PyTree]:
    """Returns the states of chunks whose lanes are now in others, as host arrays."""
    places = {trial: (i, place) for i, source in enumerate(sources) for trial, place in source.which.lanes()}
    kinds = sources[0].state
    states = jax.device_get([jax.tree.map(without_keys, source.state) for source in sources])

    def state_of(chunk: Chunk) -> PyTree:
        rows = zip(chunk.arms.tolist(), chunk.seeds.tolist(), strict=True)
        lanes = [[places[arm, seed] for arm in row] for row, seed in rows]

        def gathered(kind: Any, *leaves: Any) -> Any:
            return with_keys(kind, np.array([[leaves[i][p] for i, p in row] for row in lanes]))

        return jax.tree.map(gathered, kinds, *states)

    return [state_of(chunk) for chunk in chunks]


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
