"""Strengths by path within one penalty."""

import jax
import numpy as np
import optax
import pytest
from problems import digits

import jaxtune as jt
from jaxtune import penalties

RNG = np.random.default_rng(0)
PARAMS = {
    "a": {"kernel": RNG.normal(size=(3, 4)), "bias": np.ones(4)},
    "ab": {"kernel": RNG.normal(size=(4, 2))},
    "c": {"d": {"kernel": RNG.normal(size=(2, 2))}, "e": {"kernel": RNG.normal(size=(2, 2))}},
}
START = jax.tree.map(lambda w: w + 1.0, PARAMS)
KINDS = {
    "l1": lambda s, **k: penalties.l1(s, **k),
    "l2": lambda s, **k: penalties.l2(s, **k),
    "elastic_net": lambda s, **k: penalties.elastic_net(s, 0.0, **k),
    "elastic_net, squares": lambda s, **k: penalties.elastic_net(0.0, s, **k),
    "group_lasso": lambda s, **k: penalties.group_lasso(s, **k),
    "sparse_group_lasso": lambda s, **k: penalties.sparse_group_lasso(s, 0.0, **k),
    "orthogonality": lambda s, **k: penalties.orthogonality(s, **k),
    "spectral_norm": lambda s, **k: penalties.spectral_norm(s, **k),
    "variational_kl": lambda s, where=None: penalties.variational_kl(s, where=where or penalties.is_kernel),
    "l2_sp": lambda s, **k: penalties.l2_sp(s, START, **k),
}


@pytest.mark.parametrize("name", KINDS)
def test_each_part_has_the_strength_of_its_longest_prefix(name):
    kind = KINDS[name]
    found = kind({"a": 0.5, "c": 2.0, "c/e": 7.0})(PARAMS)
    parts = {"a/kernel": 0.5, "c/d/kernel": 2.0, "c/e/kernel": 7.0}  # nothing for "ab"
    expected = sum(s * kind(1.0, where=lambda path, leaf, own=p: path == own)(PARAMS) for p, s in parts.items())
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(kind({"": 0.3})(PARAMS), kind(0.3)(PARAMS), rtol=1e-5)


@pytest.mark.parametrize(
    "strength, message",
    [
        ({}, "there is no strength in it"),
        ({"Dense_7": 1.0}, "no parameter lies under 'Dense_7'"),
        ({"a/bias": 1.0}, "no parameter lies under 'a/bias'"),  # `where` leaves biases out
    ],
)
def test_a_prefix_that_falls_on_nothing_is_refused(strength, message):
    with pytest.raises(ValueError, match=message):
        penalties.l2(strength)(PARAMS)


def test_strengths_are_checked_by_name():
    with pytest.raises(ValueError, match=r"`strength\['a'\]` is -1.0"):
        penalties.l2({"a": -1.0})
    with pytest.raises(ValueError, match=r"`l1\['a'\]` is -1.0"):
        penalties.elastic_net({"a": -1.0}, 0.0)


def test_strengths_by_layer_are_axes_of_one_program():
    def recipe(hp):
        penalty = penalties.l2({"Dense_0": hp.first, "Dense_1": hp.last})
        return jt.Recipe(jt.models.MLP((8,), hp.run.outputs), optimizer=optax.sgd(0.1), batch_size=16, penalty=penalty)

    space = jt.grid(first=[0.0, 0.5], last=[0.0, 0.5])
    result = jt.run(jt.Experiment(recipe, space, digits(), steps=8, seeds=1, eval_every=4))

    def norm(layer, **arm):
        return float(np.linalg.norm(result.variables(**arm, seed=0).params[layer]["kernel"]))

    assert norm("Dense_0", first=0.5, last=0.0) < 0.7 * norm("Dense_0", first=0.0, last=0.0)
    assert norm("Dense_1", first=0.0, last=0.5) < 0.7 * norm("Dense_1", first=0.0, last=0.0)
    assert norm("Dense_1", first=0.5, last=0.0) > 0.9 * norm("Dense_1", first=0.0, last=0.0)
