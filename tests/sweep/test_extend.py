"""Finished runs that get more seeds or more values: nothing is trained twice, and no bit differs from one large run."""

import warnings

import numpy as np
import optax
import pytest
from asserts import assert_same_bits
from problems import digits

import jaxtune as jt
from jaxtune.sweep.lanes import _execute

DATA = digits()
SMALL = dict(lr=[0.05, 1e30], width=[6])
LARGE = dict(lr=[0.02, 0.05, 1e30], width=[5, 6])


def recipe(hp):
    return jt.Recipe(jt.models.MLP((hp.width,), 10), optimizer=optax.sgd(hp.lr, momentum=0.9), batch_size=16)


def run(out, axes, seeds, **options):
    experiment = jt.Experiment(recipe, jt.grid(**axes), DATA, steps=8, seeds=seeds, eval_every=4)
    return jt.run(experiment, out=out, **options)


@pytest.fixture(scope="module")
def large():
    return run(None, LARGE, [3, 0, 1])


@pytest.fixture
def trained(monkeypatch):
    """The trials that are begun: arms and seeds, as positions in their program."""
    begun, init = [], _execute._RunningChunk.__init__

    def counted(self, chunk, compiled, inputs, state=None, turn=0):
        assert state is None
        begun.extend(trial for trial, _ in chunk.lanes())
        init(self, chunk, compiled, inputs, state, turn)

    monkeypatch.setattr(_execute._RunningChunk, "__init__", counted)
    return begun


def assert_equal(a, b):
    for name in b.dataset.data_vars:
        np.testing.assert_array_equal(a.dataset[name], b.dataset[name])
    for lr in b.dataset["lr"].values:
        for width in b.dataset["width"].values:
            for seed in b.dataset["seed"].values:
                setting = dict(lr=lr, width=width, seed=seed)
                assert_same_bits(a.variables(**setting), b.variables(**setting))


def test_more_seeds_and_values_extend_a_finished_run(tmp_path, trained, large):
    out = tmp_path / "run"
    trained.clear()
    run(out, SMALL, [0, 1])
    assert len(trained) == 4
    trained.clear()
    extended = run(out, LARGE, [3, 0, 1])
    assert len(trained) == 3 * 2 * 3 - 4
    assert_equal(extended, large)
    assert set(np.unique(extended.dataset["not_finite"])) == {"", "loss"}
    trained.clear()
    assert_equal(run(out, LARGE, [3, 0, 1]), large)
    assert not trained
    assert_equal(jt.load(out), large)
    with pytest.raises(ValueError, match="another experiment: they differ in .*space"):
        run(out, SMALL, [0, 1])


def test_an_extension_that_is_killed_loses_nothing(tmp_path, monkeypatch, large):
    from jaxtune.checkpoint import Checkpoints, RunFolder, Saver

    out = tmp_path / "run"
    run(out, SMALL, [0, 1])

    class Stop(BaseException):
        pass

    def stop(*args):
        raise Stop

    for place, name in ((RunFolder, "_write_record"), (Checkpoints, "newest"), (Saver, "save"), (RunFolder, "_finish")):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, stop)
            with pytest.raises(Stop):
                run(out, LARGE, [3, 0, 1], save_every=0.0)
    assert_equal(run(out, LARGE, [3, 0, 1]), large)


@pytest.mark.slow
def test_what_is_kept_decides_whether_a_run_can_be_extended(tmp_path, large):
    run(tmp_path / "best", SMALL, [0, 1], keep="best")
    with pytest.raises(ValueError, match="`keep` is 'all': the run to extend has kept the variables of one arm"):
        run(tmp_path / "best", LARGE, [3, 0, 1])
    run(tmp_path / "none", SMALL, [0, 1], keep=None)
    with pytest.raises(ValueError, match="made with keep=None"):
        run(tmp_path / "none", LARGE, [3, 0, 1])
    found = run(tmp_path / "none", LARGE, [3, 0, 1], keep=None)
    np.testing.assert_array_equal(found.dataset["valid_loss"], large.dataset["valid_loss"])
    run(tmp_path / "all", SMALL, [0, 1])
    best = run(tmp_path / "all", LARGE, [3, 0, 1], keep="best")
    setting = best.best("valid_accuracy").arm
    assert_same_bits(best.variables(**setting, seed=3), large.variables(**setting, seed=3))


def test_an_unfinished_part_and_other_steps_are_refused(tmp_path, monkeypatch):
    from jaxtune.checkpoint import RunFolder

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "_finish", lambda *args: 1 / 0)
        with pytest.raises(ValueError, match="cannot be written to"):
            run(tmp_path / "run", SMALL, [0, 1])
    with pytest.raises(ValueError, match="unfinished run of a part of this experiment.* Finish that first"):
        run(tmp_path / "run", LARGE, [3, 0, 1])
    run(tmp_path / "run", SMALL, [0, 1])
    longer = jt.Experiment(recipe, jt.grid(**LARGE), DATA, steps=12, seeds=3, eval_every=4)
    with pytest.raises(ValueError, match="they differ in .*`steps` \\(8 there, 12 here\\)"):
        jt.run(longer, out=tmp_path / "run")


@pytest.mark.parametrize(
    ("small", "large"),
    [
        (
            jt.arms(dict(lr=0.05, width=6), fast=dict(lr=0.1)),
            jt.arms(dict(lr=0.05, width=6), slow=dict(lr=0.01), fast=dict(lr=0.1)),
        ),
        (
            jt.sample(2, lr=jt.log_uniform(0.01, 0.1)) * jt.grid(width=[6]),
            jt.sample(4, lr=jt.log_uniform(0.01, 0.1)) * jt.grid(width=[6]),
        ),
    ],
    ids=["named", "drawn"],
)
def test_named_and_drawn_arms_grow_too(tmp_path, trained, small, large):
    def of(space):
        return jt.Experiment(recipe, space, DATA, steps=8, seeds=2, eval_every=4)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Sobol points whose number is no power of two
        jt.run(of(small), out=tmp_path / "run")
        trained.clear()
        extended = jt.run(of(large), out=tmp_path / "run")
        assert len(trained) == (len(large) - len(small)) * 2
        whole = jt.run(of(large))
    for name in whole.dataset.data_vars:
        np.testing.assert_array_equal(extended.dataset[name], whole.dataset[name])


@pytest.mark.filterwarnings("ignore:the program of:RuntimeWarning")
def test_what_had_failed_is_tried_again_when_a_run_is_extended(tmp_path, monkeypatch, large):
    from jaxtune.sweep import _train

    whole = _train.run_program

    def failing(program, *rest):
        if program.static["width"] == 6:
            raise OSError("for a while")
        return whole(program, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(_train, "run_program", failing)
        result = run(tmp_path / "run", dict(lr=[0.05, 1e30], width=[5, 6]), [0, 1])
    assert set(result.dataset["status"].sel(width=6).values.ravel()) == {"failed"}
    assert_equal(run(tmp_path / "run", LARGE, [3, 0, 1]), large)


def test_a_space_without_axes_grows_by_seeds(tmp_path, trained):
    def fixed(hp):
        return jt.Recipe(jt.models.MLP((4,), 10), optimizer=optax.sgd(0.1), batch_size=16)

    def of(seeds):
        return jt.Experiment(fixed, jt.grid(), DATA, steps=4, seeds=seeds)

    jt.run(of(1), out=tmp_path / "run")
    trained.clear()
    extended = jt.run(of(3), out=tmp_path / "run")
    assert len(trained) == 2
    np.testing.assert_array_equal(extended.dataset["valid_loss"], jt.run(of(3)).dataset["valid_loss"])
