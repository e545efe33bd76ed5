"""Grain, which reads batches ahead in threads; the only file that imports it."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from jaxtune._errors import InputError

T = TypeVar("T")

_THREADS = 2
"""What reads and decodes beside the devices: more would take CPU devices their cores."""

_AHEAD = 8
"""Results that are read ahead."""


def read_ahead(read: Callable[[int], T], numbers: Sequence[int]) -> Iterator[T]:
    """Yields `read(n)` for all numbers in their order, read ahead in threads.

    Raises:
      ValueError: Grain is not installed.
    """
    grain = _grain()
    options = grain.ReadOptions(num_threads=_THREADS, prefetch_buffer_size=_AHEAD)
    return iter(grain.MapDataset.source(numbers).map(read).to_iter_dataset(options))


def check_grain() -> None:
    """Refuses to stream where Grain is not installed.

    Raises:
      ValueError: it is not.
    """
    _grain()


def _grain() -> Any:
    try:
        import grain
    except ImportError as error:
        reason = "batches are read ahead by the package grain, which is not installed"
        raise InputError("train", "a stream", reason, "Install it: pip install 'jaxtune[stream]'.") from error
    return grain
