"""Schedules against Optax, their formulas, and under tracing."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxtune.optim import schedules as s

COUNTS = np.arange(0, 140)

SAME = {
    "constant": (s.constant(0.3), optax.constant_schedule(0.3)),
    "linear": (s.linear(1.0, 0.1, 50, begin=7), optax.linear_schedule(1.0, 0.1, 50, 7)),
    "polynomial": (s.polynomial(1.0, 0.1, 2.5, 60, begin=3), optax.polynomial_schedule(1.0, 0.1, 2.5, 60, 3)),
    "exponential": (s.exponential(0.5, 0.8, 20, begin=5), optax.exponential_decay(0.5, 20, 0.8, 5)),
    "exponential, end": (s.exponential(0.5, 0.8, 9, end=0.2), optax.exponential_decay(0.5, 9, 0.8, end_value=0.2)),
    "exponential, growing": (s.exponential(0.1, 1.5, 9, end=2.0), optax.exponential_decay(0.1, 9, 1.5, end_value=2.0)),
    "staircase": (s.step_decay(1.0, 0.5, 30), optax.exponential_decay(1.0, 30, 0.5, staircase=True)),
    "cosine": (s.cosine(0.7, 90, alpha=0.1), optax.cosine_decay_schedule(0.7, 90, 0.1)),
    "cosine, exponent": (s.cosine(0.7, 90, exponent=2.0), optax.cosine_decay_schedule(0.7, 90, 0.0, 2.0)),
    "warm-up": (s.warm_up(s.constant(0.4), 25, start=0.1), optax.warmup_constant_schedule(0.1, 0.4, 25)),
    "warm-up cosine": (
        s.warm_up_cosine(0.0, 1.0, 10, 110, end=0.05, exponent=1.5),
        optax.warmup_cosine_decay_schedule(0.0, 1.0, 10, 110, 0.05, 1.5),
    ),
    "warm-up exponential": (
        s.warm_up(s.exponential(1.0, 0.9, 10), 20),
        optax.warmup_exponential_decay_schedule(0.0, 1.0, 20, 10, 0.9),
    ),
    "one cycle": (s.one_cycle(1.0, 120), optax.cosine_onecycle_schedule(120, 1.0)),
    "one cycle, other": (
        s.one_cycle(0.2, 100, rise=0.5, div=5.0, final_div=50.0),
        optax.cosine_onecycle_schedule(100, 0.2, 0.5, 5.0, 50.0),
    ),
    "piecewise": (
        s.piecewise([1.0, 0.1, 0.01], [40, 80]),
        optax.piecewise_constant_schedule(1.0, {40: 0.1, 80: 0.1}),
    ),
    "restarts": (
        s.warm_restarts(1.0, 20, factor=2.0, alpha=0.1),
        optax.join_schedules([optax.cosine_decay_schedule(1.0, n, 0.1) for n in (20, 40, 80)], [20, 60]),
    ),
    "restarts, equal": (
        s.warm_restarts(0.5, 30, factor=1.0),
        optax.join_schedules([optax.cosine_decay_schedule(0.5, 30)] * 5, [30, 60, 90, 120]),
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_equals_optax(name):
    ours, theirs = SAME[name]
    expected = [float(theirs(c)) for c in COUNTS]
    np.testing.assert_allclose(jax.vmap(ours)(jnp.array(COUNTS)), expected, rtol=2e-5, atol=1e-7)
    np.testing.assert_allclose([float(ours(int(c))) for c in COUNTS], expected, rtol=2e-5, atol=1e-7)


FORMULAS = {
    "inverse time": (s.inverse_time(0.2, 1.0, steps=10), lambda t: 0.2 / (1 + t / 10)),
    "inverse time, course": (s.inverse_time(0.2, 1.0, steps=10, staircase=True), lambda t: 0.2 / (1 + t // 10)),
    "inverse root": (s.inverse_sqrt(0.3, steps=16), lambda t: 0.3 * np.sqrt(16 / np.maximum(t, 16))),
    "0.95^epoch": (s.exponential(0.1, 0.95, 12, staircase=True), lambda t: 0.1 * 0.95 ** (t // 12)),
    "restarts, thirds": (s.warm_restarts(1.0, 9, factor=1.5), lambda t: restarts(t, 9, 1.5)),
}


def restarts(t, period, factor):
    """Returns SGDR's values by counting the cycles one by one."""
    found = []
    for count in t:
        begin, length = 0.0, float(period)
        while count >= begin + length:
            begin, length = begin + length, length * factor
        found.append(0.5 * (1 + np.cos(np.pi * (count - begin) / length)))
    return np.array(found)


