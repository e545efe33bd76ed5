"""Whole runs: one step, whole splits, weights, progress, devices."""

import io
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from asserts import assert_same_bits
from problems import OFF, batch_norm, digits, linear, mlp

import jaxtune as jt

DATA = digits()
GRID = dict(l2=[1e-3], dropout=[0.3], lr=[1e-2], patience=[OFF])


def test_one_step_is_the_first_of_many():
    def run(steps):
        return jt.run(jt.Experiment(mlp, jt.grid(**GRID), DATA, steps=steps, seeds=1, eval_every=1)).dataset

    one, many = run(1), run(5)
    for name in ("train_loss", "valid_loss", "valid_accuracy"):
        assert_same_bits(one[name].sel(step=1).values, many[name].sel(step=1).values)


def test_splits_larger_than_a_batch_are_evaluated_whole():
    # In evaluation mode: with dropout off and running statistics.
    data = digits(train=300, valid=700, test=517)
    space = jt.grid(dropout=[0.5], lr=[0.1])
    result = jt.run(jt.Experiment(batch_norm, space, data, steps=9, seeds=1, eval_every=9))
    for split in ("train", "valid", "test"):
        part = getattr(data, split)
        outputs = np.asarray(result.predict(part.x, seed=0), np.float64)
        measured = result.dataset[[f"{split}_loss", f"{split}_accuracy"]].squeeze()
        assert measured[f"{split}_accuracy"].item() == pytest.approx((outputs.argmax(-1) == part.y).mean(), abs=1e-6)
        picked = outputs[np.arange(len(part)), part.y]
        loss = (np.log(np.exp(outputs).sum(-1)) - picked).mean()
        assert measured[f"{split}_loss"].item() == pytest.approx(loss, rel=1e-5)
        module = jt.models.MLP((16,), 10, dropout=0.5, batch_norm=True)
        params, state = result.variables(seed=0)
        expected = module.apply({"params": params, **state}, part.x, train=False)
        np.testing.assert_allclose(outputs, expected, atol=1e-5)


def test_weights_of_examples_count_in_training_and_evaluation():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 3)), rng.integers(0, 2, 40)
    keep = np.arange(40) < 30

    def splits(x, y, weight):
        arrays = jt.data.Arrays(x, y, weight)
        return jt.data.Splits(arrays, arrays, arrays)

    def recipe(size):
        return lambda hp: jt.Recipe(jt.models.MLP((), 2), optimizer=optax.sgd(hp.lr), batch_size=size)

    def losses(data, size):
        cube = jt.run(jt.Experiment(recipe(size), jt.grid(lr=[0.5]), data, steps=20, seeds=1, eval_every=4)).dataset
        return cube["valid_loss"].values

    some = losses(splits(x, y, keep.astype(float) * 3), 40)
    few = losses(splits(x[keep], y[keep], None), 30)
    np.testing.assert_allclose(some, few, rtol=1e-5)


def test_a_space_without_axes_is_one_arm():
    def recipe(hp):
        return jt.Recipe(jt.models.MLP((), hp.run.outputs), optimizer=optax.sgd(0.1), batch_size=16)

    result = jt.run(jt.Experiment(recipe, jt.grid(), DATA, steps=4, seeds=3, eval_every=2))
    assert result.summary("valid_loss")["n"].tolist() == [3]
    assert result.best("valid_loss").arm == {} and result.variables(seed=1).params


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_state_of_any_type_stays_of_its_type(dtype):
    def recipe(hp):
        def init(key, x):
            return {"w": jnp.zeros((64, 10), dtype)}, {"mean": jnp.zeros(64, dtype), "calls": 0}

        def apply(params, state, x, *, key, train):
            x = x.reshape(x.shape[0], -1)
            mean = hp.decay * state["mean"] + (1 - hp.decay) * x.mean(0)
            return (x - mean[None]) @ params["w"].astype(jnp.float32), {"mean": mean, "calls": state["calls"] + 1}

        optimizer = optax.sgd(hp.lr, momentum=hp.decay)
        return jt.Recipe(jt.Model(init, apply), optimizer=optimizer, batch_size=16)

    space = jt.grid(lr=[0.1], decay=[0.5, 0.9])
    result = jt.run(jt.Experiment(recipe, space, DATA, steps=4, seeds=1, eval_every=2))
    assert (result.dataset["status"] == "finished").all()
    params, state = result.variables(decay=0.5, seed=0)
    assert params["w"].dtype == state["mean"].dtype == dtype and state["calls"] == 4


def test_quick_is_a_tenth_and_keeps_the_evaluations():
    experiment = jt.Experiment(linear, jt.grid(lr=[0.1]), DATA, steps=900, seeds=[5, 6, 7], eval_every=30)
    quick = experiment.quick()
    assert (quick.steps, quick.seeds, quick.eval_every) == (90, (5, 6), 3)
    by_epochs = jt.Experiment(linear, jt.grid(lr=[0.1]), DATA, epochs=19, eval_every=76).quick()
    assert jt.plan(by_epochs).steps == 4


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_quiet_when_not_a_terminal(monkeypatch):
    experiment = jt.Experiment(linear, jt.grid(lr=[0.1]), DATA, steps=4, seeds=2, eval_every=2)

    def written(stream, progress):
        monkeypatch.setattr(sys, "stderr", stream)
        jt.run(experiment, progress=progress)
        return stream.getvalue()

    assert written(io.StringIO(), None) == "" and written(Terminal(), False) == ""
    for shown in (written(Terminal(), None), written(io.StringIO(), True)):
        assert "2/2 trials" in shown and "steps/s" in shown


def test_seeds_are_coordinates_and_keys():
    result = jt.run(jt.Experiment(linear, jt.grid(lr=[0.0]), DATA, steps=2, seeds=[7, 2**31 - 1], eval_every=2))
    assert result.dataset["seed"].values.tolist() == [7, 2**31 - 1]
    model = jt.models.as_model(jt.models.MLP((), 10))
    for seed in (7, 2**31 - 1):
        expected, _ = model.init(jt._keys.stream_key(jax.random.key(seed), "init"), DATA.train.x[:1])
        assert_same_bits(jax.device_get(expected), result.variables(seed=seed).params)


@pytest.mark.parametrize("first", ["", "jax.devices(); "])
def test_all_cores_are_asked_for_before_jax_starts(first):
    code = f"import os, jax, jaxtune as jt; {first}print(jt.use_all_cores(), len(os.sched_getaffinity(0)), jax.device_count())"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert out[0] == out[2] == ("1" if first else out[1])


def test_other_errors_of_a_run_are_not_swallowed(monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("jaxtune.sweep._train.run_program", interrupted)
    with pytest.raises(KeyboardInterrupt):
        jt.run(jt.Experiment(linear, jt.grid(lr=[0.1]), DATA, steps=4, seeds=2))
