"""Early stopping as a state machine."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxtune as jt
from jaxtune.training import _early_stopping


def run(metrics, patience, min_delta=0.0, mode="min"):
    """Returns the index of the stopping evaluation, or None, and the state then."""
    config = jt.EarlyStopping(patience, min_delta)
    state = _early_stopping.start({"w": jnp.array(-1)}, {})
    for i, value in enumerate(metrics):
        state, stop = _early_stopping.observe(state, jnp.float32(value), i, {"w": jnp.array(i)}, {}, config, mode)
        if stop:
            return i, state
    return None, state


@pytest.mark.parametrize(
    ("metrics", "patience", "min_delta", "mode", "stop", "best"),
    [
        ([5, 4, 4, 3, 3, 3, 3], 2, 0.0, "min", 5, 3),
        ([5, 4, 4, 3, 3, 3, 3], 4, 0.0, "min", None, 3),
        ([5, 4, 4, 3, 3, 3, 3], float("inf"), 0.0, "min", None, 3),
        ([5, 4, 3, 2], 2, 1.5, "min", None, 2),
        ([5, 4.5, 4, 3.5], 1, 1.0, "min", 1, 0),
        ([0.1, 0.2, 0.2, 0.2], 2, 0.0, "max", 3, 1),
        ([np.nan, 3, np.nan, np.nan, 1], 2, 0.0, "min", 3, 1),
        ([np.nan, np.nan], 2, 0.0, "min", 1, -1),
    ],
)
def test_stops_as_keras_does(metrics, patience, min_delta, mode, stop, best):
    index, state = run(metrics, patience, min_delta, mode)
    assert index == stop
    assert int(state.best_params["w"]) == best
    if best >= 0:
        assert int(state.best_step) == best


def test_patience_is_a_lane():
    def steps(patience):
        def body(carry, value):
            state, stopped = carry
            state, stop = _early_stopping.observe(state, value, 0, {}, {}, jt.EarlyStopping(patience), "min")
            return (state, stopped | stop), stopped | stop

        start = (_early_stopping.start({}, {}), jnp.array(False))
        return jax.lax.scan(body, start, jnp.array([5.0, 4, 4, 3, 3, 3, 3]))[1]

    stopped = jax.vmap(steps)(jnp.array([1.0, 2.0, jnp.inf]))
    assert stopped.argmax(axis=1).tolist()[:2] == [2, 5] and not stopped[2].any()


@pytest.mark.parametrize("patience", [0.0, -1.0, float("nan")])
def test_refuses_patience_below_one(patience):
    with pytest.raises(ValueError, match="`patience`"):
        jt.EarlyStopping(patience)


def stops(losses, train=None, **config):
    """Returns the index of the stopping evaluation, or None; evaluations come every 10 updates."""
    config = jt.EarlyStopping(**config)
    state = _early_stopping.start({}, {}, config.strip)
    for i, value in enumerate(losses):
        on_train = jnp.float32(np.nan if train is None else train[i])
        state, stop = _early_stopping.observe(state, jnp.float32(value), 10 * i, {}, {}, config, "min", on_train)
        if stop:
            return i
    return None


def test_evaluations_before_the_start_are_not_looked_at():
    losses = [1, 5, 5, 5, 4, 5, 5, 5]
    assert stops(losses, patience=2) == 2
    assert stops(losses, patience=2, start=30) == 6  # best at 4, not at 0
    state = _early_stopping.start({}, {})
    early = jt.EarlyStopping(1.0, start=30)
    assert not np.isfinite(_early_stopping.observe(state, jnp.float32(1), 20, {}, {}, early, "min")[0].best)


def test_improvements_that_miss_the_baseline_are_waited_through():
    losses = [5, 4.5, 4.4, 4.3, 4.2, 4.2]
    assert stops(losses, patience=3) is None
    assert stops(losses, patience=3, baseline=4.0) == 5  # Keras does not stop at an evaluation that improves
    assert stops(losses, patience=3, baseline=float("inf")) is None
    assert stops([5, 3.9, 4, 4, 4, 4], patience=3, baseline=4.0) == 4


def test_generalization_loss_stops_where_the_loss_has_risen():
    losses = np.array([2.0, 1.0, 1.05, 1.2, 1.31, 1.0])
    risen = 100 * (losses / np.minimum.accumulate(losses) - 1)
    for limit in (4.0, 10.0, 25.0, 40.0):
        over = np.flatnonzero(risen > limit)
        assert stops(losses, generalization_loss=limit) == (over[0] if len(over) else None)


def test_progress_quotient():
    rng = np.random.default_rng(0)
    train = 1 / np.arange(1, 31) + 0.05 * rng.random(30)
    valid = train + 0.002 * np.arange(30) ** 1.5
    lowest = np.minimum.accumulate(valid)
    found = set()
    for limit in (0.01, 0.1, 0.3, 100.0):
        expected = None
        for i in range(4, 30):
            strip = train[i - 4 : i + 1]
            if 100 * (valid[i] / lowest[i] - 1) / (1000 * (strip.mean() / strip.min() - 1)) > limit:
                expected = i
                break
        assert stops(valid, train, progress_quotient=limit) == expected
        found.add(expected)
    assert len(found) > 2 and None in found


def test_criteria_of_losses_refuse_what_is_to_be_maximized():
    state = _early_stopping.start({}, {})
    with pytest.raises(ValueError, match="shares of a loss"):
        _early_stopping.observe(state, 0.5, 1, {}, {}, jt.EarlyStopping(generalization_loss=5.0), "max")


def test_any_criterion_keeps_the_best():
    for config in (jt.EarlyStopping(3.0), jt.EarlyStopping(generalization_loss=5.0)):
        assert bool(_early_stopping.is_on(config))
    assert not bool(_early_stopping.is_on(jt.EarlyStopping(float("inf"))))
