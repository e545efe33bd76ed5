"""Norm penalties against NumPy, Optax and scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.linear_model import ElasticNet

import jaxtune as jt
from jaxtune.penalties import elastic_net, l1, l2

RNG = np.random.default_rng(0)
PARAMS = {
    "Conv_0": {"kernel": RNG.normal(size=(3, 3, 2, 4)), "bias": RNG.normal(size=4)},
    "BatchNorm_0": {"scale": RNG.normal(size=4), "bias": RNG.normal(size=4)},
    "Dense_0": {"kernel": RNG.normal(size=(5, 6)), "bias": RNG.normal(size=6)},
    "Attention_0": {"query": {"kernel": RNG.normal(size=(6, 2, 3)), "bias": RNG.normal(size=(2, 3))}},
}
KERNELS = [PARAMS["Conv_0"]["kernel"], PARAMS["Dense_0"]["kernel"], PARAMS["Attention_0"]["query"]["kernel"]]
ABSOLUTE, SQUARES = sum(np.abs(w).sum() for w in KERNELS), sum(np.square(w).sum() for w in KERNELS)

TABLE = {
    "l1": (lambda s: l1(s), lambda s: s * ABSOLUTE, lambda s, w: s * np.sign(w)),
    "l2": (lambda s: l2(s), lambda s: s * SQUARES, lambda s, w: 2 * s * w),
    "elastic_net": (
        lambda s: elastic_net(s, s / 2),
        lambda s: s * ABSOLUTE + s / 2 * SQUARES,
        lambda s, w: s * np.sign(w) + s * w,
    ),
}
table = pytest.mark.parametrize("name", TABLE)


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


@table
@pytest.mark.parametrize("strength", [0.0, 0, 1e-4, 0.3, 2, np.float32(0.5)])
def test_value(name, strength):
    make, value, _ = TABLE[name]
    penalty = make(strength)
    assert penalty.name == name
    np.testing.assert_allclose(penalty(PARAMS), value(strength), rtol=1e-13)


@table
@pytest.mark.parametrize("strength", [0.0, 0.3])
def test_gradient_falls_on_kernels_alone(name, strength):
    make, _, slope = TABLE[name]
    gradient = jax.grad(make(strength))(PARAMS)
    for path, g in jax.tree_util.tree_leaves_with_path(gradient):
        leaf = PARAMS
        for key in path:
            leaf = leaf[key.key]
        expected = slope(strength, leaf) if path[-1].key == "kernel" else np.zeros_like(leaf)
        np.testing.assert_allclose(g, expected, rtol=1e-13, err_msg=jax.tree_util.keystr(path))


@table
def test_gradient_of_zero_weights_is_zero(name):
    gradient = jax.grad(TABLE[name][0](0.3))({"kernel": jnp.zeros((2, 2))})["kernel"]
    np.testing.assert_array_equal(gradient, np.zeros((2, 2)))


@table
def test_strengths_are_lanes(name):
    make, value, _ = TABLE[name]
    strengths = np.array([0.0, 1e-3, 0.1, 5.0])
    lanes = jax.jit(jax.vmap(lambda s: make(s)(PARAMS)))(strengths)
    np.testing.assert_allclose(lanes, [value(s) for s in strengths], rtol=1e-13)
    slope = jax.vmap(jax.grad(lambda s: make(s)(PARAMS)))(strengths)
    np.testing.assert_allclose(slope, np.full(4, value(1.0)), rtol=1e-13)


@table
def test_where_chooses(name):
    def biases(path, leaf):
        return path.endswith("bias") and leaf.ndim == 1

    make = {"l1": l1, "l2": l2, "elastic_net": lambda s, **k: elastic_net(s, s, **k)}[name]
    chosen = [PARAMS[layer]["bias"] for layer in ("Conv_0", "BatchNorm_0", "Dense_0")]
    by_norm = {"l1": sum(np.abs(b).sum() for b in chosen), "l2": sum(np.square(b).sum() for b in chosen)}
    expected = 0.1 * by_norm.get(name, by_norm["l1"] + by_norm["l2"])
    penalty = make(0.1, where=biases, name="on_biases")
    assert penalty.name == "on_biases"
    np.testing.assert_allclose(penalty(PARAMS), expected, rtol=1e-13)


def test_l2_is_half_of_a_coupled_weight_decay():
    # Optax and PyTorch add `weight_decay * w` to the gradient.
    kernels = {"kernel": KERNELS[1]}
    decay = optax.add_decayed_weights(2 * 0.05)
    expected, _ = decay.update(jax.tree.map(np.zeros_like, kernels), decay.init(kernels), kernels)
    np.testing.assert_allclose(jax.grad(l2(0.05))(kernels)["kernel"], expected["kernel"], rtol=1e-13)


def test_elastic_net_is_keras_l1_l2():
    # Keras: l1 * sum |w| + l2 * sum w^2.
    np.testing.assert_allclose(elastic_net(0.01, 0.02)(PARAMS), 0.01 * ABSOLUTE + 0.02 * SQUARES, rtol=1e-13)
    np.testing.assert_allclose(elastic_net(0.01, 0.02)(PARAMS), l1(0.01)(PARAMS) + l2(0.02)(PARAMS), rtol=1e-13)


def test_elastic_net_is_the_course_formula():
    # lambda / (2 m) * sum w^2 of m examples, whose gradient is lambda / m * w.
    lam, m = 0.7, 50
    gradient = jax.grad(l2(lam / (2 * m)))({"kernel": KERNELS[1]})["kernel"]
    np.testing.assert_allclose(gradient, lam / m * KERNELS[1], rtol=1e-13)


@pytest.mark.parametrize("alpha, ratio", [(0.1, 0.5), (0.3, 0.9), (0.05, 0.0)])
@pytest.mark.filterwarnings("ignore:Coordinate descent")
def test_elastic_net_converts_from_scikit_learn(alpha, ratio):
    # The solution is stationary for half the mean squared error plus the converted penalty.
    rng = np.random.default_rng(1)
    x = rng.normal(size=(40, 6))
    y = x @ np.array([2.0, -1.0, 0.0, 0.0, 0.5, 0.0]) + 0.1 * rng.normal(size=40)
    w = ElasticNet(alpha=alpha, l1_ratio=ratio, fit_intercept=False, tol=1e-14, max_iter=100_000).fit(x, y).coef_
    penalty = elastic_net(alpha * ratio, alpha * (1 - ratio) / 2)
    slope = np.asarray(jax.grad(penalty)({"kernel": w[:, None]})["kernel"])[:, 0] + x.T @ (x @ w - y) / 40
    np.testing.assert_allclose(slope[w != 0], 0.0, atol=1e-7)
    assert (np.abs(slope[w == 0]) <= alpha * ratio).all() and (w != 0).sum() >= 2


@pytest.mark.parametrize("make", [l1, l2, lambda s: elastic_net(s, 0.1), lambda s: elastic_net(0.1, s)])
@pytest.mark.parametrize(
    "strength, reason",
    [
        (-1e-3, "at least 0"),
        (float("nan"), "NaN is no setting"),
        (float("inf"), "infinity"),
        (np.float64(-2), "at least 0"),
    ],
)
def test_bad_strength(make, strength, reason):
    with pytest.raises(ValueError, match=reason) as error:
        make(strength)
    assert repr(strength) in str(error.value)


@pytest.mark.parametrize("strength", ["0.1", None, True, (0.1,)])
def test_strength_of_a_wrong_type(strength):
    with pytest.raises(TypeError, match="a real number is needed"):
        l2(strength)


@table
@pytest.mark.parametrize("strength", [0.0, 0.1])
def test_a_penalty_on_nothing_is_refused(name, strength):
    with pytest.raises(ValueError, match="falls on no parameter.*Choose among: bias, kernels") as error:
        TABLE[name][0](strength)({"bias": np.ones(3), "kernels": np.ones(3)})
    assert "is_kernel" in str(error.value)


def test_minimum_of_a_quadratic_is_ridge_regression():
    rng = np.random.default_rng(2)
    x, y, s = rng.normal(size=(30, 4)), rng.normal(size=30), 0.4
    expected = np.linalg.solve(x.T @ x + s * np.eye(4), x.T @ y)

    def objective(w):
        return jnp.square(x @ w - y).sum() + jt.penalties.l2(s)({"kernel": w[:, None]})

    w = jnp.zeros(4)
    w = w - jnp.linalg.solve(jax.hessian(objective)(w), jax.grad(objective)(w))
    np.testing.assert_allclose(w, expected, rtol=1e-10)
