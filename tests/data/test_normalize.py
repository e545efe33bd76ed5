"""Normalization against NumPy and scikit-learn, and inside training."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from problems import digits
from sklearn.preprocessing import MinMaxScaler, StandardScaler

import jaxtune as jt
from jaxtune.data import min_max, standardize, whiten

RNG = np.random.default_rng(0)
TRAIN = RNG.normal(size=(60, 5)) @ RNG.normal(size=(5, 5)) + 3.0
OTHER = RNG.normal(size=(20, 5))


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


def applied(normalization, train=TRAIN, x=OTHER):
    return np.asarray(normalization.apply(normalization.fit(jnp.asarray(train)), jnp.asarray(x)))


@pytest.mark.usefixtures("x64")
def test_equal_scikit_learn():
    np.testing.assert_allclose(applied(standardize()), StandardScaler().fit(TRAIN).transform(OTHER), rtol=1e-10)
    expected = MinMaxScaler((-1, 2)).fit(TRAIN).transform(OTHER)
    np.testing.assert_allclose(applied(min_max(-1.0, 2.0)), expected, rtol=1e-10)


@pytest.mark.usefixtures("x64")
def test_whitened_inputs_have_the_identity_as_covariance():
    white = applied(whiten(1e-12), x=TRAIN)
    np.testing.assert_allclose(white.mean(0), np.zeros(5), atol=1e-10)
    np.testing.assert_allclose(white.T @ white / 60, np.eye(5), atol=1e-6)
    # ZCA: the matrix is the symmetric inverse root of the covariance.
    values, vectors = np.linalg.eigh(np.cov(TRAIN.T, bias=True))
    expected = (OTHER - TRAIN.mean(0)) @ (vectors / np.sqrt(values)) @ vectors.T
    np.testing.assert_allclose(applied(whiten(1e-12)), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.usefixtures("x64")
def test_whitened_inputs_need_one_step():
    """Least squares on whitened inputs has the identity as Hessian, so gradient descent at rate 1 is there at once."""
    y = RNG.normal(size=60)
    x = applied(whiten(1e-12), x=TRAIN)
    w = x.T @ y / 60
    np.testing.assert_allclose(x.T @ (x @ w - y) / 60, np.zeros(5), atol=1e-6)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("per, axes", [("entry", (0,)), ("channel", (0, 1, 2)), ("all", (0, 1, 2, 3))])
def test_statistics_of_images(per, axes):
    x = RNG.normal(size=(30, 4, 4, 3)) * np.arange(1, 4)
    expected = (x - x.mean(axes, keepdims=True)) / x.std(axes, keepdims=True)
    np.testing.assert_allclose(applied(standardize(per=per), x, x), expected, rtol=1e-9, atol=1e-12)
    low, high = x.min(axes, keepdims=True), x.max(axes, keepdims=True)
    np.testing.assert_allclose(applied(min_max(per=per), x, x), (x - low) / (high - low), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("normalization", [standardize(), min_max(), whiten()])
def test_what_is_constant_or_whole_is_no_trouble(normalization):
    x = RNG.integers(0, 255, (30, 4)).astype(np.uint8)
    x[:, 1] = 7
    found = applied(normalization, x, x)
    assert found.dtype == np.float32 and np.isfinite(found).all()
    np.testing.assert_allclose(found[:, 1], 0.0, atol=1e-4)


def test_inputs_may_be_a_tree():
    x = {"a": jnp.asarray(TRAIN, jnp.float32), "b": jnp.ones((60, 2, 2))}
    n = standardize()
    found = n.apply(n.fit(x), x)
    np.testing.assert_allclose(found["a"].std(0), np.ones(5), rtol=1e-4)
    np.testing.assert_array_equal(found["b"], np.zeros((60, 2, 2)))


def recipe(hp, normalize=None):
    return jt.Recipe(jt.models.MLP((), hp.run.outputs), optimizer=optax.sgd(hp.lr), batch_size=16, normalize=normalize)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_training_sees_what_was_normalized_by_hand(batch_norm):
    data = digits()
    flat = {name: np.asarray(getattr(data, name).x).reshape(-1, 64) for name in ("train", "valid", "test")}
    mean, std = flat["train"].mean(0), flat["train"].std(0)

    def by_hand(split):
        part = getattr(data, split)
        return jt.data.Arrays(np.where(std > 0, (flat[split] - mean) / np.where(std > 0, std, 1), 0), part.y)

    ready = jt.data.Splits(*(by_hand(split) for split in ("train", "valid", "test")))

    def inside(hp, normalize=standardize()):  # noqa: B008 (no state)
        model = jt.models.MLP((8,), hp.run.outputs, batch_norm=batch_norm)
        return jt.Recipe(model, optimizer=optax.sgd(hp.lr), batch_size=16, normalize=normalize)

    space, settings = jt.grid(lr=[0.1, 0.5]), {"steps": 6, "seeds": 2, "eval_every": 3}
    ours = jt.run(jt.Experiment(inside, space, data, **settings))
    theirs = jt.run(jt.Experiment(lambda hp: inside(hp, None), space, ready, **settings))
    for name in ("train_loss", "valid_loss", "test_loss"):
        np.testing.assert_allclose(ours.dataset[name], theirs.dataset[name], rtol=2e-4)
    x = np.asarray(data.test.x)
    np.testing.assert_allclose(
        ours.predict(x, lr=0.1, seed=1), theirs.predict(ready.test.x, lr=0.1, seed=1), rtol=1e-3, atol=1e-4
    )
    statistics = ours.variables(lr=0.1, seed=0).model_state["inputs"]
    np.testing.assert_allclose(statistics[0].reshape(-1), mean, rtol=1e-5, atol=1e-6)


def test_normalizations_are_an_axis():
    kinds = {"none": None, "standard": standardize(), "whitened": whiten(1e-2)}
    space = jt.grid(inputs=kinds, lr=[0.1])
    experiment = jt.Experiment(lambda hp: recipe(hp, hp.inputs), space, digits(), steps=4, seeds=1, eval_every=4)
    result = jt.run(experiment)
    losses = result.dataset["valid_loss"].isel(step=-1).values.ravel()
    assert np.isfinite(losses).all() and len(set(losses.tolist())) == 3


def test_bad_use_is_refused():
    with pytest.raises(ValueError, match="`per` is 'row'"):
        standardize(per="row")
    with pytest.raises(TypeError, match="it is no normalization"):
        jt.Recipe(jt.models.MLP((), 10), optimizer=optax.sgd(0.1), batch_size=16, normalize="standard")
