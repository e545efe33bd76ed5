"""The chunk shape that a program gets where none is given by hand."""

from jaxtune.sweep.programs._chunks import ChunkShape
from jaxtune.sweep.programs._probe import Probe

_WIDEST = 1024
"""Most lanes in a chunk on an accelerator: not measured, a round number."""


def default_chunk(told: Probe, platform: str, arms: int, seeds: int, devices: int) -> ChunkShape:
    """Returns the chunk shape of a program.

    On a CPU it follows from the program alone, for shapes change bits. Where it convolves, each trial runs by itself:
    lanes side by side share little but room in the cache. Else, where a step draws random numbers, four arms share the
    draws of one seed; and where it does not, there are four seeds of one arm, so that any four trials fill a chunk. On an
    accelerator the lanes are as wide as the experiment, so that each device gets one chunk.

    Args:
      told: what a lane's trace tells of the program.
      platform: where it is to run.
      arms: number of arms of the program.
      seeds: number of seeds.
      devices: number of devices.
    """
    if platform == "cpu":
        if told.convolves:
            return ChunkShape(1, 1)
        return ChunkShape(4, 1) if told.draws else ChunkShape(1, 4)
    if not told.draws:
        return ChunkShape(1, _even(-(-arms * seeds // devices), _WIDEST))
    wide = _even(arms, _WIDEST)
    rows = seeds * -(-arms // wide)
    return ChunkShape(wide, _even(-(-rows // devices), max(1, _WIDEST // wide)))


def _even(n: int, most: int) -> int:
    """Returns the size of equal parts of n, of which none is larger than `most`."""
    return -(-n // -(-n // most))
