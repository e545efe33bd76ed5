"""Penalties on outputs and on input gradients: closed forms, alone and in training."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from problems import digits
from scipy.special import softmax

import jaxtune as jt
from jaxtune.penalties import confidence, input_gradient

RNG = np.random.default_rng(0)
KEY = jax.random.key(0)
LOGITS = RNG.normal(size=(6, 4))
WEIGHT = np.array([1.0, 0.0, 2.0, 1.0, 0.0, 1.0])


def test_confidence_is_minus_the_entropy():
    p = softmax(LOGITS, axis=1)
    each = (p * np.log(p)).sum(1)
    np.testing.assert_allclose(confidence(0.3)({}, outputs=jnp.asarray(LOGITS)), 0.3 * each.mean(), rtol=1e-5)
    found = confidence(0.3)({}, outputs=jnp.asarray(LOGITS), weight=jnp.asarray(WEIGHT))
    np.testing.assert_allclose(found, 0.3 * (WEIGHT * each).sum() / WEIGHT.sum(), rtol=1e-5)
    sure = jnp.array([[1e4, 0.0, 0.0]])
    assert float(confidence(1.0)({}, outputs=sure)) == 0.0
    assert np.isfinite(jax.grad(lambda o: confidence(1.0)({}, outputs=o))(sure)).all()


def test_input_gradient_is_the_mean_of_squares():
    g = RNG.normal(size=(6, 3, 2))
    np.testing.assert_allclose(
        input_gradient(0.5)({}, input_gradient=jnp.asarray(g)), 0.5 * (g**2).sum() / 6, rtol=1e-5
    )
    tree = {"a": jnp.asarray(g), "b": jnp.asarray(LOGITS)}
    expected = 0.5 * ((g**2).sum() + (LOGITS**2).sum()) / 6
    np.testing.assert_allclose(input_gradient(0.5)({}, input_gradient=tree), expected, rtol=1e-5)


def test_what_is_missing_is_named():
    with pytest.raises(ValueError, match="`input_gradient` is None: the penalty 'input_gradient' needs it"):
        input_gradient(0.5)({})


def linear_by_hand(data, strength, lr, steps, batch_size, weights=None):
    """Returns linear regression trained on `mean loss + strength * mean ||dl/dx||^2`, in NumPy, and the penalty."""
    n = len(data.train.y)
    x, y = np.asarray(data.train.x, np.float64), np.asarray(data.train.y, np.float64)
    w, b = (np.asarray(a, np.float64) for a in START)
    for t in range(steps):
        order = np.asarray(jt.data.batches._table.epoch_order(KEY, jnp.int32(t * batch_size // n), n))
        rows = order[(t * batch_size) % n :][:batch_size]
        u = np.ones(len(rows)) if weights is None else weights[rows]
        residual = x[rows] @ w + b - y[rows]
        share = u / u.sum()
        # l = r^2, dl/dx = 2 r w; penalty 4 s mean(r^2) ||w||^2
        inner = 2 * share * residual * (1 + 4 * strength * w @ w)
        dw = x[rows].T @ inner + 8 * strength * (share * residual**2).sum() * w
        w, b = w - lr * dw, b - lr * inner.sum()
    return w, b


START = (np.linspace(-0.3, 0.4, 5), 0.1)


@pytest.mark.parametrize("weighted", [False, True])
def test_training_follows_the_gradient_of_the_gradient(weighted):
    x = RNG.normal(size=(48, 5)).astype("float32")
    y = (x @ np.arange(5.0) + RNG.normal(size=48)).astype("float32")
    weights = np.tile([1.0, 2.0, 0.5], 16).astype("float32")
    train = jt.data.Arrays(x[:32], y[:32], weights[:32] if weighted else None)
    rest = jt.data.Arrays(x[32:], y[32:], weights[32:] if weighted else None)
    data = jt.data.Splits(train, rest, rest)

    def init(key, x):
        return tuple(jnp.asarray(a, jnp.float32) for a in START), {}

    def apply(params, state, x, *, key, train):
        return x @ params[0] + params[1], state

    def recipe(hp):
        return jt.Recipe(jt.Model(init, apply), optimizer=optax.sgd(0.01), batch_size=16, penalty=input_gradient(hp.s))

    state, history = jt.train(recipe, KEY, {"s": 0.02}, data, steps=4, eval_every=2)
    w, b = linear_by_hand(data, 0.02, 0.01, 4, 16, weights if weighted else None)
    np.testing.assert_allclose(state.params[0], w, rtol=1e-4)
    np.testing.assert_allclose(state.params[1], b, rtol=1e-4)
    u = weights[:32] if weighted else np.ones(32)
    expected = 0.02 * 4 * (u / u.sum() * (x[:32] @ w + b - y[:32]) ** 2).sum() * (w @ w)
    np.testing.assert_allclose(history.metrics["train_penalty_input_gradient"][-1], expected, rtol=1e-3)


@pytest.mark.parametrize("model", ["dense", "convolutional"])
def test_both_are_axes_of_unmodified_models(model):
    def recipe(hp):
        net = jt.models.CNN((4,), hp.run.outputs) if model == "convolutional" else jt.models.MLP((8,), hp.run.outputs)
        penalty = (confidence(hp.confidence), input_gradient(hp.gradient))
        return jt.Recipe(net, optimizer=optax.sgd(0.3), batch_size=16, penalty=penalty)

    space = jt.arms({"confidence": 0.0, "gradient": 0.0}, sure={"confidence": 1.0}, smooth={"gradient": 3.0})
    result = jt.run(jt.Experiment(recipe, space, digits(), steps=24, seeds=2, eval_every=12))
    last = result.dataset.isel(step=-1)
    weaker = float(last["train_penalty_input_gradient"].sel(arm="smooth").mean()) / 3.0
    assert 0 < weaker < 0.02
    for arm, name in (("sure", "confidence"), ("smooth", "input_gradient")):
        assert np.isfinite(last[f"train_penalty_{name}"].sel(arm=arm)).all()
        assert (last[f"train_penalty_{name}"].sel(arm="default") == 0).all()
    assert (last["train_loss"].sel(arm="sure") > last["train_loss"].sel(arm="default")).all()


def test_the_inputs_are_those_that_the_network_sees():
    data = digits()
    flat = {name: np.asarray(getattr(data, name).x).reshape(-1, 64) for name in ("train", "valid", "test")}
    mean, std = flat["train"].mean(0), flat["train"].std(0)
    by_hand = jt.data.Splits(
        *(
            jt.data.Arrays(np.where(std > 0, (x - mean) / np.where(std > 0, std, 1), 0), getattr(data, name).y)
            for name, x in flat.items()
        )
    )

    def recipe(hp, normalize=None):
        model = jt.models.MLP((8,), hp.run.outputs)
        penalty = input_gradient(hp.s)
        return jt.Recipe(model, optimizer=optax.sgd(0.05), batch_size=16, penalty=penalty, normalize=normalize)

    inside = jt.train(lambda hp: recipe(hp, jt.data.standardize()), KEY, {"s": 0.1}, data, steps=6, eval_every=3)[1]
    outside = jt.train(recipe, KEY, {"s": 0.1}, by_hand, steps=6, eval_every=3)[1]
    for name in ("train_loss", "valid_loss", "train_penalty_input_gradient"):
        np.testing.assert_allclose(inside.metrics[name], outside.metrics[name], rtol=1e-3)


def test_masked_and_missing_classes():
    masked = jnp.array([[1.0, 2.0, -jnp.inf]])
    p = softmax(np.array([1.0, 2.0]))
    np.testing.assert_allclose(confidence(1.0)({}, outputs=masked), (p * np.log(p)).sum(), rtol=1e-5)
    for outputs in (jnp.ones((3, 1)), jnp.ones(3)):
        with pytest.raises(ValueError, match="one of several classes"):
            confidence(1.0)({}, outputs=outputs)
    with pytest.raises(ValueError, match="Pass a tuple of"):
        jt.penalties.Penalty("mine", lambda params: 0.0, ("outputs", "gradient"))


def test_whole_numbers_have_no_gradient():
    data = jt.data.from_arrays(np.arange(60).reshape(30, 2), np.arange(30.0, dtype="float32"))

    def recipe(hp):
        def apply(params, state, x, *, key, train):
            return params[x].sum(1), state

        model = jt.Model(lambda key, x: (jnp.ones(60), {}), apply)
        return jt.Recipe(model, optimizer=optax.sgd(0.1), batch_size=4, penalty=input_gradient(hp.s))

    with pytest.raises(ValueError, match="Pass inputs as floats"):
        jt.plan(jt.Experiment(recipe, jt.grid(s=[0.1, 0.2]), data, steps=4))
