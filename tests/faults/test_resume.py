"""Runs that are interrupted, and end with the bits of a run that was not."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from asserts import assert_same_bits
from faults import job

import jaxtune as jt
from jaxtune.checkpoint import Saver

JOB = str(Path(__file__).with_name("job.py"))
pytestmark = pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")


def everything(result):
    """Returns all of a result as arrays of bytes and numbers."""
    cube = {str(name): v.values for name, v in result.dataset.data_vars.items()}
    variables = [
        result.variables(lr=lr, dropout=d, patience=p, width=w, seed=s)
        for lr in (0.05, 1e30)
        for d in (0.0, 0.3)
        for p in (3.0, job.OFF)
        for w in (8, 12)
        for s in range(3)
    ]
    return cube, [(v.params, v.model_state) for v in variables]


SHORT = job.experiment(steps=400)


def run_whole(experiment, out):
    result = jt.run(experiment, out=out)
    counts = dict(zip(*np.unique(result.dataset["status"], return_counts=True), strict=True))
    assert set(counts) == {"diverged", "finished", "stopped"}
    return everything(result)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return run_whole(job.experiment(), tmp_path_factory.mktemp("undisturbed") / "run")


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    return run_whole(SHORT, tmp_path_factory.mktemp("short") / "run")


class Stop(BaseException):
    """A power cut."""


def interrupted_after(saves, monkeypatch):
    """Lets a run end once it has begun so many checkpoints."""
    whole, left = Saver.save, iter(range(saves))

    def save(self, tree):
        whole(self, tree)
        if next(left, None) is None:
            self.wait()
            raise Stop

    monkeypatch.setattr(Saver, "save", save)
    monkeypatch.setattr(Saver, "due", property(lambda self: True))  # after every evaluation, however fast the disk is


@pytest.mark.parametrize(
    ("saves", "first", "then"),
    [
        (0, {}, {}),
        (4, {}, dict(devices=1)),
        pytest.param(9, dict(memory=1), {}, marks=pytest.mark.slow),
        pytest.param(13, dict(devices=1), dict(memory=1), marks=pytest.mark.slow),
    ],
)
def test_a_resumed_run_ends_with_the_same_bits(tmp_path, monkeypatch, short, saves, first, then):
    def options(memory=None, devices=None):
        """One chunk at a time, or one device."""
        found = dict(memory=1_800_000) if memory else {}
        return found | (dict(devices=jax.devices()[:1]) if devices else {})

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        interrupted_after(saves, patch)
        with pytest.raises(Stop):
            jt.run(SHORT, out=out, save_every=0.0, **options(**first))
    assert (out / "checkpoints").is_dir()
    resumed = jt.run(SHORT, out=out, save_every=0.0, **options(**then))
    assert_same_bits(everything(resumed)[1], short[1])
    for name, values in everything(resumed)[0].items():
        np.testing.assert_array_equal(values, short[0][name])
    assert "resumed" in (out / "log.jsonl").read_text()
    assert not (out / "checkpoints").exists() and not list(out.glob(".*"))


def test_a_resumed_run_repeats_nothing(tmp_path, monkeypatch):
    from jaxtune.sweep.lanes import _execute

    out, updates = tmp_path / "run", []
    with monkeypatch.context() as patch:
        interrupted_after(8, patch)
        with pytest.raises(Stop):
            jt.run(SHORT, out=out, save_every=0.0)
    advance = _execute._RunningChunk.advance

    def counted(self, turns, fed):
        updates.append(turns.start(self.turn))
        advance(self, turns, fed)

    monkeypatch.setattr(_execute._RunningChunk, "advance", counted)
    jt.run(SHORT, out=out)
    of_resumed = updates[: updates.index(0)] if 0 in updates else updates  # without those of a program that begins
    assert of_resumed and min(of_resumed) >= 40


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_ends_and_gives_the_handlers_back(tmp_path, monkeypatch, number, short):
    out, before = tmp_path / "run", [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    begun = Saver.due.fget
    asked = iter(range(3))

    def due(self):
        if next(asked, None) is None and not sent:
            sent.append(True)
            signal.raise_signal(number)
        return begun(self)

    sent = []
    monkeypatch.setattr(Saver, "due", property(due))
    with pytest.raises(KeyboardInterrupt):
        jt.run(SHORT, out=out)
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before
    assert len(list((out / "checkpoints" / "0").iterdir())) == 1
    assert_same_bits(everything(jt.run(SHORT, out=out))[1], short[1])


def test_a_second_signal_ends_at_once(tmp_path, monkeypatch):
    from jaxtune.sweep._interrupt import Interrupt

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        with Interrupt() as interrupt:
            signal.raise_signal(signal.SIGINT)
            assert interrupt.requested
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
    finally:
        assert signal.signal(signal.SIGINT, before) is signal.default_int_handler
    handlers = []
    thread = threading.Thread(target=lambda: handlers.append(Interrupt().__enter__()))
    thread.start()
    thread.join()
    assert len(handlers) == 1 and signal.getsignal(signal.SIGINT) is before


def test_two_processes_in_one_folder(tmp_path):
    out = tmp_path / "run"
    code = f"import time\nfrom jaxtune.checkpoint import RunFolder\nwith RunFolder({str(out)!r}).locked():\n    print('held', flush=True)\n    time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match="where another process is at work"):
            jt.run(SHORT, out=out)
    finally:
        holder.kill()
        holder.communicate()
    assert (out / ".lock").exists()  # a dead process leaves the file, but does not hold it
    with jt.checkpoint.RunFolder(out).locked():
        pass
    assert not (out / ".lock").exists()


@pytest.mark.parametrize("trouble", ["no space", "no space, by the storage", "folder removed"])
def test_what_cannot_be_saved_ends_the_run_and_keeps_what_was(tmp_path, monkeypatch, trouble):
    import shutil

    from jaxtune.checkpoint import _checkpoints

    out, save, calls = tmp_path / "run", _checkpoints.Checkpoints.save, []

    def failing(self, tree):
        calls.append(1)
        if len(calls) == 3:
            if trouble == "no space":
                raise OSError(errno.ENOSPC, "No space left on device")
            if trouble == "no space, by the storage":
                raise RuntimeError("RESOURCE_EXHAUSTED")
            shutil.rmtree(out)
        save(self, tree)

    with monkeypatch.context() as patch:
        patch.setattr(_checkpoints.Checkpoints, "save", failing)
        patch.setattr(Saver, "due", property(lambda self: True))  # the third is not the last, however slow the disk is
        with pytest.raises(ValueError, match="cannot be written to"):
            jt.run(SHORT, out=out, save_every=0.0)
    if trouble != "folder removed":
        assert sorted(p.name for p in (out / "checkpoints" / "0").iterdir()) == ["0", "1"]


@pytest.fixture
def disk(tmp_path):
    """A disk of its own, 8 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)]
    if sys.platform != "linux" or subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("no file system can be mounted")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # what Orbax leaves behind
