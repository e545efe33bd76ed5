"""Statistics over the whole split: exact for one batch, near for several, for Flax's layers and for ours."""

import flax.linen as nn
import jax
import numpy as np
import optax
import pytest
from asserts import assert_same_bits
from flax import nnx
from problems import digits

import jaxtune as jt

KEY = jax.random.key(0)
X = np.asarray(1.0 + 2.0 * jax.random.normal(KEY, (60, 5)))


class Linen(nn.Module):
    norm: type[nn.Module] = nn.BatchNorm
    momentum: float = 0.99

    @nn.compact
    def __call__(self, x, train):
        x = nn.Dense(4)(x)
        x = nn.relu(self.norm(use_running_average=not train, momentum=self.momentum, name="norm")(x))
        return nn.Dense(2)(nn.BatchNorm(use_running_average=not train, momentum=0.5)(x))


class NNX(nnx.Module):
    def __init__(self, rngs):
        self.dense = nnx.Linear(5, 4, rngs=rngs)
        self.norm = nnx.BatchNorm(4, momentum=0.7, rngs=rngs)

    def __call__(self, x):
        return self.norm(self.dense(x))


@pytest.mark.parametrize("norm", [nn.BatchNorm, jt.nn.linen.BatchNorm])
def test_one_batch_gives_the_moments_of_all(norm):
    model = jt.models.as_model(Linen(norm))
    params, state = model.init(KEY, X)
    new = jt.models.reestimate(model, params, state, X)["batch_stats"]
    first = X @ np.asarray(params["Dense_0"]["kernel"]) + np.asarray(params["Dense_0"]["bias"])
    np.testing.assert_allclose(new["norm"]["mean"], first.mean(0), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(new["norm"]["var"], first.var(0), rtol=1e-3)
    second = np.maximum((first - first.mean(0)) / np.sqrt(first.var(0) + 1e-5), 0)
    np.testing.assert_allclose(new["BatchNorm_0"]["mean"], second.mean(0), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(new["BatchNorm_0"]["var"], second.var(0), rtol=1e-3)


def test_nnx():
    model = jt.models.as_model(lambda rngs: NNX(rngs))
    params, state = model.init(KEY, X)
    new = jt.models.reestimate(model, params, state, X)
    first = X @ params["dense"]["kernel"] + params["dense"]["bias"][None]
    np.testing.assert_allclose(new["norm"]["mean"], first.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(new["norm"]["var"], first.var(0), rtol=1e-4)


@pytest.mark.parametrize("size", [20, 25, 59])
def test_batches_of_equal_size_are_put_together(size):
    seen = []
    model = jt.models.as_model(lambda rngs: NNX(rngs))
    params, state = model.init(KEY, X)

    def apply(*args, **settings):
        seen.append(args[2].shape[0])
        return model.apply(*args, **settings)

    new = jt.models.reestimate(jt.Model(model.init, apply), params, state, X, batch_size=size)
    assert set(seen) == {60 // -(-60 // size)}
    first = X @ params["dense"]["kernel"] + params["dense"]["bias"][None]
    np.testing.assert_allclose(new["norm"]["mean"], first.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(new["norm"]["var"], first.var(0), rtol=1e-4)


def test_batches_overlap_where_the_size_does_not_divide():
    model = jt.models.as_model(lambda rngs: NNX(rngs))
    params, state = model.init(KEY, X)
    x = X[:59]
    new = jt.models.reestimate(model, params, state, x, batch_size=30)
    both = np.concatenate([x, x[:1]]) @ params["dense"]["kernel"] + params["dense"]["bias"][None]
    np.testing.assert_allclose(new["norm"]["mean"], both.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(new["norm"]["var"], both.var(0), rtol=1e-4)


class Alone(nn.Module):
    momentum: float = 0.99

    @nn.compact
    def __call__(self, x, train):
        x = nn.BatchNorm(use_running_average=True, name="frozen")(x)
        return jt.nn.linen.BatchNorm(use_running_average=not train, momentum=self.momentum)(x)


@pytest.mark.parametrize("scale, shift", [(1e-4, 0.0), (1e4, 0.0), (1.0, 1e4)])
def test_statistics_of_any_size_are_found(scale, shift):
    model, x = jt.models.as_model(Alone()), scale * X + shift
    params, state = model.init(KEY, x)
    new = jt.models.reestimate(model, params, state, x, batch_size=20)["batch_stats"]["BatchNorm_0"]
    np.testing.assert_allclose(new["mean"], x.mean(0), rtol=1e-4)
    np.testing.assert_allclose(new["var"], x.var(0), rtol=2e-3 if shift else 1e-3)


def test_what_training_does_not_change_is_left_alone_and_used():
    model = jt.models.as_model(Alone())
    params, state = model.init(KEY, X)
    state["batch_stats"]["frozen"]["mean"] = X.mean(0)
    new = jt.models.reestimate(model, params, state, X)["batch_stats"]
    np.testing.assert_allclose(new["frozen"]["mean"], X.mean(0), rtol=1e-5)
    np.testing.assert_allclose(new["BatchNorm_0"]["mean"], np.zeros(5), atol=1e-5)


def test_sorted_examples_are_spread_over_batches():
    x = np.sort(X, 0)
    model = jt.models.as_model(Linen())
    params, state = model.init(KEY, x)
    whole = jt.models.reestimate(model, params, state, x)["batch_stats"]["BatchNorm_0"]["var"]
    parts = jt.models.reestimate(model, params, state, x, batch_size=20)["batch_stats"]["BatchNorm_0"]["var"]
    np.testing.assert_allclose(parts, whole, rtol=0.2)


def test_a_momentum_of_1_leaves_statistics_as_they_are():
    model = jt.models.as_model(Linen(momentum=1.0))
    params, state = model.init(KEY, X)
    new = jt.models.reestimate(model, params, state, X)
    assert_same_bits(new["batch_stats"]["norm"], state["batch_stats"]["norm"])
    assert (new["batch_stats"]["BatchNorm_0"]["mean"] != 0).any()


def test_other_state_is_left_alone():
    model = jt.models.as_model(jt.models.MLP((4,), 2))
    params, state = model.init(KEY, X)
    assert jt.models.reestimate(model, params, state, X) is state


def test_in_training_what_is_evaluated_and_kept_has_the_statistics_of_the_split():
    data = digits()

    def recipe(hp):
        model = jt.models.MLP((8,), hp.run.outputs, batch_norm=True, momentum=hp.momentum)
        averages = {"slow": jt.optim.ema(0.5)}
        return jt.Recipe(
            model,
            optimizer=optax.sgd(0.1),
            batch_size=16,
            weight_average=averages,
            reestimate=True,
            normalize=jt.data.standardize(per="all"),
        )

    space = jt.grid(momentum=[0.5, 0.99])
    result = jt.run(jt.Experiment(recipe, space, data, steps=6, seeds=1, eval_every=3))
    slow, fast = result.variables(momentum=0.99, seed=0), result.variables(momentum=0.5, seed=0)
    x = data.train.x.reshape(64, 64)
    x = (x - x.mean()) / x.std()
    first = x @ slow.params["Dense_0"]["kernel"] + slow.params["Dense_0"]["bias"]
    own = slow.model_state["model"]["batch_stats"]["BatchNorm_0"]
    np.testing.assert_allclose(own["mean"], first.mean(0), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(own["var"], first.var(0), rtol=1e-3)
    # Statistics no longer depend on the momentum, nor does anything that is measured.
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3), slow.model_state, fast.model_state
    )
    for name in ("valid_loss", "valid_loss_slow", "test_loss"):
        losses = result.dataset[name].values
        np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)
    assert not np.allclose(result.dataset["valid_loss"], result.dataset["valid_loss_slow"], rtol=1e-3)
    shown = np.asarray(result.predict(data.test.x, momentum=0.99, seed=0), np.float64)
    shown -= shown.max(1, keepdims=True)
    loss = (np.log(np.exp(shown).sum(1)) - shown[np.arange(len(shown)), data.test.y]).mean()
    np.testing.assert_allclose(loss, float(result.dataset["test_loss"].sel(momentum=0.99, seed=0)), rtol=1e-4)
