"""The family against Optax: the same bits for four of its optimizers, rounding for Adam's."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from asserts import assert_same_bits

import jaxtune as jt
from jaxtune.optim import Kind, adam_kind, adamw_kind, from_kind, gd_kind, momentum_kind, nesterov_kind, rmsprop_kind

KEY = jax.random.key(3)
LR = 0.03


def network(params, x):
    return jnp.tanh(x @ params["a"]["kernel"] + params["a"]["bias"][None]) @ params["b"]["kernel"]


def start():
    first, second = jax.random.split(KEY)
    a = {"kernel": jax.random.normal(first, (5, 8)), "bias": jnp.zeros(8)}
    return {"a": a, "b": {"kernel": jax.random.normal(second, (8, 3))}}


def trained(optimizer, steps=200):
    """Returns the parameters after some updates on a noisy regression."""
    x = jax.random.normal(jax.random.key(0), (steps, 16, 5))

    def step(carry, x):
        params, state = carry
        gradient = jax.grad(lambda p: jnp.square(network(p, x) - jnp.sin(x[:, :3])).mean())(params)
        updates, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), None

    @jax.jit
    def run():
        params = start()
        return jax.lax.scan(step, (params, optimizer.init(params)), x)[0][0]

    return run()


EXACT = {
    "gd": (gd_kind(), optax.sgd(LR)),
    "momentum": (momentum_kind(0.9), optax.sgd(LR, momentum=0.9)),
    "nesterov": (nesterov_kind(0.8), optax.sgd(LR, momentum=0.8, nesterov=True)),
    "rmsprop": (rmsprop_kind(0.9, 1e-6), optax.rmsprop(LR, 0.9, 1e-6)),
}
CLOSE = {
    "adam": (adam_kind(), optax.adam(LR)),
    "adam, other coefficients": (adam_kind(0.8, 0.95, 1e-4), optax.adam(LR, 0.8, 0.95, 1e-4)),
    "adamw": (adamw_kind(weight_decay=0.1), optax.adamw(LR, weight_decay=0.1)),
}


@pytest.mark.parametrize("name", EXACT)
def test_equals_optax_to_the_bit(name):
    kind, theirs = EXACT[name]
    assert_same_bits(trained(from_kind(kind, LR)), trained(theirs))


@pytest.mark.parametrize("name", CLOSE)
def test_equals_optax_within_rounding(name):
    kind, theirs = CLOSE[name]
    ours, theirs = trained(from_kind(kind, LR)), trained(theirs)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), ours, theirs)


@pytest.mark.slow
def test_all_kinds_are_lanes_of_one_program():
    kinds = [kind for kind, _ in (EXACT | CLOSE).values()]
    stacked = jax.tree.map(lambda *leaves: jnp.array(leaves), *kinds)
    lanes = jax.vmap(lambda kind: trained(from_kind(kind, LR), 50))(stacked)
    for i, kind in enumerate(kinds):
        alone = trained(from_kind(kind, LR), 50)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a[i], b, atol=2e-5), lanes, alone)  # noqa: B023 (called at once)


def first_updates(kind, gradients, lr=LR):
    """Returns the updates for a series of gradients of one parameter that stays at zero."""
    optimizer, w = from_kind(kind, lr), jnp.zeros(3)

    def step(state, g):
        u, state = optimizer.update(g, state, w)
        return state, u

    return np.asarray(jax.lax.scan(step, optimizer.init(w), jnp.array(gradients, jnp.float32))[1], np.float64)


def test_closed_forms_of_first_updates():
    g = np.array([2.0, -0.5, 1e-3])
    np.testing.assert_allclose(first_updates(adam_kind(eps=0.0), [g] * 4), -LR * np.sign([g] * 4), rtol=3e-5)
    root = np.sqrt(0.1)  # without debiasing the first average is a tenth
    np.testing.assert_allclose(first_updates(rmsprop_kind(eps=0.0), [g])[0], -LR * np.sign(g) / root, rtol=1e-5)
    np.testing.assert_allclose(first_updates(momentum_kind(0.9), [g] * 500)[-1], -LR * g / 0.1, rtol=1e-5)


def test_averaged_momentum_is_the_sum_with_a_smaller_rate():
    gradients = np.random.default_rng(0).normal(size=(30, 3))
    averaged = first_updates(momentum_kind(0.9, averaged=True), gradients, lr=0.2)
    np.testing.assert_allclose(averaged, first_updates(momentum_kind(0.9), gradients, lr=0.02), rtol=1e-4, atol=1e-7)


def test_decoupled_decay_shrinks_by_its_factor():
    optimizer = from_kind(adamw_kind(weight_decay=0.1), LR, decayed=jt.penalties.is_kernel)
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    state = optimizer.init(params)
    for _ in range(10):
        updates, state = optimizer.update(jax.tree.map(jnp.zeros_like, params), state, params)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(params["kernel"], np.full((2, 2), (1 - LR * 0.1) ** 10), rtol=1e-5)
    np.testing.assert_array_equal(params["bias"], np.ones(2))


@pytest.mark.parametrize("b, lr, converges", [(0.9, 3.79, True), (0.9, 3.81, False)])
def test_heavy_ball_is_stable_up_to_its_bound(b, lr, converges):
    optimizer = from_kind(momentum_kind(b), lr)

    def step(carry, _):
        w, state = carry
        u, state = optimizer.update(w, state, w)  # the gradient of w^2 / 2
        return (w + u, state), None

    w = jnp.ones(())
    (w, _), _ = jax.lax.scan(step, (w, optimizer.init(w)), length=3000)
    assert (abs(float(w)) < 1e-3) is converges


def test_a_parameter_without_gradient_stays_with_finite_updates():
    for kind, _ in (EXACT | CLOSE).values():
        np.testing.assert_array_equal(
            first_updates(kind._replace(weight_decay=0.0), np.zeros((3, 3))), np.zeros((3, 3))
        )


def test_training_can_be_differentiated_where_gradients_are_zero():
    for kind in (gd_kind(), momentum_kind(), nesterov_kind()):

        def last(lr, kind=kind):
            optimizer, w = from_kind(kind, lr), jnp.ones(2)
            state = optimizer.init(w)
            for _ in range(2):
                u, state = optimizer.update(w * jnp.array([1.0, 0.0]), state, w)  # no gradient at all for the second
                w = w + u
            return w.sum()

        slope = jax.grad(last)(0.1)
        near = (last(0.1 + 1e-2) - last(0.1 - 1e-2)) / 2e-2
        np.testing.assert_allclose(slope, near, rtol=1e-3)


def test_schedules_see_updates_done_before():
    halving = from_kind(gd_kind(), jt.optim.schedules.exponential(1.0, 0.5, 1))
    state, seen = halving.init(jnp.ones(())), []
    for _ in range(3):
        u, state = halving.update(jnp.ones(()), state, jnp.ones(()))
        seen.append(float(u))
    assert seen == [-1.0, -0.5, -0.25]


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: from_kind(adam_kind(b1=1.5), LR), "`kind.b1` is 1.5"),
        (lambda: from_kind(Kind(weight_decay=-1.0), LR), "`kind.weight_decay` is -1.0"),
        (lambda: from_kind(adam_kind(), -1.0), "`lr` is -1.0"),
    ],
)
def test_numbers_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_what_is_no_kind_is_refused():
    with pytest.raises(TypeError, match="jt.optim.Kind"):
        from_kind("adam", LR)


def test_weight_decay_needs_parameters():
    optimizer = from_kind(adamw_kind(), LR)
    with pytest.raises(ValueError, match="needs the parameters"):
        optimizer.update(jnp.ones(3), optimizer.init(jnp.ones(3)))
