"""Memory that runs out: smaller chunks, and it is said."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import optax
import pytest
from asserts import assert_same_bits
from problems import digits

import jaxtune as jt
from jaxtune.checkpoint import Checkpoints, RunFolder, Saver
from jaxtune.sweep import _train
from jaxtune.sweep.lanes._causes import Causes
from jaxtune.sweep.lanes._record import Record

DATA = digits()
WHOLE = _train.run_program


def recipe(hp):
    return jt.Recipe(jt.models.MLP((6,), 10), optimizer=optax.sgd(hp.lr, momentum=0.9), batch_size=16)


EXPERIMENT = jt.Experiment(recipe, jt.grid(lr=[0.05, 0.1, 0.2]), DATA, steps=8, seeds=3, eval_every=2)


@pytest.fixture(scope="module")
def narrow():
    return jt.run(EXPERIMENT, chunk=(1, 1))


def scarce(lanes=1, at_once=99, devices=2, after=0):
    """Returns `run_program` that runs out of memory with more than this, having run for a while."""

    def run_program(program, experiment, compiled, ends, variables, report, most, *rest):
        if program.shape.lanes > lanes or most > at_once or len(compiled) > devices:
            if after:
                WHOLE(program, experiment, compiled, ends, variables, report, most, *rest)
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 12 bytes.")
        return WHOLE(program, experiment, compiled, ends, variables, report, most, *rest)

    return run_program


class Stop(BaseException):
    """A power cut."""


def stopped_after(saves, patch, out):
    """Leaves an unfinished run."""
    whole, left = Saver.save, iter(range(saves - 1))

    def save(self, tree):
        whole(self, tree)
        self.wait()
        if next(left, None) is None:
            raise Stop

    patch.setattr(Saver, "save", save)
    with pytest.raises(Stop):
        jt.run(EXPERIMENT, out=out, save_every=0.0)


def assert_equal(a, b):
    for name in b.dataset.data_vars:
        np.testing.assert_array_equal(a.dataset[name], b.dataset[name])
    for lr in (0.05, 0.1, 0.2):
        assert_same_bits(a.variables(lr=lr, seed=1), b.variables(lr=lr, seed=1))


@pytest.mark.filterwarnings("ignore:memory ran out")
@pytest.mark.parametrize(
    "given",
    [
        dict(),
        pytest.param(dict(at_once=2), marks=pytest.mark.slow),
        pytest.param(dict(at_once=1, devices=1), marks=pytest.mark.slow),
        dict(after=1),
    ],
    ids=["lanes", "few", "alone", "late"],
)
def test_a_fresh_program_begins_again_in_smaller_chunks(tmp_path, monkeypatch, narrow, given):
    monkeypatch.setattr(_train, "run_program", scarce(**given))
    result = jt.run(EXPERIMENT, out=tmp_path / "run", save_every=0.0)
    assert_equal(result, narrow)
    assert not result.failures
    monkeypatch.undo()
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["reshaped"] is True and record["fingerprint"]["programs"][0]["chunk"] == [1, 1]
    assert "out of memory" in (tmp_path / "run" / "log.jsonl").read_text()
    # The folder knows: the same call finds its run, and the experiment's models predict.
    assert_equal(jt.run(EXPERIMENT, out=tmp_path / "run"), narrow)
    x = DATA.test.x[:3]
    loaded = jt.load(tmp_path / "run", EXPERIMENT)
    assert_same_bits(loaded.predict(x, lr=0.1, seed=0), narrow.predict(x, lr=0.1, seed=0))


def test_what_is_done_about_it_is_said(monkeypatch):
    monkeypatch.setattr(_train, "run_program", scarce(at_once=1, devices=1))
    with pytest.warns(RuntimeWarning, match="memory ran out") as said:
        jt.run(EXPERIMENT)
    assert [str(w.message).partition(": ")[2].partition(": ")[2] for w in said] == [
        "2 of its chunks run at once, and not 3",
        "it begins again in chunks of 1 arms x 2 seeds, which changes bits",
        "it begins again in chunks of 1 arms x 1 seeds, which changes bits",
        "it runs on 1 devices, and not on 2",
    ]


def test_what_does_not_fit_at_all_fails_and_the_others_run(monkeypatch):
    monkeypatch.setattr(_train, "run_program", scarce(lanes=0))
    with pytest.warns(RuntimeWarning, match="memory ran out|failed: .*RESOURCE_EXHAUSTED"):
        result = jt.run(EXPERIMENT)
    assert (result.dataset["status"] == "failed").all() and "RESOURCE_EXHAUSTED" in result.failures[0]


@pytest.mark.filterwarnings("ignore:memory ran out")
def test_a_program_with_a_past_is_not_cut_into_other_chunks(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stopped_after(1, patch, tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(_train, "run_program", scarce())
        with pytest.raises(
            ValueError, match="memory ran out in a program that an earlier run has begun .*where more is free"
        ):
            jt.run(EXPERIMENT, out=tmp_path / "run")
    assert_equal(jt.run(EXPERIMENT, out=tmp_path / "run"), jt.run(EXPERIMENT))


@pytest.mark.filterwarnings("ignore:memory ran out")
def test_what_larger_chunks_had_come_to_is_never_mixed_in(tmp_path, monkeypatch, narrow):
    """A kill right after the record names the smaller chunks leaves a checkpoint of larger ones."""
    whole = RunFolder.amend

    def amend(self, changes):
        whole(self, changes)
        if changes["fingerprint"]["programs"][0]["chunk"] == [1, 1]:
            raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(_train, "run_program", scarce(after=1))
        patch.setattr(RunFolder, "amend", amend)
        with pytest.raises(Stop):
            jt.run(EXPERIMENT, out=tmp_path / "run", save_every=0.0)
    assert list((tmp_path / "run" / "checkpoints" / "0").iterdir())
    assert_equal(jt.run(EXPERIMENT, out=tmp_path / "run"), narrow)


@pytest.mark.filterwarnings("ignore:memory ran out")
def test_the_call_that_named_the_larger_chunks_finds_its_run(tmp_path, monkeypatch, narrow):
    with monkeypatch.context() as patch:
        patch.setattr(_train, "run_program", scarce())
        jt.run(EXPERIMENT, out=tmp_path / "run", chunk=(3, 1))
        patch.setattr(_train, "run_program", None)
        assert_equal(jt.run(EXPERIMENT, out=tmp_path / "run", chunk=(3, 1)), narrow)
    with pytest.raises(ValueError, match="another experiment.*`programs`"):
        jt.run(EXPERIMENT, out=tmp_path / "run", chunk=(2, 1))


@pytest.mark.filterwarnings("ignore:memory ran out", "ignore:the program of")
def test_a_program_without_room_does_not_keep_a_run_from_being_extended(tmp_path, monkeypatch):
    def wide(hp):
        return jt.Recipe(jt.models.MLP((hp.width,), 10), optimizer=optax.sgd(0.1), batch_size=16)

    def experiment(seeds):
        return jt.Experiment(wide, jt.grid(width=[9, 4]), DATA, steps=4, seeds=seeds, eval_every=2)

    def run_program(program, *rest):
        if program.static["width"] == 9:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 12 bytes.")
        return WHOLE(program, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(_train, "run_program", run_program)
        for seeds in (1, 2):
            result = jt.run(experiment(seeds), out=tmp_path / "run")
            assert result.dataset["status"].values.tolist() == [["failed"] * seeds, ["finished"] * seeds]
            assert np.isfinite(result.dataset["valid_loss"].values[1]).all()


def test_what_cannot_be_brought_back_is_not_taken_for_a_failure_of_the_program(tmp_path, monkeypatch):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        stopped_after(2, patch, out)
    for error, said in (
        (KeyError("norms"), "cannot be gone on with .*norms.*version"),
        (MemoryError("12 bytes"), "memory ran out"),
    ):
        with monkeypatch.context() as patch:

            def restore(self, *args, error=error):
                raise error

            patch.setattr(Record, "restore", restore)
            with pytest.warns() if isinstance(error, MemoryError) else contextlib.nullcontext():
                with pytest.raises(ValueError, match=said):
                    jt.run(EXPERIMENT, out=out)
        assert list((out / "checkpoints" / "0").iterdir())
    assert_equal(jt.run(EXPERIMENT, out=out), jt.run(EXPERIMENT))


@pytest.mark.filterwarnings("ignore:memory ran out")
def test_memory_that_runs_out_while_a_checkpoint_is_written_is_met_like_any_other(tmp_path, monkeypatch, narrow):
    whole = Checkpoints.save

    def save(self, tree):
        if tree["programs"]["0"]["shape"].prod() > 1:
            raise MemoryError("12 bytes")
        whole(self, tree)

    monkeypatch.setattr(Checkpoints, "save", save)
    result = jt.run(EXPERIMENT, out=tmp_path / "run", save_every=0.0)
    assert not result.failures
    assert_equal(result, narrow)


def test_trained_programs_that_do_not_fit_any_more_are_not_failures(tmp_path, monkeypatch):
    def experiment(width):
        def recipe(hp):
            return jt.Recipe(jt.models.MLP((hp.width,), 10), optimizer=optax.sgd(0.1), batch_size=16)

        return jt.Experiment(recipe, jt.grid(width=width), DATA, steps=4, seeds=1, eval_every=2)

    def restore(self, *args):
        raise MemoryError

    jt.run(experiment([4]), out=tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(Record, "restore", restore)
        with pytest.raises(
            ValueError, match="memory ran out in a program that an earlier run has trained .*saved stays"
        ):
            jt.run(experiment([4, 5]), out=tmp_path / "run")
    result = jt.run(experiment([4, 5]), out=tmp_path / "run")
    assert (result.dataset["status"] == "finished").all()


def test_without_room_for_the_cause_a_trial_has_diverged_all_the_same(monkeypatch):
    def of(self, *args):
        raise MemoryError

    monkeypatch.setattr(Causes, "of", of)
    experiment = jt.Experiment(recipe, jt.grid(lr=[0.05, 1e30]), DATA, steps=8, seeds=1, eval_every=2)
    with pytest.warns(RuntimeWarning, match=r"known only roughly.*\(MemoryError\)"):
        result = jt.run(experiment)
    assert result.dataset["status"].values.ravel().tolist() == ["finished", "diverged"]
    assert result.dataset["first_bad_step"].values.ravel()[1] > 0


@pytest.mark.slow
def test_a_limit_of_the_system_is_survived():
    # Four lanes take 5.5 GB of address space and two 3.4 GB, most of it in buffers of hundreds of megabytes: with 4.4 GB it is
    # such a buffer that is refused, and never the last kilobyte of something small, at which XLA aborts the process.
    code = f"""
import re, resource, sys, warnings
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
import numpy as np, optax, jaxtune as jt
rng = np.random.default_rng(0)
data = jt.data.from_arrays(rng.normal(size=(100, 5000)).astype("f4"), rng.integers(0, 10, 100).astype("i4"))
def recipe(hp):
    return jt.Recipe(jt.models.MLP((8000,), 10), optimizer=optax.sgd(hp.lr), batch_size=10)
experiment = jt.Experiment(recipe, jt.grid(lr=[0.01, 0.02]), data, steps=2, seeds=2, eval_every=2)
taken = int(re.search(r"VmSize:\\s+(\\d+)", open("/proc/self/status").read()).group(1)) * 1024
resource.setrlimit(resource.RLIMIT_AS, (taken + 4_400_000_000,) * 2)
warnings.simplefilter("always")
result = jt.run(experiment, keep=None, memory=10**11, chunk=(4, 1))
print(set(result.dataset["status"].values.ravel().tolist()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "{'finished'}", done.stderr
    assert "memory ran out" in done.stderr
