"""What a run will do, known before anything compiles."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import jax

from jaxtune import _check
from jaxtune._errors import InputTypeError
from jaxtune._tree import size_bytes
from jaxtune.data import Stream
from jaxtune.sweep._experiment import Experiment
from jaxtune.sweep._layout import layout_given
from jaxtune.sweep._streaming import placed
from jaxtune.sweep.lanes._devices import lane_devices
from jaxtune.sweep.lanes._memory import Memory, kept_bytes, memory_budget, predict_memory, si
from jaxtune.sweep.programs._chunks import ChunkShape, count_chunks
from jaxtune.sweep.programs._programs import Built, Convolution, Program, build
from jaxtune.sweep.programs._use import duplicates


@dataclasses.dataclass(frozen=True)
class ProgramPlan:
    """One program of a plan.

    Attributes:
      static: labels of its static hyperparameters.
      arms: number of arms.
      trials: number of trials.
      chunk: arms and seeds that run together.
      chunks: number of chunks.
      convolution: how convolutions are computed, None where there are none.
      full: share of the lanes that are occupied, in (0, 1].
      memory: the bytes that it holds.
      flops: floating-point operations in matrix products of one update of one trial.
      state_bytes: bytes of the training state of one trial.
      variable_bytes: bytes of the variables that are kept of one trial.
    """

    static: dict[str, object]
    arms: int
    trials: int
    chunk: ChunkShape
    chunks: int
    convolution: Convolution | None
    full: float
    memory: Memory
    flops: int
    state_bytes: int
    variable_bytes: int


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a run will do. `print` it.

    Attributes:
      programs: the programs; each is compiled once, and they run one after the other.
      failures: number of programs whose recipe raised.
      arms: number of arms.
      seeds: number of seeds.
      steps: updates per trial.
      eval_every: updates between evaluations.
      devices: names of the devices.
      data_bytes: bytes of the data on each device, which those of a CPU share, without what is streamed.
      streamed_examples: number of training examples that are streamed, 0 if they are on the devices.
      duplicates: arms that repeat another arm, by its number.
    """

    programs: tuple[ProgramPlan, ...]
    failures: int
    arms: int
    seeds: int
    steps: int
    eval_every: int
    devices: tuple[str, ...]
    data_bytes: int
    streamed_examples: int
    duplicates: dict[int, int]

    @property
    def trials(self) -> int:
        """Number of trials: arms times seeds."""
        return self.arms * self.seeds

    @property
    def bytes(self) -> int:
        """Bytes held at once, by the program that holds most."""
        return max((p.memory.total for p in self.programs), default=0)

    @property
    def flops(self) -> int:
        """Floating-point operations in the matrix products of all updates of all trials."""
        return sum(p.flops * p.trials * self.steps for p in self.programs)

    def __str__(self) -> str:
        head = (
            f"{self.arms} arms x {self.seeds} seeds = {self.trials} trials of {self.steps} updates, evaluated every {self.eval_every}\n"
            f"{_count(len(self.programs), 'program')}; {_count(len(self.devices), 'device')} ({', '.join(self.devices)}); "
            f"{si(self.bytes, 'B')} held at once; {si(self.flops, 'FLOP')} in matrix products"
        )
        table: list[tuple[str, ...]] = [
            (
                "program",
                "arms",
                "trials",
                "arms x seeds",
                "chunks",
                "lanes full",
                "waves",
                "FLOP/update",
                "state/trial",
                "memory",
            )
        ]
        for i, p in enumerate(self.programs):
            static = ", ".join(f"{k}={v}" for k, v in p.static.items())
            row = (
                p.arms,
                p.trials,
                f"{p.chunk.arms} x {p.chunk.seeds}",
                p.chunks,
                f"{p.full:.0%}",
                p.memory.waves,
                si(p.flops, ""),
                si(p.state_bytes, "B"),
                si(p.memory.total, "B"),
            )
            table.append((f"{i}: {static}" if static else str(i), *(str(c) for c in row)))
        widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
        lines = [
            "  ".join(
                cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            )
            for row in table
        ]
        notes = [note for i, p in enumerate(self.programs) if (note := _emptiness(i, p, self.seeds))]
        forms = {"patches": "as patches times a matrix", "native": "by XLA's own operation"}
        notes += [
            f"program {i}: convolutions {forms[p.convolution]}" for i, p in enumerate(self.programs) if p.convolution
        ]
        notes += [
            f"program {i}: {p.memory.at_once} of {p.chunks} chunks at once, for {si(p.memory.budget, 'B')} of memory"
            for i, p in enumerate(self.programs)
            if p.memory.short
        ]
        notes += [
            f"program {i}: on {p.memory.devices} of {_count(len(self.devices), 'device')}, for {si(p.memory.budget, 'B')} of memory"
            for i, p in enumerate(self.programs)
            if p.memory.devices < min(len(self.devices), p.chunks)
        ]
        if self.streamed_examples:
            notes.append(f"{self.streamed_examples} training examples are streamed: all trials see the same batches")
        if self.duplicates:
            notes.append(
                f"{_count(len(self.duplicates), 'arm')} repeat another: their program does not use the axes in which they differ"
            )
        if self.failures:
            notes.append(f"{_count(self.failures, 'program')} failed while being traced")
        return "\n".join([head, *lines, *notes])


