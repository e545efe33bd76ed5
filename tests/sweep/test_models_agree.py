"""One network as a Linen module, as an NNX module and as a pair of functions trains the same."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from problems import digits

import jaxtune as jt
from jaxtune.models import as_model

pytestmark = pytest.mark.slow

DATA = digits()
HIDDEN = 24


class LinenNet(nn.Module):
    rate: float

    @nn.compact
    def __call__(self, x, deterministic):
        x = nn.relu(nn.Dense(HIDDEN)(x.reshape(x.shape[0], -1)))
        x = jt.nn.linen.Dropout(self.rate)(x, deterministic=deterministic)
        return nn.Dense(10)(x)


class NNXNet(nnx.Module):
    def __init__(self, rate, rngs):
        self.first = nnx.Linear(64, HIDDEN, rngs=rngs)
        self.dropout = jt.nn.nnx.Dropout(rate, rngs=rngs)
        self.second = nnx.Linear(HIDDEN, 10, rngs=rngs)

    def __call__(self, x):
        return self.second(self.dropout(nnx.relu(self.first(x.reshape(x.shape[0], -1)))))


def linen_model(rate):
    return as_model(LinenNet(rate))


def nnx_model(rate):
    model = as_model(lambda rngs: NNXNet(rate, rngs))

    def init(key, x):
        start, _ = linen_model(rate).init(key, x)
        params, state = model.init(key, x)
        copied = {"first": start["Dense_0"], "second": start["Dense_1"]}
        assert jax.tree.structure(copied) == jax.tree.structure(params)
        return copied, state

    return jt.Model(init, model.apply)


def plain_model(rate):
    def init(key, x):
        start, _ = linen_model(rate).init(key, x)
        return [(start[n]["kernel"], start[n]["bias"]) for n in ("Dense_0", "Dense_1")], ()

    def apply(params, state, x, *, key, train):
        (w, b), (v, c) = params
        x = jnp.maximum(x.reshape(x.shape[0], -1) @ w + b[None], 0)
        if train:
            x = jt.nn.dropout(key, x, rate)
        return x @ v + c[None], state

    return jt.Model(init, apply)


MODELS = {"linen": linen_model, "nnx": nnx_model, "plain": plain_model}


def run(dropout, steps, seeds, eval_every):
    def recipe(hp):
        model = MODELS[hp.model](hp.dropout)
        return jt.Recipe(model, optimizer=optax.adam(1e-2), batch_size=16, penalty=jt.penalties.l2(1e-3))

    space = jt.grid(model=list(MODELS), dropout=dropout)
    dataset = jt.run(jt.Experiment(recipe, space, DATA, steps=steps, seeds=seeds, eval_every=eval_every)).dataset
    assert (dataset["status"] == "finished").all()
    return dataset


def test_without_dropout_the_first_losses_agree():
    cube = run([0.0, 0.5], steps=10, seeds=2, eval_every=1).sel(dropout=0.0)
    for name in ("train_loss", "valid_loss", "train_penalty_l2"):
        spread = cube[name].max("model") - cube[name].min("model")
        assert spread.max() < 1e-5
    assert cube["train_loss"].isel(step=-1).max() < cube["train_loss"].isel(step=0).min()


def test_with_dropout_the_statistics_agree():
    cube = run([0.5], steps=40, seeds=24, eval_every=40).squeeze("dropout")
    finals = cube["valid_loss"].isel(step=-1)
    for other in ("nnx", "plain"):
        difference = (finals.sel(model=other) - finals.sel(model="linen")).values
        assert np.abs(difference).max() > 0, "masks differ, for their places do"
        assert abs(difference.mean()) < 3.5 * difference.std(ddof=1) / np.sqrt(len(difference))
        assert 0.5 < finals.sel(model=other).std() / finals.sel(model="linen").std() < 2.0


@pytest.mark.parametrize("stock", ["linen", "nnx"])
def test_stock_dropout_is_named_with_its_cure(stock):
    class Stock(nn.Module):
        rate: float

        @nn.compact
        def __call__(self, x, train):
            return nn.Dense(10)(nn.Dropout(self.rate, deterministic=not train)(x.reshape(x.shape[0], -1)))

    class StockNNX(nnx.Module):
        def __init__(self, rate, rngs):
            self.dropout = nnx.Dropout(rate, rngs=rngs)
            self.dense = nnx.Linear(64, 10, rngs=rngs)

        def __call__(self, x):
            return self.dense(self.dropout(x.reshape(x.shape[0], -1)))

    def recipe(hp):
        model = Stock(hp.dropout) if stock == "linen" else lambda rngs: StockNNX(hp.dropout, rngs)
        return jt.Recipe(model, optimizer=optax.sgd(0.1), batch_size=16)

    with pytest.raises(TypeError, match=rf"`dropout` is traced.*jt.nn.{stock}.Dropout.*jt.static") as caught:
        jt.plan(jt.Experiment(recipe, jt.grid(dropout=[0.1, 0.5]), DATA, steps=4))
    assert "test_models_agree.py" in str(caught.value) or stock == "linen"
