"""How programs are laid out: by hand, by measurement, or as the program itself suggests."""

from collections.abc import Sequence
from typing import Literal

import jax

from jaxtune import _check
from jaxtune._errors import InputError
from jaxtune.data import Stream
from jaxtune.sweep._experiment import Experiment
from jaxtune.sweep.programs._chunks import ChunkShape
from jaxtune.sweep.programs._programs import Convolution, Layout, LayoutOf, same_for_all


def layout_given(
    experiment: Experiment,
    chunk: tuple[int, int] | Literal["measure"] | None,
    convolution: Convolution | None,
    devices: Sequence[jax.Device],
) -> LayoutOf:
    """Returns the layout of every program, from the arguments of `jt.run` and `jt.plan`.

    Args:
      experiment: the experiment.
      chunk: arms and seeds that run together, `"measure"`, or None.
      convolution: how convolutions are computed, or None.
      devices: where it is to run.

    Raises:
      ValueError: arguments that cannot be used.
    """
    if convolution not in (None, "patches", "native"):
        raise InputError("convolution", convolution, "there is no such form", "Pass 'patches', 'native' or None.")
    if chunk == "measure" and isinstance(experiment.data.train, Stream):
        raise InputError("chunk", chunk, "training examples are streamed", "Pass (arms, seeds), or None.")
    if chunk == "measure":
        from jaxtune.sweep._measure import measured_layout

        return measured_layout(experiment, convolution, devices[0])
    return same_for_all(Layout(_chunk_shape(chunk), convolution))


def _chunk_shape(chunk: tuple[int, int] | str | None) -> ChunkShape | None:
    if chunk is None:
        return None
    if not isinstance(chunk, tuple | list) or len(chunk) != 2:
        raise InputError("chunk", chunk, "a chunk is arms x seeds", "Pass (4, 1), say, 'measure', or None.")
    return ChunkShape(*(_check.count("chunk", n) for n in chunk))
