"""The folder of a run: what it accepts, and that nothing in it is ever half-written."""

import json
import os
import pathlib
import shutil
import tempfile

import jax
import numpy as np
import pytest
from asserts import assert_same_bits

from jaxtune.checkpoint import RunFolder, _folder

FINGERPRINT = {"steps": 10, "seeds": [0, 1], "data": "abc"}
TREE = ({"kernel": np.arange(6, dtype=np.float32).reshape(3, 2)}, {"count": np.arange(3)[:, None].astype(np.int32)})
TRIALS = [(0, 0), (0, 1), (2, 0)]


def _begun(path, fingerprint=FINGERPRINT):
    folder = RunFolder(path)
    folder.begin(fingerprint, {"machine": "here"})
    return folder


def _finished(path, fingerprint=FINGERPRINT, stacks=((TREE, TRIALS),)):
    folder = _begun(path, fingerprint)
    folder.finish(lambda place: place.write_text("cube"), stacks)
    return folder


def _names(path):
    return sorted(p.name for p in path.iterdir())


def _save_plainly(path, tree):
    """Writes a file in place of a checkpoint: Orbax renames files of its own."""
    path.mkdir()
    (path / "leaves").write_text("all")
    return []


def _refuse(*args, **kwargs):
    raise OSError(30, "Read-only file system")


def test_a_folder_that_is_missing_or_empty_is_free(tmp_path):
    (tmp_path / "empty").mkdir()
    assert RunFolder(tmp_path / "empty").check(FINGERPRINT) == "empty"
    assert RunFolder(tmp_path / "missing" / "deep").check(FINGERPRINT) == "empty"
    assert not (tmp_path / "missing").exists()


def test_the_finished_run_of_this_experiment_is_found(tmp_path):
    _finished(tmp_path)
    assert RunFolder(str(tmp_path)).check({"seeds": (0, 1), **FINGERPRINT}) == "finished"


def test_a_file_is_refused(tmp_path):
    (tmp_path / "run").write_text("notes")
    with pytest.raises(ValueError, match="`out` is .*run', which is a file. Name a folder"):
        RunFolder(tmp_path / "run").check(FINGERPRINT)


def test_a_folder_of_other_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("notes")
    with pytest.raises(ValueError, match=r"holds files but no run \(there is no run.json\)"):
        RunFolder(tmp_path).check(FINGERPRINT)
    assert _names(tmp_path) == ["thesis.tex"]


def test_another_experiment_is_refused_with_what_differs(tmp_path):
    _finished(tmp_path)
    with pytest.raises(
        ValueError, match=r"another experiment: they differ in `seeds`, `steps` \(10 there, 20 here\)\."
    ):
        RunFolder(tmp_path).check({**FINGERPRINT, "steps": 20, "seeds": [0]})


def test_an_unfinished_run_is_known_as_such(tmp_path):
    assert _begun(tmp_path).check(FINGERPRINT) == "unfinished"


def test_numbers_of_numpy_are_recorded_and_recognized(tmp_path):
    fingerprint = {"steps": np.int64(10), "seeds": np.array([0, 1])}
    folder = _finished(tmp_path, fingerprint)
    assert folder.record()["fingerprint"] == {"steps": 10, "seeds": [0, 1]}
    assert folder.check(fingerprint) == "finished"


def test_the_record_says_what_was_run_and_where(tmp_path):
    record = _begun(tmp_path / "a" / "b").record()
    assert record == {"format": 3, "finished": False, "fingerprint": FINGERPRINT, "machine": "here"}
    assert json.loads((tmp_path / "a" / "b" / "run.json").read_text()) == record


def test_begin_replaces_a_run_and_leaves_other_files_alone(tmp_path):
    _finished(tmp_path).log("finished")
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "figures").mkdir()
    folder = _begun(tmp_path, {"steps": 20})
    assert _names(tmp_path) == ["figures", "notes.txt", "run.json"]
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert folder.record()["fingerprint"] == {"steps": 20} and folder.variables() == []


def test_variables_come_back_by_program_with_their_trials(tmp_path):
    other = jax.tree.map(lambda a: a[:1] * 2, TREE)
    folder = RunFolder(_finished(tmp_path, stacks=[(TREE, TRIALS), (other, [(1, 1)])]).path)
    (read, trials), (read_other, trials_other) = folder.variables()
    assert (trials, trials_other) == (TRIALS, [(1, 1)])
    assert_same_bits(read(TREE), TREE)
    assert_same_bits(read_other(other), other)
    assert_same_bits(read(None), {0: TREE[0], 1: TREE[1]})
    assert (folder.results.read_text(), _names(tmp_path)) == ("cube", ["results.nc", "run.json", "variables"])


