"""Several processes, each with some devices, that train one experiment together, and one of them that dies."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from asserts import assert_same_bits
from faults import job

import jaxtune as jt
from jaxtune.sweep._journal import deal_out
from jaxtune.sweep.lanes._merge import merged

WORKER = str(Path(__file__).with_name("worker.py"))
pytestmark = pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")


def everything(result):
    """Returns all of a result as arrays."""
    cube = {str(name): v.values for name, v in result.dataset.data_vars.items()}
    settings = [(lr, d, p, w, s) for lr in (0.05, 1e30) for d in (0.0, 0.3) for p in (3.0, job.OFF) for w in (8, 12) for s in (0, 1, 2)]  # fmt: skip
    found = [result.variables(**dict(zip(("lr", "dropout", "patience", "width", "seed"), s, strict=True))) for s in settings]  # fmt: skip
    return cube, [(v.params, v.model_state) for v in found]


@pytest.fixture(scope="module")
def alone():
    return everything(jt.run(job.experiment()))


def start(out, processes, devices, every=30.0, **more):
    """Starts processes that know each other by a port on this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), **more}
    commands = [
        [sys.executable, WORKER, str(out), coordinator, str(processes), str(i), str(devices), str(every)]
        for i in range(processes)
    ]
    logs = [out.with_name(f"{out.name}-{i}.log") for i in range(processes)]  # a pipe that nobody reads would stop them
    started = []
    for command, log in zip(commands, logs, strict=True):
        with log.open("w") as file:
            process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment)
        started.append((process, log))
    return started


def ended(started, timeout=240):
    """Returns exit statuses and outputs; what has not ended by then is killed."""
    until = time.monotonic() + timeout
    try:
        for process, _ in started:
            process.wait(max(0.1, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        for process, _ in started:
            process.kill()
            process.wait()
    return [process.returncode for process, _ in started], [log.read_text() for _, log in started]


def assert_equal(out, alone):
    found = everything(jt.load(out, job.experiment()))
    assert_same_bits(found[1], alone[1])
    for name, values in found[0].items():
        np.testing.assert_array_equal(values, alone[0][name])


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "devices"), [(2, 2), (3, 1)], ids=["2 x 2", "3 x 1"])
def test_several_processes_end_with_the_bits_of_one(tmp_path, alone, processes, devices):
    statuses, outputs = ended(start(tmp_path / "run", processes, devices))
    assert statuses == [0] * processes, outputs
    for i, output in enumerate(outputs):
        assert f"process {i} of {processes}, {devices} of {processes * devices} devices: done" in output
    assert_equal(tmp_path / "run", alone)
    assert not (tmp_path / "run" / "checkpoints").exists()


def wait_for_any(folder, seconds=120):
    """Waits for a checkpoint of whatever number, for the first ones do not stay."""
    until = time.monotonic() + seconds
    while not (found := [p for p in folder.glob("*") if p.name.isdecimal()]) and time.monotonic() < until:
        time.sleep(0.01)
    assert found


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "killed", "then"), [(3, 1, 3), (2, 0, 3), (3, 2, 1)])
def test_a_process_that_dies_ends_the_others_and_a_relaunch_goes_on(tmp_path, alone, processes, killed, then):
    out = tmp_path / "run"
    started = start(out, processes, 1, every=0.0)
    for i in range(processes):
        wait_for_any(out / "checkpoints" / str(i))
    started[killed][0].send_signal(signal.SIGKILL)
    statuses, _ = ended(started)
    assert statuses[killed] == -signal.SIGKILL and 0 not in statuses
    assert all(s == -signal.SIGABRT for i, s in enumerate(statuses) if i != killed)
    assert sorted(p.name for p in (out / "checkpoints").iterdir()) == [str(i) for i in range(processes)]
    statuses, outputs = ended(start(out, then, 1))
    assert statuses == [0] * then, outputs
    assert "resumed" in (out / "log.jsonl").read_text()
    assert_equal(out, alone)


