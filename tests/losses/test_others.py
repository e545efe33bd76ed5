"""Losses against NumPy, SciPy, scikit-learn and Optax."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import expit, log_softmax
from sklearn.metrics import hinge_loss

from jaxtune import losses

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(6, 4), scale=3.0)
LABELS = np.array([0, 3, 1, 1, 2, 0])
ONE_HOT = np.eye(4)[LABELS]
LOG_P = log_softmax(LOGITS, axis=1)
OWN = LOG_P[np.arange(6), LABELS]


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


def smoothed(e):
    target = (1 - e) * ONE_HOT + e / 4
    return -(target * LOG_P).sum(1)


P = np.exp(OWN)
WEIGHTS = np.array([1.0, 0.5, 2.0, 3.0])
SOFTMAX_FAMILY = {
    "soft labels": (lambda z, y: losses.soft_cross_entropy(z, jnp.asarray(ONE_HOT)), -OWN),
    "smoothing": (losses.label_smoothing(0.3), smoothed(0.3)),
    "no smoothing": (losses.label_smoothing(0.0), -OWN),
    "weights": (losses.class_weighted(list(WEIGHTS)), -OWN * WEIGHTS[LABELS]),
    "focal": (losses.focal(2.0), -((1 - P) ** 2) * OWN),
    "focal, gamma 0": (losses.focal(0.0), -OWN),
}


@pytest.mark.parametrize("name", SOFTMAX_FAMILY)
def test_values_of_the_softmax_family(name):
    loss, expected = SOFTMAX_FAMILY[name]
    np.testing.assert_allclose(loss(jnp.asarray(LOGITS), LABELS), expected, rtol=1e-10)


def test_the_least_smoothed_loss_is_the_entropy_of_its_target():
    target = np.array([0.7 + 0.3 / 4] + [0.3 / 4] * 3)
    value = losses.label_smoothing(0.3)(jnp.log(jnp.asarray(target))[None], np.array([0]))
    np.testing.assert_allclose(value, [-(target * np.log(target)).sum()], rtol=1e-12)
    slope = jax.grad(lambda z: losses.label_smoothing(0.3)(z, np.array([0])).sum())(jnp.log(jnp.asarray(target))[None])
    np.testing.assert_allclose(slope, np.zeros((1, 4)), atol=1e-15)


def test_cross_entropy_is_linear_in_mixed_targets():
    mixed = 0.3 * ONE_HOT + 0.7 * ONE_HOT[::-1]
    expected = -0.3 * OWN - 0.7 * LOG_P[np.arange(6), LABELS[::-1]]
    np.testing.assert_allclose(losses.soft_cross_entropy(jnp.asarray(LOGITS), jnp.asarray(mixed)), expected, rtol=1e-12)


def test_focal_is_finite_where_it_is_certain():
    z = jnp.array([[800.0, 0.0]])
    for gamma in (0.0, 0.5, 2.0):
        loss = losses.focal(gamma)
        value, slope = jax.value_and_grad(lambda z, loss=loss: loss(z, np.array([0])).sum())(z)
        assert value == 0 and np.isfinite(slope).all()


def test_sigmoid_cross_entropy():
    z, y = LOGITS, RNG.integers(0, 2, (6, 4))
    expected = -(y * np.log(expit(z)) + (1 - y) * np.log(expit(-z)))
    np.testing.assert_allclose(losses.sigmoid_cross_entropy(jnp.asarray(z), y), expected.sum(1), rtol=1e-11)
    one = losses.sigmoid_cross_entropy(jnp.asarray(z[:, :1]), y[:, 0])
    np.testing.assert_allclose(one, expected[:, 0], rtol=1e-11)
    assert np.isfinite(losses.sigmoid_cross_entropy(jnp.array([1e4, -1e4]), np.array([0, 1]))).all()
    slope = jax.grad(lambda z: losses.sigmoid_cross_entropy(z, np.array([0, 1])).sum())(jnp.zeros(2))
    np.testing.assert_allclose(slope, [0.5, -0.5], rtol=1e-12)


def test_hinge():
    found = losses.hinge(jnp.asarray(LOGITS), LABELS)
    np.testing.assert_allclose(found.mean(), hinge_loss(LABELS, LOGITS, labels=np.arange(4)), rtol=1e-12)
    assert np.isfinite(jax.grad(lambda z: losses.hinge(z, LABELS).sum())(jnp.asarray(LOGITS))).all()


@pytest.mark.parametrize("delta", [0.3, 1.0, 5.0])
def test_robust_losses(delta):
    z, y = RNG.normal(size=(7, 2), scale=2), RNG.normal(size=(7, 2))
    np.testing.assert_allclose(losses.absolute_error(jnp.asarray(z), y), np.abs(z - y).sum(1), rtol=1e-12)
    at_zero = jax.grad(
        lambda z: losses.absolute_error(z, np.zeros(1)).sum() + losses.huber(delta)(z, np.zeros(1)).sum()
    )
    np.testing.assert_array_equal(at_zero(jnp.zeros(1)), [0.0])
    expected = optax.losses.huber_loss(jnp.asarray(z), y, delta=delta).sum(1)
    np.testing.assert_allclose(losses.huber(delta)(jnp.asarray(z), y), expected, rtol=1e-12)


@pytest.mark.parametrize("make", [losses.label_smoothing, losses.focal])
def test_strengths_are_lanes_with_finite_gradients(make):
    z = jnp.asarray(LOGITS)
    strengths = jnp.array([0.0, 0.5, 1.0])
    lanes = jax.jit(jax.vmap(lambda s: make(s)(z, LABELS)))(strengths)
    np.testing.assert_allclose(lanes[0], -OWN, rtol=1e-10)
    for i, s in enumerate((0.0, 0.5, 1.0)):
        np.testing.assert_allclose(lanes[i], make(s)(z, LABELS), rtol=1e-10)
        assert np.isfinite(jax.grad(lambda s: make(s)(z, LABELS).sum())(s))


def test_weights_are_lanes():
    lanes = jax.vmap(lambda w: losses.class_weighted([w, 1.0, 1.0, 1.0])(jnp.asarray(LOGITS), LABELS))(
        jnp.array([0.0, 2.0])
    )
    np.testing.assert_allclose(lanes[1], -OWN * np.where(LABELS == 0, 2.0, 1.0), rtol=1e-11)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: losses.label_smoothing(1.5), "`rate` is 1.5"),
        (lambda: losses.focal(-1.0), "`gamma` is -1.0"),
        (lambda: losses.huber(0.0), "`delta` is 0.0: it has to be above 0"),
        (lambda: losses.class_weighted([1.0, -1.0]), r"`weights\[1\]` is -1.0"),
        (lambda: losses.class_weighted([1.0, 1.0])(jnp.asarray(LOGITS), LABELS), "outputs have 4 classes"),
        (lambda: losses.soft_cross_entropy(jnp.asarray(LOGITS), jnp.ones((6, 3))), "one probability per class"),
        (lambda: losses.sigmoid_cross_entropy(jnp.asarray(LOGITS), jnp.ones((6, 3))), "one output per label"),
        (lambda: losses.absolute_error(jnp.asarray(LOGITS), jnp.ones((6, 3))), "one output per target"),
    ],
)
def test_bad_use_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("loss", [losses.hinge, losses.focal(1.0), losses.class_weighted([1.0] * 4)])
def test_losses_of_labels_refuse_probabilities(loss):
    with pytest.raises(TypeError, match="needs integer labels"):
        loss(jnp.asarray(LOGITS), jnp.asarray(ONE_HOT))
