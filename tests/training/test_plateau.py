"""Reducing the learning rate on a plateau, against Keras's rules written out."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from problems import digits

import jaxtune as jt
from jaxtune.training import _plateau

OFF = float("inf")
LOSSES = [5, 4, 4, 4, 4, 4, 4, 3, 3.5, 3.5, 3.5, np.nan, 3.5, 3.5, 2, 2, 2, 2, 2, 2]


def keras(losses, factor, patience, min_delta, cooldown, least):
    """Returns the scale after each evaluation, by Keras's callback line by line."""
    scale, best, wait, counter, found = 1.0, np.inf, 0, 0, []
    for loss in losses:
        if counter > 0:
            counter, wait = counter - 1, 0
        if loss < best - min_delta:
            best, wait = loss, 0
        elif counter == 0:
            wait += 1
            if wait >= patience:
                if scale > least:
                    scale = max(scale * factor, least)
                counter, wait = cooldown, 0
        found.append(scale)
    return found


def scales(losses, config, mode="min"):
    def step(state, loss):
        state = _plateau.observe(state, loss, config, mode)
        return state, state.scale

    return jax.lax.scan(step, _plateau.start(), jnp.array(losses, jnp.float32))[1]


@pytest.mark.parametrize("factor, patience, min_delta", [(0.5, 1, 0.0), (0.1, 2, 0.0), (0.5, 3, 0.0), (0.5, 2, 1.5)])
@pytest.mark.parametrize("cooldown, least", [(0, 0.0), (1, 0.0), (3, 0.2)])
def test_follows_keras(factor, patience, min_delta, cooldown, least):
    config = jt.ReduceOnPlateau(factor, patience, min_delta, cooldown=cooldown, least=least)
    expected = keras(LOSSES, factor, patience, min_delta, cooldown, least)
    np.testing.assert_allclose(scales(LOSSES, config), expected, rtol=1e-6)
    assert min(expected) < 1
    upside_down = scales([-x for x in LOSSES], config, "max")
    np.testing.assert_allclose(upside_down, expected, rtol=1e-6)


def test_settings_are_lanes_and_infinity_is_off():
    def lane(patience, factor):
        return scales(LOSSES, jt.ReduceOnPlateau(factor, patience, 0.0))

    lanes = jax.jit(jax.vmap(lane))(jnp.array([1.0, 3.0, OFF]), jnp.array([0.5, 0.1, 0.5]))
    expected = [keras(LOSSES, 0.5, 1, 0.0, 0, 0.0), keras(LOSSES, 0.1, 3, 0.0, 0, 0.0), [1.0] * len(LOSSES)]
    np.testing.assert_allclose(lanes, expected, rtol=1e-6)


def test_a_run_at_a_smaller_rate_after_a_plateau():
    """With a min_delta that nothing reaches, the rate halves at every evaluation but the first: a schedule."""
    data, steps, every = digits(), 12, 3

    def plateau(hp):
        reduce = jt.ReduceOnPlateau(0.5, 1.0, min_delta=1e6)
        return jt.Recipe(jt.models.MLP((), hp.run.outputs), optimizer=optax.sgd(hp.lr), batch_size=16, plateau=reduce)

    def schedule(hp):
        # The first evaluation improves on infinity.
        rates = jt.optim.schedules.piecewise([hp.lr, hp.lr / 2, hp.lr / 4], [2 * every, 3 * every])
        return jt.Recipe(jt.models.MLP((), hp.run.outputs), optimizer=optax.sgd(rates), batch_size=16)

    ours, expected = (
        jt.train(recipe, jax.random.key(0), {"lr": 0.5}, data, steps=steps, eval_every=every)[0]
        for recipe in (plateau, schedule)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), ours.params, expected.params)


@pytest.mark.parametrize("field, value", [("factor", 1.5), ("patience", 0.0), ("min_delta", -1.0), ("least", 2.0)])
def test_numbers_out_of_range_are_refused(field, value):
    with pytest.raises(ValueError, match=f"`{field}` is {value}"):
        jt.ReduceOnPlateau(**{field: value})


def test_what_is_not_measured_is_refused():
    def recipe(hp):
        watch = jt.ReduceOnPlateau(metric="valid_speed")
        return jt.Recipe(jt.models.MLP((), hp.run.outputs), optimizer=optax.sgd(hp.lr), batch_size=16, plateau=watch)

    with pytest.raises(ValueError, match="`plateau.metric` is 'valid_speed'"):
        jt.train(recipe, jax.random.key(0), {"lr": 0.5}, digits(), steps=2)
