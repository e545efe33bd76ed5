"""How many bytes a run holds, and how many chunks may be under way at once."""

from collections.abc import Sequence
from typing import NamedTuple

import jax

from jaxtune._errors import InputError
from jaxtune._machine import free_memory
from jaxtune._tree import size_bytes
from jaxtune.sweep.programs._chunks import ChunkShape
from jaxtune.sweep.programs._programs import Program

_SHARE = 0.5
"""Of the memory that is free, what a run may take if nothing is said."""

_MOST = 16
"""Chunks under way per device: enough to keep it busy while the host reads results, and to pack lanes where others stop.

More would only hold memory, and make checkpoints larger. With half as many, trials that stop early take a tenth more calls.
"""

_PIECES = 3
"""Of a stream: batches in use, batches of the call ahead, and those that are made."""


class Memory(NamedTuple):
    """What a program holds, predicted before it is compiled. All in bytes.

    Attributes:
      chunk: training state of one chunk.
      work: what one chunk computes with, per device: activations, gradients, a batch.
      data: the data, per device that has memory of its own.
      shared: the data that all devices share, as those of a CPU do.
      kept: variables of all trials of all programs that stay, on the host.
      budget: what may be taken.
      chunks: number of chunks of the program.
      devices: number of devices.
    """

    chunk: int
    work: int
    data: int
    shared: int
    kept: int
    budget: int
    chunks: int
    devices: int

    @property
    def fixed(self) -> int:
        """What is held whatever the number of chunks under way."""
        return self.kept + self.shared + self.devices * (self.data + self.work)

    @property
    def at_once(self) -> int:
        """How many chunks may be under way, at least 1 where the program fits at all."""
        return min(self._useful, max(0, self.budget - self.fixed) // max(self.chunk, 1))

    @property
    def short(self) -> bool:
        """Whether more chunks would be under way if there were more memory."""
        return self.at_once < self._useful

    @property
    def _useful(self) -> int:
        return min(self.chunks, _MOST * self.devices)

    @property
    def waves(self) -> int:
        """How many times chunks have to wait for others to end, plus one."""
        return -(-self.chunks // max(self.at_once, 1))

    @property
    def total(self) -> int:
        """What is held at once."""
        return self.fixed + max(self.at_once, 1) * self.chunk

    def check(self, shape: ChunkShape) -> None:
        """Refuses a program of which not even one chunk fits.

        Raises:
          ValueError: what is needed, what there is, and what to do.
        """
        if self.at_once < 1:
            raise InputError(
                "memory",
                si(self.budget, "B"),
                f"a single chunk of {shape.arms} arms x {shape.seeds} seeds needs {si(self.total, 'B')}: {si(self.chunk, 'B')} of training "
                f"state, {si(self.devices * self.work, 'B')} to compute with, {si(self.shared + self.devices * self.data, 'B')} of data, "
                f"{si(self.kept, 'B')} of kept variables",
                "Use fewer lanes (chunk=(1, 1)), a smaller batch or model, keep=None, fewer devices, or pass memory= in bytes.",
            )


def predict_memory(
    program: Program, seeds: int, table: int, devices: Sequence[jax.Device], budget: int, kept: int
) -> Memory:
    """Returns what a program will hold, on as many devices as have room for a chunk each.

    Args:
      program: the program.
      seeds: number of seeds.
      table: bytes of the data that is on the devices.
      devices: the devices there are.
      budget: bytes that may be taken.
      kept: bytes of the variables that are kept of all programs.
    """
    lanes, chunks = program.shape.lanes, program.chunks(seeds)
    data = table + (0 if program.fed is None else _PIECES * size_bytes(program.fed))
    shares = devices[0].platform == "cpu"
    memory = Memory(
        chunk=lanes * program.probe.state_bytes,
        work=lanes * program.probe.work_bytes,
        data=0 if shares else data,
        shared=data if shares else 0,
        kept=kept,
        budget=budget,
        chunks=chunks,
        devices=min(len(devices), chunks),
    )
    while memory.devices > 1 and memory.at_once < memory.devices:
        memory = memory._replace(devices=memory.devices - 1)
    return memory


def kept_bytes(programs: Sequence[Program], seeds: int) -> int:
    """Returns the bytes of the variables of all trials."""
    return sum(len(p.arms) * seeds * p.probe.variable_bytes for p in programs)


def memory_budget(devices: Sequence[jax.Device]) -> int:
    """Returns half of the bytes that are free: of the machine's memory for CPU devices, else of the devices' own."""
    stats = [d.memory_stats() or {} for d in devices] if devices[0].platform != "cpu" else []
    if stats and all("bytes_limit" in s for s in stats):
        return int(_SHARE * sum(s["bytes_limit"] - s.get("bytes_in_use", 0) for s in stats))
    return int(_SHARE * free_memory())


def si(value: float, unit: str) -> str:
    """Returns a number with a decimal prefix and its unit, in three digits."""
    for prefix in ("", "k", "M", "G", "T"):
        if value < 1000:
            return f"{value:.3g} {prefix}{unit}".rstrip()
        value /= 1000
    return f"{value:.3g} P{unit}"