def test_a_run_may_keep_no_variables(tmp_path):
    assert _finished(tmp_path, stacks=[]).variables() == []


def test_results_that_cannot_be_written_leave_an_unfinished_run_and_no_traces(tmp_path):
    folder = _begun(tmp_path)

    def fail(place):
        place.write_text("half a cu")
        raise RuntimeError("no space left")

    with pytest.raises(ValueError, match="which cannot be written to: no space left"):
        folder.finish(fail, [(TREE, TRIALS)])
    assert not folder.results.exists() and not [n for n in _names(tmp_path) if n.startswith(".")]
    assert folder.record()["finished"] is False
    assert folder.check(FINGERPRINT) == "unfinished"


@pytest.mark.parametrize("crash", [0, 1, 2])
@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_a_crash_between_writes_leaves_every_file_whole_or_absent(tmp_path, monkeypatch, crash, call):
    folder = _begun(tmp_path)
    replaced, whole = [], os.replace

    def crashing_replace(source, target):
        if len(replaced) == crash:
            raise KeyboardInterrupt
        replaced.append(pathlib.Path(target).name)
        whole(source, target)

    def crashing_fsync(handle):
        if len(replaced) == crash:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", crashing_replace)
    monkeypatch.setattr(_folder._orbax, "save", _save_plainly)
    if call == "fsync":
        monkeypatch.setattr(os, "fsync", crashing_fsync)
    with pytest.raises(KeyboardInterrupt):
        folder.finish(lambda place: place.write_text("cube"), [(TREE, TRIALS)])
    order = ["variables", "results.nc", "run.json"]
    assert replaced == order[:crash]
    assert _names(tmp_path) == sorted({*replaced, "run.json"})
    assert folder.record()["finished"] is False
    assert not folder.results.exists() or folder.results.read_text() == "cube"


def test_files_are_on_the_disk_before_they_are_in_place(tmp_path, monkeypatch):
    events, replace, fsync = [], os.replace, os.fsync

    def flushed(handle):
        events.append(("flush", os.readlink(f"/proc/self/fd/{handle}")))
        fsync(handle)

    monkeypatch.setattr(_folder.os, "fsync", flushed)
    monkeypatch.setattr(_folder.os, "replace", lambda a, b: (events.append(("place", str(a))), replace(a, b)))
    _begun(tmp_path)
    (_, written), (_, placed), (_, parent) = events
    assert [kind for kind, _ in events] == ["flush", "place", "flush"]
    assert written == placed and parent == str(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"3",
        b"null",
        b"\xff\xfe\0",
        b"{}",
        b'{"format": 3, "finished": true}',
        b'{"format": 3, "fingerprint": {}}',
        b'{"format": 2, "finished": true, "fingerprint": {}}',
        b'{"format": 3, "finished": "yes", "fingerprint": {}}',
        b'{"format": 3, "finished": true, "fingerprint": []}',
        b'{"format": 3, "finished": true, "fingerprint": {}',
        b"[" * 100_000,
    ],
    ids=lambda content: content[:50].decode(errors="replace").replace("[" * 50, "deep"),
)
def test_a_record_that_cannot_be_read_is_refused(tmp_path, content):
    (tmp_path / "run.json").write_bytes(content)
    for call in (RunFolder(tmp_path).record, lambda: RunFolder(tmp_path).check({})):
        with pytest.raises(ValueError, match=r"run.json' cannot be read as the record of a run \(format 3\)"):
            call()
    assert (tmp_path / "run.json").read_bytes() == content


@pytest.mark.parametrize(
    "variables", [3, {"a": 1}, [3], [{"trials": [[0, 0]]}], [{"leaves": [], "trials": [[1]]}], [{"leaves": 3}]]
)
def test_a_description_of_variables_that_cannot_be_read_is_refused(tmp_path, variables):
    record = {"format": 3, "finished": True, "fingerprint": {}, "variables": variables}
    (tmp_path / "run.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match="run.json' cannot be read as the record of a run"):
        RunFolder(tmp_path).variables()


def test_a_record_that_is_a_folder_is_no_run(tmp_path):
    (tmp_path / "run.json").mkdir()
    with pytest.raises(ValueError, match="holds files but no run"):
        RunFolder(tmp_path).check({})


def test_there_is_no_record_where_there_is_no_folder(tmp_path):
    with pytest.raises(ValueError, match="`path` is .*missing', where there is no folder"):
        RunFolder(tmp_path / "missing").record()


@pytest.mark.parametrize(
    ("place", "name"), [(pathlib.Path, "mkdir"), (tempfile, "mkdtemp"), (os, "replace"), (os, "fsync")]
)
def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path, monkeypatch, place, name):
    monkeypatch.setattr(place, name, _refuse)
    with pytest.raises(ValueError, match="`out` is .*run', which cannot be written to: .*Read-only file system"):
        RunFolder(tmp_path / "run").begin(FINGERPRINT, {})