def plan(
    experiment: Experiment,
    *,
    chunk: tuple[int, int] | Literal["measure"] | None = None,
    convolution: Convolution | None = None,
    memory: int | None = None,
) -> Plan:
    """Returns what `jt.run` will do: programs, trials, lanes, bytes and FLOPs. Nothing is compiled.

    Args:
      experiment: the experiment.
      chunk: (arms, seeds) that run together in every program, in place of the default. It changes bits. `"measure"`
        compiles and times some shapes, and takes the fastest.
      convolution: `"patches"` computes convolutions as patches times a matrix, the default on CPUs; `"native"` by XLA's
        own operation, the default elsewhere.
      memory: bytes that the run may hold, as for `jt.run`; None is half of what is free. The variables of all trials are
        counted as kept.

    Raises:
      ValueError, TypeError: all that `jt.run` refuses: numbers out of range, axes that nothing uses, traced values used
        as Python numbers, models that do not fit the data or the memory.
    """
    if not isinstance(experiment, Experiment):
        raise InputTypeError(
            "experiment", type(experiment).__name__, "it is no jt.Experiment", "Pass jt.Experiment(...)."
        )
    devices = lane_devices()
    budget = memory_budget(devices) if memory is None else _check.count("memory", memory)
    experiment = placed(experiment, budget)
    built = build(experiment, layout_given(experiment, chunk, convolution, devices))
    return Plan(
        programs=tuple(_describe(p, experiment, built, devices, budget) for p in built.programs),
        failures=len(built.failures),
        arms=len(experiment.space),
        seeds=len(experiment.seed_values),
        steps=built.steps,
        eval_every=built.eval_every,
        devices=tuple(f"{d.platform}:{d.id}" for d in devices),
        data_bytes=size_bytes(built.table),
        streamed_examples=len(experiment.data.train) if isinstance(experiment.data.train, Stream) else 0,
        duplicates=duplicates(experiment.space, built.programs),
    )


def _describe(
    program: Program, experiment: Experiment, built: Built, devices: Sequence[jax.Device], budget: int
) -> ProgramPlan:
    seeds = len(experiment.seed_values)
    trials, n = len(program.arms) * seeds, program.chunks(seeds)
    kept = kept_bytes(built.programs, seeds)
    memory = predict_memory(program, seeds, size_bytes(built.table), devices, budget, kept)
    memory.check(program.shape)
    return ProgramPlan(
        static=program.static,
        arms=len(program.arms),
        trials=trials,
        chunk=program.shape,
        chunks=n,
        convolution=program.convolution,
        full=trials / (n * program.shape.lanes),
        memory=memory,
        flops=program.probe.flops,
        state_bytes=program.probe.state_bytes,
        variable_bytes=program.probe.variable_bytes,
    )


def _emptiness(i: int, program: ProgramPlan, seeds: int) -> str:
    """Returns what to do about lanes that stay empty, if a chunk of other shape with as many lanes has fewer."""
    lanes = program.chunk.lanes
    shapes = [ChunkShape(a, lanes // a) for a in range(1, lanes + 1) if lanes % a == 0]
    full = {s: program.trials / (count_chunks(program.arms, seeds, s) * s.lanes) for s in shapes}
    best = max(full, key=lambda s: full[s])
    if program.full > 0.75 or full[best] <= program.full:
        return ""
    return f"program {i}: {1 - program.full:.0%} of its lanes stay empty; with chunk={tuple(best)} it would be {1 - full[best]:.0%}"


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"
