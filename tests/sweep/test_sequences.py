"""Recurrent and convolutional models of sequences and volumes, with dropout made for them, as lanes."""

import flax.linen as nn
import jax
import numpy as np
import optax
import pytest
from asserts import assert_same_bits
from problems import digits

import jaxtune as jt
from jaxtune._keys import stream_key

pytestmark = pytest.mark.slow

ROWS = digits(train=600, valid=400, test=400)


class ReadsRows(nn.Module):
    """Reads an image row by row, with one mask per sequence on what comes in, on the state and on what goes out."""

    rate: float

    @nn.compact
    def __call__(self, x, train):
        x = x.reshape(*x.shape[:2], -1)
        x = jt.nn.linen.VariationalDropout(self.rate, deterministic=not train)(x)
        cell = jt.nn.linen.StateDropout(nn.GRUCell(24), self.rate, deterministic=not train)
        x = nn.RNN(cell, split_rngs={"params": False, "dropout": False})(x)
        x = jt.nn.linen.VariationalDropout(self.rate, deterministic=not train)(x)
        return nn.Dense(10)(x[:, -1])


def test_variational_dropout_regularizes_a_recurrent_network():
    def recipe(hp):
        return jt.Recipe(ReadsRows(hp.rate), optimizer=optax.adam(1e-2), batch_size=50)

    experiment = jt.Experiment(recipe, jt.grid(rate=[0.0, 0.25]), ROWS, steps=240, seeds=4, eval_every=120)
    assert len(jt.plan(experiment).programs) == 1
    result = jt.run(experiment)
    last = result.dataset.isel(step=-1)
    assert float(last["valid_accuracy"].min()) > 0.8  # of ten classes, from rows of 8 pixels
    gap = (last["valid_loss"] - last["train_loss"]).mean("seed")
    assert float(gap.sel(rate=0.25)) < 0.7 * float(gap.sel(rate=0.0))


class Volumes(nn.Module):
    """Convolutions over one, two or three axes of space, with whole channels dropped."""

    axes: int
    rate: float

    @nn.compact
    def __call__(self, x, train):
        shape = {1: (64, 1), 2: (8, 8, 1), 3: (4, 4, 4, 1)}[self.axes]
        x = nn.relu(nn.Conv(8, (3,) * self.axes)(x.reshape(-1, *shape)))
        x = jt.nn.linen.SpatialDropout(self.rate, deterministic=not train)(x)
        return nn.Dense(10)(x.reshape(x.shape[0], -1))


@pytest.mark.parametrize("axes", [1, 3])
def test_spatial_dropout_in_one_and_three_dimensions(axes):
    def recipe(hp):
        return jt.Recipe(Volumes(axes, hp.rate), optimizer=optax.adam(5e-3), batch_size=16)

    space = jt.grid(rate=[0.0, 0.5, 1.0])
    result = jt.run(jt.Experiment(recipe, space, digits(train=128), steps=60, seeds=2, eval_every=30))
    last = result.dataset.isel(step=-1)
    loss = last["train_loss"].mean("seed")
    assert float(loss.sel(rate=0.0)) < float(loss.sel(rate=0.5)) < float(loss.sel(rate=1.0))
    assert float(last["valid_accuracy"].sel(rate=0.5).min()) > 0.5
    model, seed = jt.models.as_model(Volumes(axes, 0.0)), jax.random.key(0)
    start, _ = model.init(stream_key(seed, "init"), digits().train.x[:1])
    kept = result.variables(rate=1.0, seed=0).params
    assert_same_bits(kept["Conv_0"], jax.tree.map(np.asarray, start["Conv_0"]))  # no gradient passes
