"""Arrays that all devices of one CPU share with the host."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

_ALIGNMENT = 64
"""Bytes; what XLA asks of the memory of an array on a CPU."""


def aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Returns zeros where JAX's CPU devices take them without a copy, which costs more than to read a batch."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    raw = np.zeros(size + _ALIGNMENT, np.uint8)
    offset = -raw.ctypes.data % _ALIGNMENT
    return raw[offset : offset + size].view(dtype).reshape(shape)


def joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Returns arrays behind each other, as `np.concatenate`, in such a place."""
    shape = (sum(len(a) for a in arrays), *arrays[0].shape[1:])
    return np.concatenate(arrays, out=aligned(shape, np.result_type(*arrays)))
