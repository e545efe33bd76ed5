"""Frozen parameters and learning rates by path."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from asserts import assert_same_bits

from jaxtune import optim

PARAMS = {"body": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}, "head": {"kernel": jnp.ones((3, 1))}}
GRADIENTS = jax.tree.map(lambda w: 0.5 * w, PARAMS)


def in_body(path, leaf):
    del leaf
    return path.startswith("body")


def after(optimizer, steps=3):
    params, state = PARAMS, optimizer.init(PARAMS)
    for _ in range(steps):
        updates, state = optimizer.update(GRADIENTS, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


def test_frozen_parameters_keep_their_bits_and_have_no_state():
    params, state = after(optim.freeze(optax.adam(0.1), in_body))
    assert_same_bits(params["body"], PARAMS["body"])
    moments = [leaf for leaf in jax.tree.leaves(state) if leaf.ndim > 0]
    assert [m.shape for m in moments] == [(3, 1), (3, 1)]
    assert_same_bits(params["head"], after(optax.adam(0.1))[0]["head"])


@pytest.mark.parametrize("where, reason", [(lambda p, w: False, "freezes no"), (lambda p, w: True, "freezes all")])
def test_freezing_nothing_or_all_is_refused(where, reason):
    with pytest.raises(ValueError, match=reason):
        optim.freeze(optax.sgd(0.1), where).init(PARAMS)


def test_scales_are_learning_rates():
    scales = {"body": 0.1, "body/bias": 0.0}
    params, _ = after(optax.chain(optax.adam(0.1), optim.scale_by_path(scales)))
    small, whole = after(optax.adam(0.01))[0], after(optax.adam(0.1))[0]
    np.testing.assert_allclose(params["body"]["kernel"], small["body"]["kernel"], rtol=1e-6)
    assert_same_bits(params["body"]["bias"], PARAMS["body"]["bias"])
    assert_same_bits(params["head"], whole["head"])


def test_scales_may_be_lanes():
    def head(scale):
        return after(optax.chain(optax.sgd(0.1), optim.scale_by_path({"head": scale}, default=0.0)))[0]

    lanes = jax.jit(jax.vmap(head))(jnp.array([0.0, 1.0, 2.0]))
    np.testing.assert_allclose(lanes["head"]["kernel"][:, 0, 0], [1.0, 0.85, 0.7], rtol=1e-6)
    np.testing.assert_array_equal(lanes["body"]["kernel"], np.ones((3, 2, 3)))


def test_wrong_prefixes_and_factors_are_refused():
    with pytest.raises(ValueError, match="no parameter lies under 'haed'"):
        after(optim.scale_by_path({"haed": 1.0}))
    with pytest.raises(ValueError, match=r"`scales\['head'\]` is -1.0"):
        optim.scale_by_path({"head": -1.0})
