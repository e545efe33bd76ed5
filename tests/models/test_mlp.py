"""The multilayer perceptron against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from asserts import assert_same_bits

from jaxtune.models import MLP

KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(16, 2, 3)).astype(np.float32)


def dense(x, layer):
    return x @ np.asarray(layer["kernel"], np.float64) + np.asarray(layer["bias"], np.float64)


@pytest.mark.parametrize("hidden, outputs", [((), 3), ((5,), 1), ((7, 4), 10)])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_parameter_count(hidden, outputs, batch_norm):
    variables = jax.eval_shape(MLP(hidden, outputs, batch_norm=batch_norm).init, KEY, X)
    widths = [6, *hidden, outputs]
    expected = sum(a * b + b for a, b in zip(widths[:-1], widths[1:], strict=True)) + 2 * batch_norm * sum(hidden)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == expected


@pytest.mark.parametrize("train", [False, True])
def test_outputs(train):
    model = MLP((7, 4), 3, activation=jnp.tanh)
    params = model.init(KEY, X)["params"]
    h = np.tanh(dense(X.reshape(16, 6).astype(np.float64), params["Dense_0"]))
    expected = dense(np.tanh(dense(h, params["Dense_1"])), params["Dense_2"])
    np.testing.assert_allclose(model.apply({"params": params}, X, train=train), expected, atol=1e-5)


@pytest.mark.parametrize("momentum", [0.0, 0.9, 1.0])
def test_batch_norm(momentum):
    model = MLP((5,), 2, batch_norm=True, momentum=momentum, activation=lambda x: x)
    variables = model.init(KEY, X)
    out, new = model.apply(variables, X, train=True, mutable=["batch_stats"])
    h = dense(X.reshape(16, 6).astype(np.float64), variables["params"]["Dense_0"])
    mean, variance = h.mean(0), h.var(0)  # the biased variance
    stats = new["batch_stats"]["BatchNorm_0"]
    np.testing.assert_allclose(stats["mean"], (1 - momentum) * mean, atol=1e-6)
    np.testing.assert_allclose(stats["var"], momentum + (1 - momentum) * variance, atol=1e-5)
    head = variables["params"]["Dense_1"]
    np.testing.assert_allclose(out, dense((h - mean) / np.sqrt(variance + 1e-5), head), atol=1e-4)
    evaluated = model.apply({**variables, **new}, X)
    mean, variance = (1 - momentum) * mean, momentum + (1 - momentum) * variance
    np.testing.assert_allclose(evaluated, dense((h - mean) / np.sqrt(variance + 1e-5), head), atol=1e-4)


def test_dropout_is_for_training():
    model = MLP((64,), 2, dropout=0.5)
    variables = model.init(KEY, X)
    trained = model.apply(variables, X, train=True, rngs={"dropout": KEY})
    assert (trained != model.apply(variables, X)).any()
    assert_same_bits(model.apply(variables, X), MLP((64,), 2).apply(variables, X))


def test_traced_fields_are_lanes():
    variables = MLP((8,), 2, batch_norm=True).init(KEY, X)

    def lane(dropout, momentum):
        model = MLP((8,), 2, dropout=dropout, batch_norm=True, momentum=momentum)
        return model.apply(variables, X, train=True, rngs={"dropout": KEY}, mutable=["batch_stats"])

    outputs, new = jax.vmap(lane)(jnp.array([0.0, 1.0]), jnp.array([1.0, 0.5]))
    np.testing.assert_allclose(outputs[1], np.zeros((16, 2)))  # all hidden units dropped, and the bias is zero
    assert (outputs[0] != 0).any()
    np.testing.assert_array_equal(new["batch_stats"]["BatchNorm_0"]["mean"][0], np.zeros(8))
    assert (new["batch_stats"]["BatchNorm_0"]["mean"][1] != 0).all()


@pytest.mark.parametrize(
    "fields, error, match",
    [
        (dict(hidden=(8, 2.5)), TypeError, "`hidden` is 2.5: a whole number"),
        (dict(hidden=(0,)), ValueError, "`hidden` is 0: it has to be at least 1"),
        (dict(outputs="2"), TypeError, "`outputs` is '2'"),
        (dict(dropout=1.5), ValueError, "`rate` is 1.5"),
        (dict(momentum=-0.1), ValueError, "`momentum` is -0.1: it has to be between 0 and 1"),
    ],
)
def test_bad_fields(fields, error, match):
    with pytest.raises(error, match=match):
        MLP(**(dict(hidden=(4,), outputs=2) | fields)).init(KEY, X)


@pytest.mark.parametrize("field", ["hidden", "outputs"])
def test_widths_cannot_be_traced(field):
    def lane(width):
        return MLP(**(dict(hidden=(4,), outputs=2) | {field: (width,) if field == "hidden" else width})).init(KEY, X)

    with pytest.raises(TypeError, match=rf"`{field}` is traced: it shapes the program.*jt\.static"):
        jax.jit(lane)(3)
