"""TFRecord files, read without TensorFlow.

A record is its length (8 bytes, little-endian), the length's checksum (4), the data, and the data's checksum (4). Checksums
are CRC-32C, rotated right by 15 bits, plus 0xa282ead8 (TensorFlow, "TFRecord and tf.train.Example", format details).
"""

import functools as ft
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

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


class Records(NamedTuple):
    """The records of some files, by their number, from any thread.

    Attributes:
      paths: the files.
      places: file, offset, length and number in the file of each record, shape (records, 4).
    """

    paths: Sequence[Path]
    places: np.ndarray

    def read(self, i: int) -> bytes:
        """Returns a record, having checked it.

        Raises:
          ValueError: it is damaged, or the file is shorter than it was.
        """
        file, offset, length, number = self.places[i].tolist()
        with self.paths[file].open("rb") as opened:
            opened.seek(offset)
            data = opened.read(length + 4)
        if len(data) < length + 4:
            raise _damaged(self.paths[file], number, "the file ends within it")
        ((check,), part) = struct.unpack_from("<I", data, length), data[:length]
        return next(_checked(self.paths[file], [(number, part, check)]))


def indexed(parts: Sequence[tuple[Path, int, int | None]]) -> Records:
    """Returns random access to records of some files, each from one number to another; of a record only its length is read.

    Raises:
      ValueError: a file ends within a record, or a length is damaged.
    """
    places: list[tuple[int, int, int, int]] = []
    for which, (path, start, stop) in enumerate(parts):
        heads: list[bytes] = []
        size, at, ending = path.stat().st_size, 0, False
        with path.open("rb") as opened:
            while at < size and (stop is None or len(heads) < stop):
                opened.seek(at)
                head = opened.read(12)
                ending = len(head) < 12
                if ending:
                    break
                heads.append(head)
                length = int.from_bytes(head[:8], "little")
                ending = at + 16 + length > size
                if ending:
                    break
                if len(heads) > start:
                    places.append((which, at + 12, length, len(heads) - 1))
                at += 16 + length
        wrong = masked_crc([h[:8] for h in heads]) != np.array(
            [struct.unpack("<I", h[8:])[0] for h in heads], np.uint32
        )
        if wrong.any():
            raise _damaged(path, int(np.argmax(wrong)), "its length is not what was written")
        if ending:
            raise _damaged(path, len(heads) - (len(head) == 12), "the file ends within it")
    return Records([path for path, *_ in parts], np.array(places, np.int64).reshape(-1, 4))


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