@pytest.mark.parametrize("when", ["it begins", "it is resumed", "it ends"])
def test_a_disk_that_is_full(disk, monkeypatch, undisturbed, when):
    out, ballast = disk / "run", disk / "ballast"
    if when == "it is resumed":
        with monkeypatch.context() as patch, pytest.raises(Stop):
            interrupted_after(2, patch)
            jt.run(job.experiment(), out=out, save_every=0.0)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    with open(ballast, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1024))
    if when == "it ends":  # with room for its record and its log, and not for its results
        os.truncate(ballast, ballast.stat().st_size - 100_000)
    with pytest.raises(ValueError, match="cannot be written") as raised:
        jt.run(job.experiment(), out=out, save_every=float("inf") if when == "it ends" else 0.0)
    assert "No space left" in str(raised.value)
    assert {p: p.read_bytes() for p in before if p.name != "log.jsonl"} == {
        p: b for p, b in before.items() if p.name != "log.jsonl"
    }
    ballast.unlink()
    assert_same_bits(everything(jt.run(job.experiment(), out=out)), undisturbed)


def logged(out, event):
    """Returns how often something has happened, by a run's log."""
    log = out / "log.jsonl"
    return log.read_text().count(f'"{event}"') if log.exists() else 0


@pytest.mark.slow
def test_twenty_kills_lose_nothing(tmp_path, undisturbed):
    rng, kills, resumed, rounds = np.random.default_rng(0), 0, 0, 0
    while kills < 20:
        out = tmp_path / f"run{rounds}"
        rounds += 1
        while True:
            command = [sys.executable, JOB, str(out), "0"]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            # Most kills come some time after a program is compiled: while it trains, saves, or writes results.
            wanted, until = logged(out, "compiled") + int(rng.choice([0, 1, 1, 1, 2])), time.monotonic() + 120
            while logged(out, "compiled") < wanted and process.poll() is None and time.monotonic() < until:
                time.sleep(0.01)
            try:
                _, error = process.communicate(timeout=rng.uniform(0.0, 1.2))
                assert process.returncode == 0, error
                break
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.communicate()
                kills += 1
        assert_same_bits(everything(jt.load(out, job.experiment()))[1], undisturbed[1])
        resumed += logged(out, "resumed")
        print(f"run {rounds}: {kills} kills so far, {resumed} resumed from a checkpoint")
    assert resumed >= 8


