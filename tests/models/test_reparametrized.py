"""Weight and spectral normalization of unmodified models."""

import flax.linen as nn
import jax
import numpy as np
import optax
import pytest
from flax import nnx
from problems import digits

import jaxtune as jt
from jaxtune.models import as_model, with_spectral_norm, with_weight_norm

KEY = jax.random.key(0)
X = jax.random.normal(KEY, (6, 8, 8, 1))
MODELS = {
    "linen": jt.models.CNN((3,), 4),
    "nnx": lambda rngs: nnx.Sequential(lambda x: x.reshape(x.shape[0], -1), nnx.Linear(64, 4, rngs=rngs)),
}


def call(model, params, state, train=False):
    return model.apply(params, state, X, key=KEY, train=train)


@pytest.mark.parametrize("name", MODELS)
def test_weight_norm_begins_as_the_model_and_learns_lengths(name):
    inner, model = as_model(MODELS[name]), with_weight_norm(MODELS[name])
    params, state = model.init(KEY, X)
    plain = inner.init(KEY, X)
    np.testing.assert_allclose(call(model, params, state)[0], call(inner, *plain)[0], rtol=1e-4, atol=1e-5)
    kernels = [leaf for leaf in jax.tree.leaves(plain[0]) if leaf.ndim > 1]
    lengths = jax.tree.leaves(params["length"])
    assert sorted(a.shape for a in lengths) == sorted((k.shape[-1],) for k in kernels)
    longer = {**params, "length": jax.tree.map(lambda g: 2.0 * g, params["length"])}
    doubled = jax.tree.map(lambda w: 2.0 * w if w.ndim > 1 else w, plain[0])
    np.testing.assert_allclose(call(model, longer, state)[0], call(inner, doubled, plain[1])[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_spectral_norm_bounds_every_kernel(name):
    inner = as_model(MODELS[name])
    model = with_spectral_norm(MODELS[name], 0.5, iterations=3)
    params, state = model.init(KEY, X)
    for _ in range(30):
        outputs, state = call(model, params, state, train=True)

    def bounded(w):
        if w.ndim < 2:
            return w
        return 0.5 * w / np.linalg.svd(np.asarray(w).reshape(-1, w.shape[-1]), compute_uv=False)[0]

    expected = call(inner, jax.tree.map(bounded, params), state["model"])[0]
    np.testing.assert_allclose(outputs, expected, rtol=2e-3, atol=1e-4)
    seen, kept = call(model, params, state)
    np.testing.assert_allclose(seen, outputs, rtol=1e-3, atol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, kept["vector"], state["vector"])  # evaluation moves nothing


def test_kernels_of_zeros_can_be_learned_and_are_bounded():
    zeros = nn.Dense(4, kernel_init=nn.initializers.zeros)
    x = X[:, :, 0, 0]
    model = with_weight_norm(zeros)
    params, state = model.init(KEY, x)

    def loss(params, model=model, state=state):
        outputs, _ = model.apply(params, state, x, key=KEY, train=True)
        return ((outputs - 1.0) ** 2).sum()

    np.testing.assert_array_equal(model.apply(params, state, x, key=KEY, train=True)[0], np.zeros((6, 4)))
    assert (jax.grad(loss)(params)["length"]["kernel"] != 0).all()
    model = with_spectral_norm(zeros, 0.1)
    params, state = model.init(KEY, x)
    params = jax.tree.map(lambda w: w + 1.0, params)
    for _ in range(20):
        outputs, state = model.apply(params, state, x, key=KEY, train=True)
    w = np.asarray(params["kernel"])
    expected = np.asarray(x) @ (0.1 * w / np.linalg.svd(w, compute_uv=False)[0]) + np.asarray(params["bias"])
    np.testing.assert_allclose(outputs, expected, rtol=1e-4)


def test_the_power_method_moves_in_training():
    model = with_spectral_norm(nn.Dense(4), 0.5)
    params, state = model.init(KEY, X[:, :, 0, 0])
    other = {**params, "kernel": jax.random.normal(jax.random.key(5), params["kernel"].shape)}
    for _ in range(40):
        outputs, state = model.apply(other, state, X[:, :, 0, 0], key=KEY, train=True)
    w = np.asarray(other["kernel"])
    scaled = 0.5 * w / np.linalg.svd(w, compute_uv=False)[0]
    np.testing.assert_allclose(
        outputs, np.asarray(X[:, :, 0, 0]) @ scaled + np.asarray(other["bias"]), rtol=1e-3, atol=1e-4
    )


def test_kernels_are_chosen_and_layers_stay_named():
    model = with_weight_norm(
        nn.Sequential([nn.Dense(3), nn.Dense(2)]), where=lambda path, leaf: path == "layers_1/kernel"
    )
    params, state = model.init(KEY, X[:, :, 0, 0])
    assert [leaf.shape for leaf in jax.tree.leaves(params["length"])] == [(2,)]
    _, _, seen = model.capture(params, state, X[:, :, 0, 0], key=KEY, train=True)
    assert "layers_1" in seen
    with pytest.raises(ValueError, match="it chooses no kernel"):
        with_weight_norm(nn.Dense(3), where=lambda path, leaf: False).init(KEY, X)


@pytest.mark.slow
def test_both_are_lanes_of_a_run():
    def recipe(hp):
        inner = jt.models.MLP((8,), hp.run.outputs, batch_norm=True)
        model = with_weight_norm(with_spectral_norm(inner, hp.bound, always=False))
        return jt.Recipe(model, optimizer=optax.sgd(0.5), batch_size=16)

    experiment = jt.Experiment(
        recipe, jt.grid(bound=[0.1, 1.0, float("inf")]), digits(), steps=6, seeds=2, eval_every=3
    )
    assert len(jt.plan(experiment).programs) == 1
    result = jt.run(experiment)
    losses = result.dataset["train_loss"].isel(step=-1).values
    assert np.isfinite(losses).all() and (losses[0] > losses[2]).all()
    params, state = result.variables(bound=0.1, seed=0)
    start = result.variables(bound=1.0, seed=0).params
    assert (params["length"]["Dense_0"]["kernel"] != start["length"]["Dense_0"]["kernel"]).any()
    assert set(state) == {"model", "vector"}