ARRAYS = """
import pathlib, sys
import jax, numpy as np
process, coordinator, folder = int(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3])
jax.distributed.initialize(coordinator, 2, process, coordinator_bind_address=coordinator if process == 0 else None)
from jaxtune.checkpoint import _orbax
tree = {
    "zeros": np.zeros(10**5, np.float32),
    "negative zeros": np.full(1000, -0.0),
    "own": np.arange(5, dtype=np.int64) + 2**40 + process,
    "small": np.array([True, False]),
}
described = _orbax.save(folder / str(process), tree)
found = _orbax.load(folder / str(process), _orbax.described(described), None)
for name, array in tree.items():
    assert found[name].dtype == array.dtype and found[name].tobytes() == array.tobytes(), name
print("the same bits")
"""


def test_each_process_writes_all_arrays_and_reads_their_bits(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    started = []
    for i in range(2):
        log = tmp_path / f"{i}.log"
        with log.open("w") as file:
            command = [sys.executable, "-c", ARRAYS, str(i), coordinator, str(tmp_path)]
            started.append((subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT), log))
    statuses, outputs = ended(started, timeout=100)
    assert statuses == [0, 0] and all("the same bits" in output for output in outputs), outputs


@pytest.mark.slow
def test_where_one_process_raises_all_end_soon(tmp_path):
    began = time.monotonic()
    statuses, outputs = ended(start(tmp_path / "run", 2, 1, FAULTY="1", FAULT="raises"))
    assert statuses == [1, 1] and time.monotonic() - began < 120, outputs
    assert "`y` is 3: odd" in outputs[1]
    assert "process 1 of 2 has ended, and so does this one: InputError: `y` is 3: odd" in outputs[0]
    with jt.checkpoint.RunFolder(tmp_path / "run").locked():
        statuses, outputs = ended(start(tmp_path / "run", 2, 1))
    assert (
        statuses == [1, 1] and "another process is at work" in outputs[0] and "process 0 of 2 has ended" in outputs[1]
    )


@pytest.mark.slow
def test_a_program_that_fails_in_one_process_fails_alone_and_for_all(tmp_path):
    statuses, outputs = ended(start(tmp_path / "run", 2, 1, FAULTY="1", FAULT="fails"))
    assert statuses == [0, 0], outputs
    result = jt.load(tmp_path / "run", job.experiment())
    assert (result.dataset["status"] == "failed").all()  # it had a share in both programs
    assert len(result.failures) == 2 and all("ZeroDivisionError: in training" in trace for trace in result.failures)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_where_one_process_is_asked_to_end_all_save_and_end_soon(tmp_path, alone, number):
    out = tmp_path / "run"
    started = start(out, 2, 1, every=1e6, SLOW="0.5")
    log = out / "log.jsonl"
    until = time.monotonic() + 120
    while not (log.exists() and "compiled" in log.read_text()) and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(2.0)  # a segment or two
    started[1][0].send_signal(number)
    statuses, outputs = ended(started, timeout=60)
    assert statuses == [-signal.SIGINT] * 2 and all("KeyboardInterrupt" in output for output in outputs), (
        statuses,
        outputs,
    )
    for i in range(2):
        assert [p.name for p in (out / "checkpoints" / str(i)).iterdir()] == ["0"]
    statuses, outputs = ended(start(out, 2, 1))
    assert statuses == [0, 0], outputs
    assert "resumed" in log.read_text()
    assert_equal(out, alone)


def test_what_several_processes_cannot_do_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr("jax.process_count", lambda: 2)
    with pytest.raises(ValueError, match="`out` is None: 2 processes put their results together in a folder"):
        jt.run(job.experiment())
    with pytest.raises(ValueError, match="`chunk` is 'measure': 2 processes would not measure the same"):
        jt.run(job.experiment(), out=tmp_path / "run", chunk="measure")


def test_all_processes_take_the_least_memory_that_one_of_them_has(monkeypatch, tmp_path):
    from jaxtune.sweep import _processes

    said = {"1": "300", "2": "500"}
    monkeypatch.setattr("jax.process_count", lambda: 3)
    monkeypatch.setattr(_processes, "tell_all", lambda topic, name, text: said.update({name: text}))
    monkeypatch.setattr(_processes, "heard", lambda topic: dict(said))
    assert [_processes.Processes().least(n) for n in (400, 200)] == [300, 200]
    with pytest.raises(ValueError, match="`memory` is '300 B'"):
        jt.run(job.experiment(), out=tmp_path / "run")


