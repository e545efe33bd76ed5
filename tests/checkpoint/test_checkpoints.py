"""Checkpoints: whole or not at all, and never a damaged one."""

import errno
import json
import shutil
import threading
import warnings

import numpy as np
import pytest
from asserts import assert_same_bits

from jaxtune.checkpoint import Checkpoints, Saver


def tree(k):
    """Returns arrays of several types, some of them empty."""
    rng = np.random.default_rng(k)
    return {
        "programs": {"0": {"state": {"0": rng.normal(size=(6, 50)), "1": rng.normal(size=(6, 3)).astype("float32")}}},
        "flags": np.array([True, False]),
        "status": rng.integers(0, 4, (6, 2)).astype(np.int8),
        "none": np.zeros((0, 3), np.int64),
        "number": np.int64(k),
    }


def newest(checkpoints):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return checkpoints.newest()


def test_the_newest_comes_back_to_the_bit_and_two_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path / "c")
    assert checkpoints.newest() is None
    for k in range(4):
        checkpoints.save(tree(k))
        assert_same_bits(checkpoints.newest(), tree(k))
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == ["2", "3"]


DAMAGES = {
    "emptied": lambda data: b"",
    "cut in half": lambda data: data[: len(data) // 2],
    "a byte flipped": lambda data: (
        data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 255]) + data[len(data) // 2 + 1 :]
    ),
    "another byte flipped": lambda data: bytes([data[0] ^ 1]) + data[1:],
    "removed": None,
}


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A folder with two checkpoints, and the files of the newer one."""
    folder = tmp_path_factory.mktemp("two")
    for k in (0, 1):
        Checkpoints(folder).save(tree(k))
    return folder, sorted(p.relative_to(folder) for p in (folder / "1").rglob("*") if p.is_file())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # what Orbax leaves behind
@pytest.mark.parametrize("damage", DAMAGES)
def test_no_damaged_file_gives_a_wrong_array(two, tmp_path, damage):
    folder, files = two
    assert len(files) > 5
    fallen_back = 0
    for number, file in enumerate(files):
        copy = tmp_path / str(number)
        shutil.copytree(folder, copy)
        data = (copy / file).read_bytes()
        if DAMAGES[damage] is None:
            (copy / file).unlink()
        elif data:
            (copy / file).write_bytes(DAMAGES[damage](data))
        found = newest(Checkpoints(copy))
        k = int(found["number"])
        assert_same_bits(found, tree(k))  # the one or the other, and nothing between
        fallen_back += k == 0
    assert fallen_back >= 2  # the manifest and the data are surely needed


def test_damage_is_warned_of_and_without_another_there_is_none(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(tree(0))
    manifest = tmp_path / "0" / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "sha256": "0"}))
    with pytest.warns(RuntimeWarning, match="checkpoint 0 in .* is damaged .*its manifest is not what was written"):
        assert checkpoints.newest() is None


def test_a_failed_write_leaves_the_one_before(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(tree(0))

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    saver = Saver(checkpoints, 0.0)
    monkeypatch.setattr("jaxtune.checkpoint._orbax.save", full)
    saver.save(tree(1))
    with pytest.raises(ValueError, match="a checkpoint cannot be written to .*No space left on device.*run again"):
        saver.wait()
    saver.close()
    assert [p.name for p in tmp_path.iterdir()] == ["0"]
    assert_same_bits(checkpoints.newest(), tree(0))


def test_writing_does_not_hold_up_the_run(tmp_path, monkeypatch):
    go, written = threading.Event(), []

    class Slow:
        path = tmp_path

        def save(self, tree):
            go.wait(10)
            written.append(tree)

    saver = Saver(Slow(), 0.0)
    assert saver.due
    saver.save("a")
    assert not saver.due and not written  # one at a time
    go.set()
    saver.save("b")
    saver.wait()
    assert written == ["a", "b"] and saver.due
    assert not Saver(Slow(), 1000.0).due
    saver.close()
