"""Variational dropout: masks that last a sequence, and noise that is learned."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from asserts import assert_same_bits
from flax import nnx
from scipy import integrate, special

import jaxtune as jt
from jaxtune.nn import dawson, state_dropout, variational_dense, variational_dropout, variational_kl

KEY = jax.random.key(4)


def test_masks_last_a_sequence_and_differ_between_sequences():
    y = np.asarray(variational_dropout(KEY, jnp.ones((30, 9, 40)), 0.4))
    assert (y == y[:, :1]).all()
    assert abs((y > 0).mean() - 0.6) < 4 * np.sqrt(0.24 / (30 * 40))
    assert len({row.tobytes() for row in y[:, 0]}) == 30
    with pytest.raises(ValueError, match="along the time"):
        variational_dropout(KEY, jnp.ones((3, 4)), 0.4)


def seen_states(rate, cell_rate=None):
    """Returns the states that a cell is given at each time, where the state is always all ones."""
    cell = state_dropout(lambda h, x: (jnp.ones_like(h), h), KEY, rate)
    return jax.lax.scan(cell, jnp.ones((6, 50)), jnp.zeros((8, 1)))[1]


def test_states_lose_the_same_features_at_every_time():
    seen = np.asarray(seen_states(0.3))
    assert (seen == seen[:1]).all()
    assert set(np.unique(seen)) == {0.0, np.float32(1 / 0.7)}
    np.testing.assert_array_equal(seen_states(0.0), np.ones((8, 6, 50)))
    np.testing.assert_array_equal(seen_states(1.0), np.zeros((8, 6, 50)))


def test_only_the_chosen_parts_of_a_carry():
    cell = state_dropout(lambda c, x: (c, c), KEY, 1.0, where=lambda path, leaf: path == "1")
    (memory, hidden), _ = cell((jnp.ones(3), jnp.ones(3)), None)
    np.testing.assert_array_equal(memory, np.ones(3))
    np.testing.assert_array_equal(hidden, np.zeros(3))


def test_of_a_pair_the_memory_is_left_alone():
    cell = state_dropout(lambda c, x: (c, c), KEY, 1.0)
    (memory, hidden), _ = cell((jnp.ones(3), jnp.ones(3)), None)
    np.testing.assert_array_equal(memory, np.ones(3))
    np.testing.assert_array_equal(hidden, np.zeros(3))


class Recurrent(nn.Module):
    """An LSTM over a sequence, with dropout on inputs, state and outputs."""

    rate: float
    cell: type[nn.RNNCellBase] = nn.OptimizedLSTMCell

    @nn.compact
    def __call__(self, x, train):
        x = jt.nn.linen.VariationalDropout(self.rate)(x, deterministic=not train)
        cell = jt.nn.linen.StateDropout(self.cell(5), self.rate, deterministic=not train)
        x = nn.RNN(cell, split_rngs={"params": False, "dropout": False})(x)
        return nn.Dense(3)(x[:, -1])


@pytest.mark.parametrize("cell", [nn.OptimizedLSTMCell, nn.GRUCell, nn.SimpleCell])
def test_any_cell_of_flax(cell):
    x = jax.random.normal(KEY, (4, 6, 2))
    variables = Recurrent(0.5, cell).init({"params": KEY, "dropout": KEY}, x, False)

    def output(rate, train=True):
        return Recurrent(rate, cell).apply(variables, x, train, rngs={"dropout": KEY})

    lanes = jax.jit(jax.vmap(output))(jnp.array([0.0, 0.3, 1.0]))
    np.testing.assert_allclose(lanes[0], output(0.5, train=False), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(lanes[1], output(0.3), rtol=1e-5, atol=1e-6)
    assert (lanes[1] != lanes[0]).any() and np.isfinite(lanes).all()
    assert np.isfinite(jax.grad(lambda r: output(r).sum())(0.3))


def test_the_state_of_a_flax_cell_is_masked_alike_at_every_time():
    seen = []

    class Watched(nn.SimpleCell):
        def __call__(self, carry, x):
            jax.debug.callback(lambda h: seen.append(np.asarray(h) == 0), carry, ordered=True)
            new, y = super().__call__(carry, x)
            return jnp.ones_like(new), y

    cell = jt.nn.linen.StateDropout(Watched(40), 0.5)
    rnn = nn.RNN(cell, split_rngs={"params": False, "dropout": False})
    variables = rnn.init({"params": KEY, "dropout": KEY}, jnp.ones((2, 5, 3)))
    seen.clear()
    rnn.apply(variables, jnp.ones((2, 5, 3)), rngs={"dropout": KEY})
    jax.effects_barrier()
    assert len(seen) == 5
    for mask in seen[2:]:  # the first state is zero
        np.testing.assert_array_equal(mask, seen[1])
    assert 10 < seen[1].sum() < 70


@pytest.mark.parametrize("kind", [nnx.GRUCell, nnx.OptimizedLSTMCell])
def test_any_cell_of_nnx(kind):
    x = jax.random.normal(KEY, (4, 6, 2))

    def output(rate, train=True, dropout=7):
        rngs = nnx.Rngs(0, dropout=dropout)
        cell = jt.nn.nnx.StateDropout(kind(2, 5, rngs=rngs), rate, rngs=rngs)
        rnn = nnx.RNN(cell, broadcast_rngs="dropout", rngs=rngs)
        rnn.train() if train else rnn.eval()
        return rnn(x)

    lanes = jax.jit(jax.vmap(output))(jnp.array([0.0, 0.3, 1.0]))
    np.testing.assert_allclose(lanes[0], output(0.5, train=False), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(lanes[1], output(0.3), rtol=1e-5, atol=1e-6)
    assert (lanes[1] != lanes[0]).any() and (output(0.3, dropout=8) != lanes[1]).any()
    assert np.isfinite(jax.grad(lambda r: output(r).sum())(0.3))


def test_the_state_of_an_nnx_cell_is_masked_alike_at_every_time():
    seen = []

    class Watched(nnx.SimpleCell):
        def __call__(self, carry, x):
            jax.debug.callback(lambda h: seen.append(np.asarray(h) == 0), carry, ordered=True)
            new, y = super().__call__(carry, x)
            return jnp.ones_like(new), y

    rngs = nnx.Rngs(0, dropout=7)
    cell = jt.nn.nnx.StateDropout(Watched(3, 40, rngs=rngs), 0.5, rngs=rngs)
    rnn = nnx.RNN(cell, broadcast_rngs="dropout", rngs=rngs)
    for _ in range(2):
        rnn(jnp.ones((2, 5, 3)))
    jax.effects_barrier()
    assert len(seen) == 10
    for mask in seen[2:5]:  # the first state is zero
        np.testing.assert_array_equal(mask, seen[1])
    assert 10 < seen[1].sum() < 70 and (seen[6] != seen[1]).any()  # another call draws anew


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


@pytest.mark.usefixtures("x64")
def test_dawsons_function():
    x = np.concatenate([np.linspace(-30, 30, 401), [9.999, 10.0, 10.001, 1e4]])
    np.testing.assert_allclose(dawson(jnp.asarray(x)), special.dawsn(x), rtol=1e-9, atol=1e-14)


def log_size(e, a):
    """Returns ln|e| times the density of N(1, a) at e."""
    return np.log(abs(e)) * np.exp(-((e - 1) ** 2) / (2 * a)) / np.sqrt(2 * np.pi * a)


@pytest.mark.usefixtures("x64")
def test_divergence_against_integration():
    alphas = np.array([1e-4, 1e-3, 0.01, 0.1, 0.5, 1.0, 10.0, 1e3])
    expected = [2 * integrate.quad(special.dawsn, 0, 1 / np.sqrt(2 * a), limit=500)[0] for a in alphas]
    np.testing.assert_allclose(variational_kl(jnp.log(alphas)), expected, rtol=1e-8)
    np.testing.assert_allclose(variational_kl(jnp.zeros(())), 0.426686, atol=5e-7)
    # Directly from its definition: -KL(a) = ln(a) / 2 - E ln|e| - (gamma + ln 2) / 2 with e ~ N(1, a).
    for a in (0.3, 1.0, 4.0):
        mean = sum(integrate.quad(log_size, *ends, args=(a,))[0] for ends in ((-30, 0), (0, 1), (1, 30)))
        value = -(0.5 * np.log(a) - mean - (np.euler_gamma + np.log(2)) / 2)
        np.testing.assert_allclose(variational_kl(jnp.log(a)), value, rtol=1e-6)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("a, slope", [(0.1, 5.785254), (1.0, 0.3623892), (10.0, 0.00483662)])
def test_slope_of_the_divergence(a, slope):
    found = jax.grad(lambda a: -variational_kl(jnp.log(a)))(a)
    np.testing.assert_allclose(found, slope, rtol=2e-6)


def test_the_approximation_of_molchanov_is_near():
    log_alpha = np.linspace(-8, 8, 101)
    k1, k2, k3 = 0.63576, 1.87320, 1.48695
    near = k1 * special.expit(k2 + k3 * log_alpha) - 0.5 * np.log1p(np.exp(-log_alpha)) - k1
    assert np.abs(-np.asarray(variational_kl(jnp.asarray(log_alpha))) - near).max() < 0.0105


def test_moments_of_noisy_weights():
    n = 100_000
    x = jnp.array([[1.0, -2.0, 0.5]])
    kernel = jnp.array([[1.0, 0.3], [0.5, -1.0], [2.0, 0.0]])
    log_alpha = jnp.log(jnp.array([[0.1, 1.0], [0.5, 0.2], [2.0, 0.7]]))
    y = np.asarray(variational_dense(KEY, jnp.broadcast_to(x, (n, 3)), kernel, log_alpha), np.float64)
    variance = np.asarray(jnp.square(x) @ (jnp.exp(log_alpha) * jnp.square(kernel)))[0]
    np.testing.assert_array_less(np.abs(y.mean(0) - np.asarray(x @ kernel)[0]), 4 * np.sqrt(variance / n))
    np.testing.assert_allclose(y.var(0), variance, rtol=4 * np.sqrt(2 / n))


def test_pruned_weights_are_zero_in_evaluation():
    layer = jt.nn.linen.GaussianVariationalDense(2)
    params = {"kernel": jnp.ones((3, 2)), "log_alpha": jnp.array([[0.0, 4.0]] * 3), "bias": jnp.zeros(2)}
    y = layer.apply({"params": params}, jnp.ones((1, 3)), deterministic=True)
    np.testing.assert_array_equal(y, [[3.0, 0.0]])


def test_the_divergence_as_a_penalty():
    params = {"layer": {"log_alpha": jnp.array([[0.0, 1.0]]), "kernel": jnp.ones((1, 2))}}
    expected = 0.5 * float(variational_kl(jnp.array([0.0, 1.0])).sum())
    np.testing.assert_allclose(jt.penalties.variational_kl(0.5)(params), expected, rtol=1e-6)
    assert_same_bits(jt.penalties.l2(1.0)(params), jnp.float32(2.0))  # log alpha is no kernel
