"""Penalties on activations: closed forms, and inside of training unmodified models."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from problems import digits

import jaxtune as jt
from jaxtune.penalties import activity_l1, activity_l2, kl_sparsity

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(6, 5)), RNG.normal(size=(6, 3, 3, 2))
SEEN = {"Dense_0": A, "Conv_0": B}


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


def kl(rate, q):
    return rate * np.log(rate / q) + (1 - rate) * np.log((1 - rate) / (1 - q))


@pytest.mark.usefixtures("x64")
def test_values():
    absolute, squares = (np.abs(A).sum() + np.abs(B).sum()) / 6, (A**2).sum() / 6
    np.testing.assert_allclose(
        activity_l1(0.3, "Dense_0", "Conv_0")({}, intermediates=SEEN), 0.3 * absolute, rtol=1e-12
    )
    np.testing.assert_allclose(activity_l2(0.3, "Dense_0")({}, intermediates=SEEN), 0.3 * squares, rtol=1e-12)
    positive = activity_l1(1.0, "Dense_0", through=nn.relu)({}, intermediates=SEEN)
    np.testing.assert_allclose(positive, np.maximum(A, 0).sum() / 6, rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_sparsity():
    p = 1 / (1 + np.exp(-A))
    found = kl_sparsity(0.5, 0.05, "Dense_0", through=nn.sigmoid)({}, intermediates=SEEN)
    np.testing.assert_allclose(found, 0.5 * kl(0.05, p.mean(0)).sum(), rtol=1e-10)
    channels = 1 / (1 + np.exp(-B))
    found = kl_sparsity(0.5, 0.05, "Conv_0", through=nn.sigmoid)({}, intermediates=SEEN)
    np.testing.assert_allclose(found, 0.5 * kl(0.05, channels.mean((0, 1, 2))).sum(), rtol=1e-10)
    constant = {"a": jnp.full((4, 1), 0.2)}
    np.testing.assert_allclose(kl_sparsity(1.0, 0.05, "a")({}, intermediates=constant), 0.093943, atol=5e-7)
    slope = jax.grad(lambda q: kl_sparsity(1.0, 0.05, "a")({}, intermediates={"a": jnp.full((1, 1), q)}))(0.2)
    np.testing.assert_allclose(slope, 0.9375, rtol=1e-9)
    assert float(kl_sparsity(1.0, 0.2, "a")({}, intermediates=constant)) == pytest.approx(0.0, abs=1e-15)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_extreme_rates_are_finite(rate):
    found = kl_sparsity(1.0, rate, "a")({}, intermediates={"a": jnp.full((4, 1), 0.2)})
    np.testing.assert_allclose(found, -np.log(0.8 if rate == 0 else 0.2), rtol=1e-10)


EVERY = [activity_l1, activity_l2, lambda s, *names: kl_sparsity(s, 0.1, *names, through=nn.sigmoid)]


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("make", EVERY)
def test_a_batch_twice_is_the_same_and_weight_zero_is_not_there(make):
    once = make(0.3, "Dense_0")({}, intermediates=SEEN)
    twice = make(0.3, "Dense_0")({}, intermediates={"Dense_0": np.concatenate([A, A])})
    filled = make(0.3, "Dense_0")(
        {}, intermediates={"Dense_0": np.concatenate([A, 9 + A])}, weight=jnp.array([1.0] * 6 + [0.0] * 6)
    )
    np.testing.assert_allclose(twice, once, rtol=1e-12)
    np.testing.assert_allclose(filled, once, rtol=1e-12)


class Linen(nn.Module):
    """Two dense layers; the hidden activations are sown."""

    @nn.compact
    def __call__(self, x):
        h = nn.Dense(8)(x.reshape(x.shape[0], -1))
        self.sow("intermediates", "hidden", nn.relu(h))
        return nn.Dense(10)(nn.relu(h))


class Nnx(nnx.Module):
    """The same in NNX."""

    def __init__(self, rngs):
        self.first = nnx.Linear(64, 8, rngs=rngs)
        self.second = nnx.Linear(8, 10, rngs=rngs)

    def __call__(self, x):
        h = self.first(x.reshape(x.shape[0], -1))
        self.sow(nnx.Intermediate, "hidden", nnx.relu(h))
        return self.second(nnx.relu(h))


MODELS = {"linen": (Linen(), "Dense_0"), "nnx": (lambda rngs: Nnx(rngs), "first")}


@pytest.mark.parametrize("name", MODELS)
def test_layers_of_unmodified_models_have_names(name):
    given, layer = MODELS[name]
    model = jt.models.as_model(given)
    x = jnp.asarray(digits().train.x[:5])
    params, state = model.init(jax.random.key(0), x)
    outputs, _, seen = model.capture(params, state, x, key=jax.random.key(1), train=True)
    np.testing.assert_array_equal(outputs, model.apply(params, state, x, key=jax.random.key(1), train=True)[0])
    assert {layer, "hidden"} < set(seen)
    np.testing.assert_array_equal(seen["hidden"], np.maximum(seen[layer], 0))
    kernel, bias = params[layer]["kernel"], params[layer]["bias"]
    np.testing.assert_allclose(seen[layer], np.asarray(x).reshape(5, -1) @ kernel + bias[None], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_representations_become_sparse(name):
    model, _ = MODELS[name]
    data = digits()

    def recipe(hp):
        sparse = activity_l1(hp.strength, "hidden")
        return jt.Recipe(model, optimizer=optax.adam(1e-2), batch_size=24, penalty=(sparse, jt.penalties.l2(1e-4)))

    space = jt.grid(strength=[0.0, 0.03, 0.3])
    result = jt.run(jt.Experiment(recipe, space, data, steps=30, seeds=2, eval_every=15))
    adapted, active = jt.models.as_model(model), []
    for i, strength in enumerate((0.0, 0.03, 0.3)):
        kept = result.variables(strength=strength, seed=0)
        x = jnp.asarray(data.train.x)
        _, _, seen = adapted.capture(kept.params, kept.model_state, x, key=jax.random.key(0), train=False)
        size = np.abs(np.asarray(seen["hidden"], np.float64)).sum() / len(x)
        active.append(size)
        logged = result.dataset["train_penalty_activity_l1"].isel(step=-1, seed=0).values[i]
        np.testing.assert_allclose(logged, strength * size, rtol=1e-4, atol=1e-7)
    assert active[0] > active[1] > active[2]
    assert "train_penalty_l2" in result.dataset


@pytest.mark.slow
def test_convolutional_models_on_the_fast_path():
    def recipe(hp):
        sparse = activity_l2(hp.strength, "Conv_0", through=nn.relu)
        model = jt.models.CNN((4,), hp.run.outputs)
        return jt.Recipe(model, optimizer=optax.sgd(1e-2), batch_size=16, penalty=sparse)

    experiment = jt.Experiment(recipe, jt.grid(strength=[0.0, 1.0]), digits(), steps=4, seeds=1, eval_every=4)
    fast, plain = (jt.run(experiment, convolution=form).dataset for form in ("patches", "native"))
    np.testing.assert_allclose(fast["valid_loss"], plain["valid_loss"], rtol=1e-4)
    np.testing.assert_allclose(
        fast["train_penalty_activity_l2"], plain["train_penalty_activity_l2"], rtol=1e-3, atol=1e-6
    )


def test_what_is_missing_is_said():
    with pytest.raises(ValueError, match="the model has no such layer. Choose among: Conv_0, Dense_0"):
        activity_l1(1.0, "Dense_7")({}, intermediates=SEEN)
    with pytest.raises(ValueError, match="no layer was named"):
        activity_l1(1.0)({}, intermediates=SEEN)
    with pytest.raises(ValueError, match="`intermediates` is None: the penalty 'activity_l1' needs it"):
        activity_l1(1.0, "Dense_0")({})

    def recipe(hp):
        model = jt.Model(
            lambda key, x: ({"w": jnp.zeros((64, 10))}, {}), lambda p, s, x, **_: (x.reshape(-1, 64) @ p["w"], s)
        )
        penalty = activity_l1(hp.strength, "Dense_0")
        return jt.Recipe(model, optimizer=optax.sgd(0.1), batch_size=16, penalty=penalty)

    with pytest.raises(ValueError, match="a penalty needs what its layers return"):
        jt.train(recipe, jax.random.key(0), {"strength": 1.0}, digits(), steps=1)
