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
