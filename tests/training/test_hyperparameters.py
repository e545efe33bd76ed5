"""What a recipe is given."""

import jax
import jax.numpy as jnp
import pytest

from jaxtune.training import Hyperparameters, RunFacts

FACTS = RunFacts(100, 10, 3, (8, 8, 1))


def test_reads_as_attributes_items_and_keywords():
    hp = Hyperparameters({"lr": 0.1, "width": 32}, FACTS)
    assert hp.lr == hp["lr"] == dict(**hp)["lr"] == 0.1
    assert hp.run.steps == 100 and len(hp) == 2 and list(hp) == ["lr", "width"]


def test_is_immutable_and_names_what_is_missing():
    hp = Hyperparameters({"lr": 0.1})
    with pytest.raises(AttributeError, match="immutable"):
        hp.lr = 0.2
    for kind in (AttributeError, KeyError, ValueError):
        with pytest.raises(
            kind, match="^`l2` is no hyperparameter of the space, which has: lr. Give it an axis, or another name.$"
        ):
            _ = hp.l2
    assert not hasattr(hp, "l2") and hp.get("l2", 3) == 3
    with pytest.raises(RuntimeError, match="hp.run"):
        _ = hp.run


def test_is_a_pytree_whose_numbers_are_traced_and_the_rest_static():
    hp = Hyperparameters({"lr": 0.1, "width": 32, "act": jnp.tanh, "kind": {"b1": 0.9}}, FACTS)
    assert jax.tree.leaves(hp) == [0.1, 0.9]
    doubled = jax.jit(lambda hp: jax.tree.map(lambda x: 2 * x, hp))(hp)
    assert float(doubled.lr) == pytest.approx(0.2) and doubled.width == 32 and doubled.act is jnp.tanh
    assert doubled.run == FACTS
