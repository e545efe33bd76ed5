"""Programs spread over a local Ray cluster, and a worker of it that is killed."""

import dataclasses
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import optax
import pytest
from asserts import assert_same_bits
from faults import job
from problems import digits

import jaxtune as jt

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning"),
]
DATA = digits()


@pytest.fixture(scope="module")
def cluster():
    ray = pytest.importorskip("ray")
    paths = {"PYTHONPATH": str(Path(__file__).parents[1])}
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": paths})
    yield jt.Ray(cpus=1)
    ray.shutdown()


def workers():
    """Returns the processes that are at a task."""
    found = subprocess.run(["pgrep", "-f", "ray::_task"], capture_output=True, text=True)
    return [int(line) for line in found.stdout.split()]


def assert_equal(a, b):
    for name in b.dataset.data_vars:
        np.testing.assert_array_equal(a.dataset[name], b.dataset[name])
    for width in (8, 12):
        for seed in range(3):
            setting = dict(lr=0.05, dropout=0.3, patience=3.0, width=width, seed=seed)
            assert_same_bits(a.variables(**setting), b.variables(**setting))


def test_programs_on_a_cluster_with_a_worker_killed_have_the_same_bits(tmp_path, cluster):
    out, killed = tmp_path / "run", []

    def kill():
        until = time.monotonic() + 120
        while not killed and time.monotonic() < until:
            begun = all(list((out / "checkpoints" / number).glob("[0-9]*")) for number in "01")
            if begun and (found := workers()):
                os.kill(found[0], signal.SIGKILL)
                killed.append(found[0])
            time.sleep(0.005)

    thread = threading.Thread(target=kill)
    thread.start()
    result = jt.run(job.experiment(), out=out, cluster=cluster, save_every=0.0)
    thread.join()
    assert killed and (out / "log.jsonl").read_text().count('"program resumed"') >= 1
    alone = jt.run(job.experiment(), out=tmp_path / "alone")
    assert_equal(result, alone)
    assert_equal(jt.load(out, job.experiment()), alone)
    assert not (out / "checkpoints").exists()


def test_a_run_that_one_process_has_begun_goes_on_on_a_cluster(tmp_path, cluster, monkeypatch):
    from jaxtune.checkpoint import Saver

    class Stop(BaseException):
        pass

    whole, left = Saver.save, iter(range(5))

    def save(self, tree):
        whole(self, tree)
        if next(left, None) is None:
            self.wait()
            raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(Saver, "save", save)
        with pytest.raises(Stop):
            jt.run(job.experiment(), out=tmp_path / "run", save_every=0.0)
    result = jt.run(job.experiment(), out=tmp_path / "run", cluster=cluster)
    assert "program resumed" in (tmp_path / "run" / "log.jsonl").read_text()
    assert_equal(result, jt.run(job.experiment()))


def fragile(hp):
    return jt.Recipe(jt.models.MLP((hp.width,), 10), optimizer=optax.sgd(hp.lr), batch_size=16)


def test_a_program_that_fails_on_its_worker_fails_alone(tmp_path, cluster):
    here = os.getpid()

    def recipe(hp):
        if hp.width == 5 and os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)
        return fragile(hp)

    experiment = jt.Experiment(recipe, jt.grid(width=[4, 5], lr=[0.1]), DATA, steps=4, seeds=2, eval_every=2)
    with pytest.warns(RuntimeWarning, match="width=5 failed: .*"):
        result = jt.run(experiment, out=tmp_path / "run", cluster=jt.Ray(retries=1))
    assert result.dataset["status"].values.squeeze().tolist() == [["finished"] * 2, ["failed"] * 2]
    assert "died" in result.failures[0]
    one = jt.run(jt.Experiment(fragile, jt.grid(width=[4], lr=[0.1]), DATA, steps=4, seeds=2, eval_every=2))
    np.testing.assert_array_equal(result.dataset["valid_loss"].sel(width=[4]), one.dataset["valid_loss"])


@pytest.mark.filterwarnings("ignore:the program of:RuntimeWarning")
def test_a_program_that_raises_in_training_fails_alone_and_the_folder_is_sound(tmp_path, cluster):
    here = os.getpid()

    def recipe(hp):
        made = fragile(hp)

        def worse(*_):
            raise ZeroDivisionError("in training")

        if hp.width == 5 and os.getpid() != here:
            import jaxtune.sweep._train as training  # the worker's own

            training.run_program = worse
        return made

    experiment = jt.Experiment(recipe, jt.grid(width=[4, 5], lr=[0.1]), DATA, steps=4, seeds=2, eval_every=2)
    result = jt.run(experiment, out=tmp_path / "run", cluster=jt.Ray(retries=0))
    assert "ZeroDivisionError: in training" in result.failures[-1]
    assert (result.dataset["status"].sel(width=5) == "failed").all()
    assert jt.load(tmp_path / "run", experiment).failures == result.failures


def test_ctrl_c_has_tasks_save_where_they_stand(tmp_path, cluster):
    long = dataclasses.replace(job.experiment(), steps=200_000, eval_every=40)
    out = tmp_path / "run"

    def interrupt():
        until = time.monotonic() + 100
        while not (out / "log.jsonl").exists() or "compiled" not in (out / "log.jsonl").read_text():
            assert time.monotonic() < until
            time.sleep(0.05)
        time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        jt.run(long, out=out, cluster=cluster, save_every=float("inf"))
    thread.join()
    assert list((out / "checkpoints").glob("*/[0-9]*")) and not (out / "checkpoints" / "end").exists()


def test_what_a_worker_refuses_is_raised(tmp_path, cluster, monkeypatch):
    """A worker with other versions makes other programs: here the record is forged, and nobody but workers looks at it."""
    from jaxtune.checkpoint import RunFolder

    def forged(self, identity, *rest, begin=RunFolder.begin):
        begin(self, identity | {"programs": [p | {"text": "another"} for p in identity["programs"]]}, *rest)

    monkeypatch.setattr(RunFolder, "begin", forged)

    def found(folder, *rest):
        return "unfinished" if (folder.path / "run.json").exists() else "empty"

    monkeypatch.setattr("jaxtune.sweep._in_folder.found_in", found)
    with pytest.raises(ValueError, match="a worker makes another program .*same versions and devices"):
        jt.run(job.experiment(), out=tmp_path / "run", cluster=cluster)
