"""A trial's bits do not depend on what runs beside it, on how many devices, or on how the run is cut into segments."""

import jax
import pytest
from asserts import assert_same_bits
from problems import batch_norm, cnn, digits, mlp

import jaxtune as jt

STEPS = 40
ONE = {"dropout": 0.3, "lr": 1e-2}


def recipe_of(name):
    def narrow(hp):
        return mlp(jt.training.Hyperparameters({**hp, "l2": 1e-3, "patience": float("inf")}, hp.run))

    return {"mlp": narrow, "batch norm": batch_norm, "cnn": cnn}[name]


def run(name, dropout, lr, seeds, eval_every=10, devices=None):
    space = jt.grid(dropout=dropout, lr=lr)
    data = digits()
    experiment = jt.Experiment(recipe_of(name), space, data, steps=STEPS, seeds=seeds, eval_every=eval_every)
    return jt.run(experiment, devices=devices)


def everything(result):
    """Returns all that is known of the one trial, at the steps that every segmentation has."""
    point = {**ONE, "seed": 3}
    cube = result.dataset.sel(point)
    last = {k: v.values for k, v in cube.isel(step=-1, drop=True).data_vars.items() if v.dtype.kind != "U"}
    return last, result.variables(**point)


@pytest.fixture(scope="module", params=["mlp", "batch norm", "cnn"])
def alone(request):
    """The trial alone on one device."""
    return request.param, everything(run(request.param, [0.3], [1e-2], [3], devices=jax.devices()[:1]))


@pytest.mark.parametrize("devices", [1, 2])
def test_among_others_in_another_order(alone, devices):
    name, expected = alone
    many = run(name, [0.5, 0.3, 0.0], [1e-3, 1e-1, 1e-2], [5, 4, 3, 2, 1, 0, 6, 7], devices=jax.devices()[:devices])
    assert many.dataset["status"].size == 72
    assert_same_bits(everything(many), expected)


@pytest.mark.parametrize("devices", [1, 2])
def test_beside_a_diverging_neighbour(alone, devices):
    name, expected = alone
    result = run(name, [0.3], [1e30, 1e-2], [3], devices=jax.devices()[:devices])
    assert result.dataset["status"].sel(lr=1e30).item() == "diverged"
    assert_same_bits(everything(result), expected)


@pytest.mark.parametrize("eval_every", [1, 2, 40])
def test_in_segments(alone, eval_every):
    name, expected = alone
    assert_same_bits(everything(run(name, [0.3], [1e-2], [3], eval_every, jax.devices()[:1])), expected)


def test_again(alone):
    name, expected = alone
    assert_same_bits(everything(run(name, [0.3], [1e-2], [3])), expected)