@pytest.mark.parametrize("name", FORMULAS)
def test_equals_its_formula(name):
    ours, formula = FORMULAS[name]
    np.testing.assert_allclose(jax.vmap(ours)(jnp.array(COUNTS)), formula(COUNTS.astype(float)), rtol=2e-5, atol=1e-6)


TRACED = {
    "constant": (s.constant, [0.3], {}),
    "linear": (s.linear, [1.0, 0.1, 50.0], {"begin": 7.0}),
    "polynomial": (s.polynomial, [1.0, 0.1, 2.5, 60.0], {"begin": 3.0}),
    "step_decay": (s.step_decay, [1.0, 0.5, 30.0], {}),
    "exponential": (s.exponential, [0.5, 0.8, 20.0], {"begin": 5.0, "end": 0.2}),
    "inverse_time": (s.inverse_time, [0.2, 1.0], {"steps": 10.0}),
    "inverse_sqrt": (s.inverse_sqrt, [0.2], {"steps": 10.0}),
    "cosine": (s.cosine, [0.7, 90.0], {"alpha": 0.1, "exponent": 1.5}),
    "warm_restarts": (s.warm_restarts, [1.0, 20.0], {"factor": 2.0, "alpha": 0.1}),
    "warm_up": (lambda value, steps, start: s.warm_up(s.constant(value), steps, start=start), [0.4, 25.0, 0.1], {}),
    "warm_up_cosine": (s.warm_up_cosine, [0.0, 1.0, 10.0, 110.0], {"end": 0.1, "exponent": 1.5}),
    "one_cycle": (s.one_cycle, [1.0, 120.0], {"rise": 0.3, "div": 25.0, "final_div": 1e4}),
    "piecewise": (lambda a, b, at: s.piecewise([a, b], [at]), [1.0, 0.1, 40.0], {}),
}


@pytest.mark.parametrize("name", TRACED)
def test_every_argument_may_be_traced(name):
    make, args, more = TRACED[name]

    def value(numbers, count):
        positional, keywords = numbers
        return make(*positional, **keywords)(count)

    numbers = (args, more)
    lanes = jax.tree.map(lambda a: jnp.array([a, a * 1.01]), numbers)
    found = jax.jit(jax.vmap(jax.vmap(value, (None, 0)), (0, None)))(lanes, jnp.array(COUNTS))
    expected = [float(make(*args, **more)(int(c))) for c in COUNTS]
    np.testing.assert_allclose(found[0], expected, rtol=3e-5, atol=1e-6)
    for count in (0, 20, 60):
        slopes = jax.grad(value)(jax.tree.map(jnp.float32, numbers), count)
        assert all(np.isfinite(leaf) for leaf in jax.tree.leaves(slopes))


def test_jumps_come_when_the_count_reaches_the_boundary():
    schedule = s.piecewise([1.0, 0.5], [10])
    assert float(schedule(9)) == 1.0 and float(schedule(10)) == 0.5


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: s.cosine(0.1, 0), "`steps` is 0"),
        (lambda: s.cosine(-0.1, 10), "`start` is -0.1"),
        (lambda: s.warm_restarts(0.1, 10, factor=0.5), "`factor` is 0.5"),
        (lambda: s.piecewise([0.1], [5]), "`values` is .*1 boundaries make 2 pieces"),
        (lambda: s.one_cycle(0.1, 10, rise=1.5), "`rise` is 1.5"),
    ],
)
def test_numbers_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
