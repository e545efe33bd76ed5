"""The convolutional network against SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from asserts import assert_same_bits
from scipy.signal import correlate

from jaxtune.models import CNN

KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(4, 6, 4, 2)).astype(np.float32)


def convolved(x, layer):
    kernel, bias = (np.asarray(layer[name], np.float64) for name in ("kernel", "bias"))
    low, high = [(k - 1) // 2 for k in kernel.shape[:2]], [k // 2 for k in kernel.shape[:2]]
    x = np.pad(x.astype(np.float64), [(0, 0), (low[0], high[0]), (low[1], high[1]), (0, 0)])
    out = [[correlate(image, filters, "valid")[..., 0] for filters in np.moveaxis(kernel, -1, 0)] for image in x]
    return np.moveaxis(np.array(out), 1, -1) + bias


def pooled(x):
    n, height, width, channels = x.shape
    x = x[:, : height // 2 * 2, : width // 2 * 2]
    return x.reshape(n, height // 2, 2, width // 2, 2, channels).max((2, 4))


def dense(x, layer):
    return x.reshape(len(x), -1) @ np.asarray(layer["kernel"], np.float64) + np.asarray(layer["bias"], np.float64)


@pytest.mark.parametrize("size, features, kernel", [(8, (16, 32), (3, 3)), (9, (4,), (5, 3)), (8, (2, 3, 4), (1, 1))])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_parameter_count(size, features, kernel, batch_norm):
    params = jax.eval_shape(CNN(features, 10, kernel, batch_norm=batch_norm).init, KEY, jnp.ones((1, size, size, 3)))
    params = params["params"]
    channels = [3, *features]
    expected = sum(
        kernel[0] * kernel[1] * i * o + o + 2 * o * batch_norm for i, o in zip(channels[:-1], features, strict=True)
    )
    side = size // 2 ** len(features)
    expected += side * side * features[-1] * 10 + 10
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == expected
    for i, _ in enumerate(features):
        size_of_conv = sum(leaf.size for leaf in jax.tree.leaves(params[f"Conv_{i}"]))
        assert size_of_conv == kernel[0] * kernel[1] * channels[i] * channels[i + 1] + channels[i + 1]


@pytest.mark.parametrize("kernel", [(3, 3), (2, 5)])
def test_outputs(kernel):
    model = CNN((3, 2), 2, kernel, activation=jnp.tanh)
    params = model.init(KEY, X)["params"]
    h = pooled(np.tanh(convolved(X, params["Conv_0"])))
    h = pooled(np.tanh(convolved(h, params["Conv_1"])))
    np.testing.assert_allclose(model.apply({"params": params}, X), dense(h, params["Dense_0"]), atol=1e-5)


def test_odd_sides_lose_their_last_row():
    model = CNN((3,), 2)
    x = X[:, :5, :3]
    params = model.init(KEY, x)["params"]
    h = pooled(np.maximum(convolved(x, params["Conv_0"]), 0))
    assert h.shape == (4, 2, 1, 3)
    np.testing.assert_allclose(model.apply({"params": params}, x), dense(h, params["Dense_0"]), atol=1e-5)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_batch_norm_is_over_examples_and_places(momentum):
    model = CNN((3,), 2, batch_norm=True, momentum=momentum)
    variables = model.init(KEY, X)
    out, new = model.apply(variables, X, train=True, mutable=["batch_stats"])
    h = convolved(X, variables["params"]["Conv_0"])
    mean, variance = h.mean((0, 1, 2)), h.var((0, 1, 2))  # the biased variance
    stats = new["batch_stats"]["BatchNorm_0"]
    np.testing.assert_allclose(stats["mean"], (1 - momentum) * mean, atol=1e-6)
    np.testing.assert_allclose(stats["var"], momentum + (1 - momentum) * variance, atol=1e-5)
    h = pooled(np.maximum((h - mean) / np.sqrt(variance + 1e-5), 0))
    np.testing.assert_allclose(out, dense(h, variables["params"]["Dense_0"]), atol=1e-4)


def test_dropout_is_for_training():
    variables = CNN((3,), 2).init(KEY, X)
    trained = CNN((3,), 2, dropout=jnp.float32(1)).apply(variables, X, train=True, rngs={"dropout": KEY})
    np.testing.assert_array_equal(trained, np.zeros((4, 2)))
    assert_same_bits(CNN((3,), 2, dropout=0.5).apply(variables, X), CNN((3,), 2).apply(variables, X))


@pytest.mark.parametrize("shape", [(4, 8, 8), (4, 64), (4, 3, 8, 1), (4, 8, 3, 1)])
def test_images_that_do_not_fit(shape):
    with pytest.raises(ValueError, match=r"`x` is \(4, .*2 blocks needs images .*at least 4 pixels.*fewer blocks"):
        CNN((2, 2), 2).init(KEY, jnp.ones(shape))


@pytest.mark.parametrize(
    "fields, error, match",
    [
        (dict(features=(4, 1.5)), TypeError, "`features` is 1.5: a whole number"),
        (dict(outputs=0), ValueError, "`outputs` is 0: it has to be at least 1"),
        (dict(momentum=float("nan")), ValueError, "`momentum` is nan: NaN is no setting"),
        (dict(dropout=-1), ValueError, "`rate` is -1"),
    ],
)
def test_bad_fields(fields, error, match):
    with pytest.raises(error, match=match):
        CNN(**(dict(features=(4,), outputs=2) | fields)).init(KEY, X)