@pytest.mark.parametrize("next_one", [True, False])
def test_a_lock_on_a_file_that_is_gone_is_none(tmp_path, monkeypatch, next_one):
    """A process that opened the lock before its holder removed it must not be let in beside the next one."""
    import fcntl

    flock = fcntl.flock

    def late(handle, how):
        (tmp_path / ".lock").unlink()  # by the holder, which has just ended
        if next_one:
            (tmp_path / ".lock").write_text("")
        flock(handle, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with (
        pytest.raises(ValueError, match="where another process is at work"),
        jt.checkpoint.RunFolder(tmp_path).locked(),
    ):
        raise AssertionError("let in")


def test_a_file_system_without_locks_is_warned_of(tmp_path, monkeypatch):
    import fcntl

    def without(handle, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", without)
    with pytest.warns(RuntimeWarning, match="gives no lock on .*No locks available"):
        with jt.checkpoint.RunFolder(tmp_path).locked():
            pass
    assert not (tmp_path / ".lock").exists()


def test_a_checkpoint_that_may_not_be_read_is_not_damaged(tmp_path, monkeypatch):
    checkpoints = jt.checkpoint.Checkpoints(tmp_path / "checkpoints")
    checkpoints.save({"a": np.ones(3)})
    with monkeypatch.context() as patch:  # for root may read everything

        def forbidden(self, *args, **kwargs):
            raise PermissionError(errno.EACCES, "Permission denied", str(self))

        patch.setattr(Path, "read_text", forbidden)
        with pytest.raises(ValueError, match="checkpoint 0 in .* cannot be read .*Permission denied.*run again"):
            checkpoints.newest()
    assert_same_bits(checkpoints.newest(), {"a": np.ones(3)})


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EMFILE, "Too many open files"),
        ValueError("RESOURCE_EXHAUSTED: Failed to open [OS error 24: EMFILE Too many open files]"),
    ],
)
def test_a_limit_that_is_met_while_reading_is_no_damage(tmp_path, monkeypatch, error):
    from jaxtune.checkpoint import _orbax

    checkpoints = jt.checkpoint.Checkpoints(tmp_path / "checkpoints")
    checkpoints.save({"a": np.ones(3)})

    def refuse(*args):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(_orbax, "load", refuse)
        with pytest.raises(ValueError, match="checkpoint 0 in .* cannot be read .*Too many open files.*run again"):
            checkpoints.newest()
    assert_same_bits(checkpoints.newest(), {"a": np.ones(3)})


@pytest.mark.parametrize("value", [-1.0, float("nan"), "often"])
def test_seconds_between_checkpoints_are_checked(tmp_path, value):
    with pytest.raises((ValueError, TypeError), match="`save_every`"):
        jt.run(SHORT, out=tmp_path / "run", save_every=value)


def test_a_run_that_another_process_has_finished_meanwhile_is_read(tmp_path, monkeypatch, short):
    from jaxtune.checkpoint import RunFolder

    out, check, calls = tmp_path / "run", RunFolder.check, []
    jt.run(SHORT, out=out)
    monkeypatch.setattr(
        RunFolder, "check", lambda self, f: "unfinished" if not calls and not calls.append(1) else check(self, f)
    )

    def train(*args):
        raise AssertionError("trained again")

    monkeypatch.setattr("jaxtune.sweep._run.train", train)
    assert_same_bits(everything(jt.run(SHORT, out=out))[1], short[1])
