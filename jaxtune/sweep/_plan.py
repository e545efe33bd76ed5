"""What a run will do, known before anything compiles."""

import dataclasses

from jaxtune._errors import InputTypeError
from jaxtune._tree import size_bytes
from jaxtune.sweep._chunks import ChunkShape, chunk_shape, chunks
from jaxtune.sweep._devices import lane_devices
from jaxtune.sweep._experiment import Experiment
from jaxtune.sweep._programs import Built, Program, build
from jaxtune.sweep._use import duplicates


@dataclasses.dataclass(frozen=True)
class ProgramPlan:
    """One program of a plan.

    Attributes:
      static: labels of its static hyperparameters.
      arms: number of arms.
      trials: number of trials.
      chunk: arms and seeds that run together.
      chunks: number of chunks.
      devices: number of devices that it runs on; each compiles it anew, so a short program takes fewer than there are.
      full: share of the lanes that are occupied, in (0, 1].
      flops: floating-point operations in matrix products of one update of one trial.
      state_bytes: bytes of the training state of one trial.
      variable_bytes: bytes of the variables that are kept of one trial.
    """

    static: dict[str, object]
    arms: int
    trials: int
    chunk: ChunkShape
    chunks: int
    devices: int
    full: float
    flops: int
    state_bytes: int
    variable_bytes: int


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a run will do. `print` it.

    Attributes:
      programs: the programs; each is compiled once per device.
      failures: number of programs whose recipe raised.
      arms: number of arms.
      seeds: number of seeds.
      steps: updates per trial.
      eval_every: updates between evaluations.
      devices: names of the devices.
      data_bytes: bytes of the data on each device.
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
    duplicates: dict[int, int]

    @property
    def trials(self) -> int:
        """Number of trials: arms times seeds."""
        return self.arms * self.seeds

    @property
    def bytes(self) -> int:
        """Bytes held at once: training state of all trials and the data on every device."""
        lanes = sum(p.chunks * p.chunk.lanes * p.state_bytes for p in self.programs)
        return lanes + self.data_bytes * len(self.devices)

    @property
    def flops(self) -> int:
        """Floating-point operations in the matrix products of all updates of all trials."""
        return sum(p.flops * p.trials * self.steps for p in self.programs)

    def __str__(self) -> str:
        head = (
            f"{self.arms} arms x {self.seeds} seeds = {self.trials} trials of {self.steps} updates, evaluated every {self.eval_every}\n"
            f"{_count(len(self.programs), 'program')}; {_count(len(self.devices), 'device')} ({', '.join(self.devices)}); "
            f"{_si(self.bytes, 'B')} of state and data; {_si(self.flops, 'FLOP')} in matrix products"
        )
        table: list[tuple[str, ...]] = [
            (
                "program",
                "arms",
                "trials",
                "arms x seeds",
                "chunks",
                "lanes full",
                "devices",
                "FLOP/update",
                "state/trial",
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
                p.devices,
                _si(p.flops, ""),
                _si(p.state_bytes, "B"),
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
        if self.duplicates:
            notes.append(
                f"{_count(len(self.duplicates), 'arm')} repeat another: their program does not use the axes in which they differ"
            )
        if self.failures:
            notes.append(f"{_count(self.failures, 'program')} failed while being traced")
        return "\n".join([head, *lines, *notes])


def plan(experiment: Experiment, *, chunk: tuple[int, int] | None = None) -> Plan:
    """Returns what `jt.run` will do: programs, trials, lanes, bytes and FLOPs. Nothing is compiled.

    Args:
      experiment: the experiment.
      chunk: (arms, seeds) that run together in every program, in place of the default. It changes bits.

    Raises:
      ValueError, TypeError: all that `jt.run` refuses: numbers out of range, axes that nothing uses, traced values used
        as Python numbers, models that do not fit the data.
    """
    if not isinstance(experiment, Experiment):
        raise InputTypeError(
            "experiment", type(experiment).__name__, "it is no jt.Experiment", "Pass jt.Experiment(...)."
        )
    devices = lane_devices()
    built = build(experiment, chunk_shape(chunk))
    return Plan(
        programs=tuple(_describe(p, experiment, built, len(devices)) for p in built.programs),
        failures=len(built.failures),
        arms=len(experiment.space),
        seeds=len(experiment.seed_values),
        steps=built.steps,
        eval_every=built.eval_every,
        devices=tuple(f"{d.platform}:{d.id}" for d in devices),
        data_bytes=size_bytes(built.table),
        duplicates=duplicates(experiment.space, built.programs),
    )


def _describe(program: Program, experiment: Experiment, built: Built, available: int) -> ProgramPlan:
    seeds = len(experiment.seed_values)
    trials, n = len(program.arms) * seeds, len(chunks(len(program.arms), seeds, program.shape))
    return ProgramPlan(
        static=program.static,
        arms=len(program.arms),
        trials=trials,
        chunk=program.shape,
        chunks=n,
        devices=program.devices_worth_using(available, seeds, built.steps),
        full=trials / (n * program.shape.lanes),
        flops=program.probe.flops,
        state_bytes=program.probe.state_bytes,
        variable_bytes=program.probe.variable_bytes,
    )


def _emptiness(i: int, program: ProgramPlan, seeds: int) -> str:
    """Returns what to do about lanes that stay empty, if a chunk of other shape with as many lanes has fewer."""
    lanes = program.chunk.lanes
    shapes = [ChunkShape(a, lanes // a) for a in range(1, lanes + 1) if lanes % a == 0]
    full = {s: program.trials / (len(chunks(program.arms, seeds, s)) * s.lanes) for s in shapes}
    best = max(full, key=lambda s: full[s])
    if program.full > 0.75 or full[best] <= program.full:
        return ""
    return f"program {i}: {1 - program.full:.0%} of its lanes stay empty; with chunk={tuple(best)} it would be {1 - full[best]:.0%}"


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _si(value: float, unit: str) -> str:
    for prefix in ("", "k", "M", "G", "T"):
        if value < 1000:
            return f"{value:.3g} {prefix}{unit}".rstrip()
        value /= 1000
    return f"{value:.3g} P{unit}"