def test_a_run_that_cannot_be_removed_is_refused(tmp_path, monkeypatch):
    _finished(tmp_path)
    monkeypatch.setattr(pathlib.Path, "unlink", _refuse)
    with pytest.raises(ValueError, match="which cannot be written to"):
        RunFolder(tmp_path).begin(FINGERPRINT, {})
    monkeypatch.undo()
    assert RunFolder(tmp_path).check(FINGERPRINT) == "finished"


def test_a_folder_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("notes")
    with pytest.raises(ValueError, match="which cannot be written to"):
        RunFolder(tmp_path / "file" / "run").begin(FINGERPRINT, {})


def test_the_log_grows_by_a_line_of_json_for_each_event(tmp_path):
    folder = _begun(tmp_path)
    folder.log("compiled", seconds=1.5)
    folder.log("finished")
    first, second = map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())
    assert (first["event"], first["seconds"], second["event"]) == ("compiled", 1.5, "finished")
    assert 1.7e9 < first["time"] <= second["time"]


def test_two_identical_runs_differ_in_their_logs_and_in_orbaxs_own_files_alone(tmp_path):
    a, b = (_finished(tmp_path / name) for name in "ab")
    for name in ("run.json", "results.nc"):
        assert (a.path / name).read_bytes() == (b.path / name).read_bytes()
    ((read_a, _),), ((read_b, _),) = a.variables(), b.variables()
    assert_same_bits(read_a(TREE), read_b(TREE))


class Killed(BaseException):
    """A power cut."""


def _killed(*args, **kwargs):
    raise Killed


@pytest.mark.parametrize("before", ["nothing", "finished"])
@pytest.mark.parametrize(
    ("place", "name"), [(os, "replace"), (pathlib.Path, "unlink"), (shutil, "rmtree"), (RunFolder, "_write_record")]
)
def test_a_folder_whose_beginning_was_cut_off_can_begin_again(tmp_path, monkeypatch, place, name, before):
    if before == "finished":
        _finished(tmp_path)
        (tmp_path / "checkpoints" / "0").mkdir(parents=True)
    folder = RunFolder(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(place, name, _killed)
        with pytest.raises(Killed):
            folder.begin({"steps": 11}, {})
            raise Killed  # what was patched is not used here
    folder.begin({"steps": 12}, {})
    assert folder.check({"steps": 12}) == "unfinished"
    assert _names(tmp_path) == ["run.json"]


def test_a_folder_that_is_removed_before_the_end_is_said_to_be(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.begin({}, {})
    shutil.rmtree(tmp_path / "run")
    for write in (
        lambda: folder.finish(lambda place: place.write_bytes(b""), []),
        lambda: folder.amend({}),
        folder.clear,
    ):
        with pytest.raises(ValueError, match="cannot be written to: it has been removed"):
            write()


def test_a_damaged_checkpoint_is_not_one_of_the_two_that_are_kept(tmp_path):
    checkpoints = RunFolder(tmp_path).checkpoints()
    checkpoints.path.parent.mkdir()
    for k in range(3):
        checkpoints.save({"a": np.array([k])})
    (checkpoints.path / "2" / "manifest.json").write_text("{}")
    with pytest.warns(RuntimeWarning, match="checkpoint 2 in .* is damaged"):
        assert checkpoints.newest()["a"] == 1
    checkpoints.save({"a": np.array([3])})
    assert sorted(p.name.partition("-")[0] for p in checkpoints.path.iterdir()) == ["1", "2", "2.damaged"]
    assert checkpoints.newest()["a"] == 3
    (checkpoints.path / "2" / "manifest.json").write_text("{}")  # once more at the same number
    with pytest.warns(RuntimeWarning, match="checkpoint 2 in .* is damaged"):
        assert checkpoints.newest()["a"] == 1
    checkpoints.save({"a": np.array([4])})
    assert sorted(p.name for p in checkpoints.path.iterdir() if p.name.isdecimal()) == ["1", "2"]
