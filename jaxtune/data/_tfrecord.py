"""TFRecord files, read without TensorFlow.

A record is its length (8 bytes, little-endian), the length's checksum (4), the data, and the data's checksum (4). Checksums
are CRC-32C, rotated right by 15 bits, plus 0xa282ead8 (TensorFlow, "TFRecord and tf.train.Example", format details).
"""

import functools as ft
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from jaxtune._errors import InputError

_BLOCK = 4096
"""Records whose checksums are computed together."""


def records(path: Path, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
    """Yields the records of a file from `start` to `stop`, having checked them.

    Raises:
      ValueError: the file ends within a record, or a checksum is wrong.
    """
    data = path.read_bytes()
    at, number, block = 0, 0, []
    while at < len(data) and (stop is None or number < stop):
        if at + 12 > len(data):
            raise _damaged(path, number, "the file ends within it")
        length, check = struct.unpack_from("<QI", data, at)
        if masked_crc([data[at : at + 8]])[0] != check:
            raise _damaged(path, number, "its length is not what was written")
        end = at + 12 + length
        if end + 4 > len(data):
            raise _damaged(path, number, "the file ends within it")
        if number >= start:
            block.append((number, data[at + 12 : end], struct.unpack_from("<I", data, end)[0]))
        if len(block) == _BLOCK:
            yield from _checked(path, block)
            block = []
        at, number = end + 4, number + 1
    yield from _checked(path, block)


def masked_crc(parts: Sequence[bytes]) -> np.ndarray:
    """Returns the masked CRC-32C of each byte string, all of them side by side."""
    lengths = np.array([len(part) for part in parts])
    longest = int(lengths.max(initial=0))
    padded = np.zeros((longest, len(parts)), np.uint8)
    for i, part in enumerate(parts):
        padded[: len(part), i] = np.frombuffer(part, np.uint8)
    table, crc = _table(), np.full(len(parts), 0xFFFFFFFF, np.uint32)
    order = np.argsort(-lengths, kind="stable")  # those that go on stay in front
    padded, sorted_lengths = padded[:, order], lengths[order]
    going = len(parts)
    for place in range(longest):
        while going and sorted_lengths[going - 1] <= place:
            going -= 1
        crc[:going] = (crc[:going] >> np.uint32(8)) ^ table[(crc[:going] ^ padded[place, :going]) & np.uint32(0xFF)]
    found = np.empty_like(crc)
    found[order] = ~crc
    rotated = (found >> np.uint32(15)) | (found << np.uint32(17))
    return rotated + np.uint32(0xA282EAD8)


@ft.cache
def _table() -> np.ndarray:
    """Returns the CRC-32C of each byte, for the reversed polynomial 0x82f63b78 (Castagnoli)."""
    values = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        values = np.where(values & 1, (values >> 1) ^ np.uint32(0x82F63B78), values >> 1).astype(np.uint32)
    return values


def _checked(path: Path, block: Sequence[tuple[int, bytes, int]]) -> Iterator[bytes]:
    if not block:
        return
    numbers, parts, checks = zip(*block, strict=True)
    wrong = masked_crc(parts) != np.array(checks, np.uint32)
    if wrong.any():
        raise _damaged(path, numbers[int(np.argmax(wrong))], "its bytes are not what was written")
    yield from parts


def _damaged(path: Path, number: int, reason: str) -> InputError:
    return InputError("file", str(path), f"record {number} is damaged: {reason}", "Prepare the data set anew.")
