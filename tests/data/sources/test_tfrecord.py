"""TFRecord files: what was written comes back, and damage is found."""

import struct

import numpy as np
import pytest

from jaxtune.data.sources import _tfrecord

RNG = np.random.default_rng(0)
RECORDS = [RNG.bytes(n) for n in (0, 1, 300, 17, 700, 300)]


def crc32c(data):
    """Returns the checksum, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data):
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def framed(records):
    """Returns the bytes of a TFRecord file."""
    parts = []
    for record in records:
        length = struct.pack("<Q", len(record))
        parts += [length, struct.pack("<I", masked(length)), record, struct.pack("<I", masked(record))]
    return b"".join(parts)


def test_checksums():
    assert crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C
    assert _tfrecord.masked_crc(RECORDS).tolist() == [masked(record) for record in RECORDS]
    assert _tfrecord.masked_crc([]).tolist() == []


@pytest.mark.parametrize("block", [2, 4096])
@pytest.mark.parametrize("start, stop", [(0, None), (0, 3), (2, 5), (5, None), (6, None)])
def test_records_come_back(tmp_path, monkeypatch, block, start, stop):
    monkeypatch.setattr(_tfrecord, "_BLOCK", block)
    (tmp_path / "f").write_bytes(framed(RECORDS))
    assert list(_tfrecord.records(tmp_path / "f", start, stop)) == RECORDS[start:stop]


def test_every_damage_is_found(tmp_path):
    data = framed(RECORDS)
    for at in [*range(0, 40), *RNG.integers(40, len(data), 20)]:
        flipped = bytearray(data)
        flipped[at] ^= 1 << int(RNG.integers(8))
        (tmp_path / "f").write_bytes(bytes(flipped))
        with pytest.raises(ValueError, match="record . is damaged"):
            list(_tfrecord.records(tmp_path / "f"))
    for length in (1, 11, 12, 15, 100, len(data) - 1):
        (tmp_path / "f").write_bytes(data[:length])
        with pytest.raises(ValueError, match="the file ends within it"):
            list(_tfrecord.records(tmp_path / "f"))