def test_where_the_first_process_is_gone_the_others_say_so(monkeypatch):
    from jaxtune.sweep import _processes

    def gone(topic):
        raise jax.errors.JaxRuntimeError("UNAVAILABLE: failed to connect to all addresses")

    monkeypatch.setattr("jax.process_count", lambda: 2)
    monkeypatch.setattr(_processes, "heard", gone)
    with pytest.raises(ValueError, match="the first of 2 processes is gone .*UNAVAILABLE.*start all of them again"):
        _processes.Processes().asked()


def account(ended, going, value):
    """Returns what a process may have saved of 2 arms x 2 seeds: trials that ended, and others with their calls."""
    mask = np.zeros((2, 2), bool)
    mask[tuple(np.array(ended, int).reshape(-1, 2).T)] = True
    rows = np.flatnonzero(mask)
    known = np.where(mask, value, 0)
    record = {
        "curves": np.stack([known, known])[..., None] * np.ones(3),
        "finals": known[None],
        "status": known,
        "counters": known[..., None] * np.ones(4, int),
        "norms": known,
        "ended": mask,
        "variables": {"0": value + rows / 10},
    }
    trials = np.array([(*trial, turn) for trial, turn in going], int).reshape(-1, 3)
    state = {"0": np.array([value + turn / 10 for _, turn in going])} if going else {}
    return {"shape": np.array([1, 2]), "record": record, "trials": trials, "state": state}


def test_of_each_trial_the_account_that_has_it_farthest_counts():
    first = account([(0, 0)], [((0, 1), 3), ((1, 0), 5)], 1)
    second = account([(1, 0)], [((0, 1), 4), ((1, 1), 1)], 2)
    third = account([], [((0, 1), 2)], 3)
    found = merged([first, second, third])
    record = found["record"]
    assert record["ended"].tolist() == [[True, False], [True, False]]
    assert record["finals"][0].tolist() == [[1, 0], [2, 0]]
    assert record["counters"][..., 3].tolist() == [[1, 0], [2, 0]]
    assert record["curves"][1, :, :, 2].tolist() == [[1, 0], [2, 0]]
    assert record["variables"]["0"].tolist() == [1.0, 2.2]  # rows 0 and 2
    assert sorted(map(tuple, found["trials"].tolist())) == [(0, 1, 4), (1, 1, 1)]
    assert sorted(found["state"]["0"].tolist()) == [2.1, 2.4]
    assert merged([first]) is first


def test_what_others_have_saved_of_a_process_is_dealt_out_before_they_save_without_it(tmp_path):
    from types import SimpleNamespace

    folder = jt.checkpoint.RunFolder(tmp_path)
    first = account([(0, 0)], [((0, 1), 3)], 1)
    second = account([], [((1, 0), 4), ((1, 1), 2)], 2)
    folder.begin({}, {})
    folder.clear()
    folder.replace_checkpoints({0: {"programs": {"7": first}}, 2: {"programs": {"7": second, "8": second}}}, {0, 2})
    programs = [SimpleNamespace(number=n, shape=(1, 2)) for n in (7, 8)]
    deal_out(folder, programs, {0: programs, 1: programs})
    assert folder.processes == {0, 1}
    for tree in folder.stood().values():
        assert sorted(map(tuple, tree["programs"]["7"]["trials"].tolist())) == [(0, 1, 3), (1, 0, 4), (1, 1, 2)]
        assert tree["programs"]["7"]["record"]["ended"].tolist() == [[True, False], [False, False]]
        assert sorted(map(tuple, tree["programs"]["8"]["trials"].tolist())) == [(1, 0, 4), (1, 1, 2)]
    deal_out(folder, programs, {7: programs[:1], 8: programs[1:]})
    assert {n: list(tree["programs"]) for n, tree in folder.stood().items()} == {7: ["7"], 8: ["8"]}
