"""The chunk shape that measures best, for those who ask."""

import statistics
import time
from typing import Any

import jax
import numpy as np

from jaxtune.sweep._experiment import Experiment
from jaxtune.sweep.lanes._compile import Compiled, compile_program
from jaxtune.sweep.programs._chunks import ChunkShape, lane_inputs, pack
from jaxtune.sweep.programs._programs import Convolution, Layout, LayoutOf, Program, build, same_for_all

SHAPES = (ChunkShape(1, 1), ChunkShape(4, 1), ChunkShape(1, 4), ChunkShape(2, 2), ChunkShape(8, 1), ChunkShape(1, 8))
"""What is tried."""

_SECONDS = 0.3  # of work per timing, so that a timing is longer than the scheduler's whims
_ROUNDS = 3


def measured_layout(experiment: Experiment, convolution: Convolution | None, device: jax.Device) -> LayoutOf:
    """Returns for every program the shape in which its trials take the least time on one device.

    A shape that stays partly empty is charged for it. Every shape is compiled, which takes seconds each.
    """
    times: dict[Any, dict[ChunkShape, float]] = {}
    seeds = len(experiment.seed_values)
    for shape in SHAPES:
        built = build(experiment, same_for_all(Layout(shape, convolution)))
        for program in built.programs:
            (compiled,) = compile_program(program, built.table, [device])
            cost = _seconds_per_step(program, experiment, compiled) * program.chunks(seeds)
            times.setdefault(tuple(program.static.items()), {})[shape] = cost
    best = {static: Layout(min(costs, key=lambda s: costs[s]), convolution) for static, costs in times.items()}
    return lambda static: best.get(tuple(static.items()), Layout(None, convolution))


def _seconds_per_step(program: Program, experiment: Experiment, compiled: Compiled) -> float:
    """Returns the time of an update of one chunk, the median of some timings."""
    trials = [(arm, seed) for arm in range(len(program.arms)) for seed in range(len(experiment.seed_values))]
    chunk = pack(trials, program.shape)[0]
    inputs = lane_inputs(chunk, experiment.space.stacked(program.arms), experiment.seed_values)
    seeds, hp = jax.device_put(inputs, compiled.device)
    state = compiled.init(seeds, compiled.table, hp)

    def timed(state: Any, length: int) -> tuple[Any, float]:
        numbers = jax.device_put((np.int32(0), np.int32(length)), compiled.device)
        began = time.perf_counter()
        state, *rest = compiled.advance(seeds, state, compiled.table, hp, *numbers, None)
        jax.block_until_ready(rest)
        return state, time.perf_counter() - began

    state, _ = timed(state, 2)
    state, short = timed(state, 10)
    length = max(20, int(10 * _SECONDS / max(short, 1e-6)))
    taken = []
    for _ in range(_ROUNDS):
        state, seconds = timed(state, length)
        taken.append(seconds / length)
    return statistics.median(taken)
