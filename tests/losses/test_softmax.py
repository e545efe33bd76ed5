"""Softmax cross-entropy against SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from jaxtune.losses import softmax_cross_entropy

LOGITS = np.random.default_rng(0).normal(size=(6, 4), scale=3.0)
LABELS = np.array([0, 3, 1, 1, 2, 0])


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


def test_values():
    expected = -log_softmax(LOGITS, axis=1)[np.arange(6), LABELS]
    np.testing.assert_allclose(softmax_cross_entropy(jnp.asarray(LOGITS), LABELS), expected, rtol=1e-12)


@pytest.mark.parametrize("label, probability", [(0, 0.842034), (1, 0.041922), (2, 0.002087), (3, 0.113957)])
def test_a_known_softmax(label, probability):
    value = softmax_cross_entropy(jnp.array([[5.0, 2.0, -1.0, 3.0]]), np.array([label]))
    np.testing.assert_allclose(np.exp(-value), [probability], atol=5e-7)


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_equal_logits_give_the_log_of_the_classes(classes):
    value = softmax_cross_entropy(jnp.full((1, classes), 3.0), np.array([1]))
    np.testing.assert_allclose(value, [np.log(classes)], rtol=1e-12)


def test_two_classes_are_logistic_regression():
    value = softmax_cross_entropy(jnp.asarray(LOGITS[:, :2]), LABELS % 2)
    margin = (LOGITS[:, 1] - LOGITS[:, 0]) * np.where(LABELS % 2, 1, -1)
    np.testing.assert_allclose(value, np.log1p(np.exp(-margin)), rtol=1e-12)


@pytest.mark.parametrize("shift", [-1000.0, 7.0, 1e5])
def test_shifting_all_logits_changes_nothing(shift):
    value = softmax_cross_entropy(jnp.asarray(LOGITS + shift), LABELS)
    np.testing.assert_allclose(value, softmax_cross_entropy(jnp.asarray(LOGITS), LABELS), rtol=1e-9)


def test_gradient_is_probability_minus_target():
    gradient = jax.grad(lambda z: softmax_cross_entropy(z, LABELS).sum())(jnp.asarray(LOGITS))
    np.testing.assert_allclose(gradient, softmax(LOGITS, axis=1) - np.eye(4)[LABELS], atol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_logits_stay_finite(dtype):
    logits = jnp.asarray([[1e4, 0.0, -1e4], [1e4, 0.0, -1e4]], dtype)
    value, gradient = jax.value_and_grad(lambda z: softmax_cross_entropy(z, np.array([0, 2])).sum())(logits)
    assert value == 2e4
    np.testing.assert_array_equal(gradient, [[0, 0, 0], [1, 0, -1]])


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64])
def test_any_integers_are_labels(dtype):
    value = softmax_cross_entropy(jnp.asarray(LOGITS), LABELS.astype(dtype))
    np.testing.assert_allclose(value, -log_softmax(LOGITS, axis=1)[np.arange(6), LABELS], rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, bool])
def test_labels_of_a_wrong_type(dtype):
    with pytest.raises(TypeError, match=f"`y` is '{np.dtype(dtype)}'.*integer labels.*astype"):
        softmax_cross_entropy(jnp.asarray(LOGITS), LABELS.astype(dtype))


@pytest.mark.parametrize("outputs, y", [((6,), (6,)), ((6, 4), (5,)), ((6, 4), (6, 1)), ((6, 2, 4), (6,))])
def test_shapes_that_do_not_fit(outputs, y):
    with pytest.raises(ValueError, match="`outputs` is .*one row of logits per example"):
        softmax_cross_entropy(jnp.zeros(outputs), np.zeros(y, int))
