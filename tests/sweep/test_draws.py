"""Common random numbers: draws are functions of seed, stream, place and step, made once for all arms of a seed."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from asserts import assert_same_bits
from problems import OFF, cnn, digits, mlp

import jaxtune as jt
from jaxtune.sweep.programs import _jaxpr
from jaxtune.sweep.programs._programs import Layout, build

UNITS = 50


def witness(hp):
    """A model whose state records which units were kept and which examples were in the batch."""

    def init(key, x):
        state = {"kept": jnp.zeros((16, UNITS), bool), "pixels": jnp.zeros((16, 64))}
        return {"kernel": jax.random.normal(key, (64, 10)) * 0.01}, state

    def apply(params, state, x, *, key, train):
        x = x.reshape(x.shape[0], -1)
        if train:
            ones = jt.nn.dropout(key, jnp.ones((16, UNITS)), hp.dropout)
            state = {"kept": ones > 0, "pixels": x}
        return x @ params["kernel"] + 0 * hp.dropout, state

    return jt.Recipe(jt.Model(init, apply), optimizer=optax.sgd(hp.lr), batch_size=16)


@pytest.fixture(scope="module")
def result():
    space = jt.grid(dropout=[0.2, 0.5], lr=[0.0, 0.1])
    return jt.run(jt.Experiment(witness, space, digits(), steps=7, seeds=[0, 1], eval_every=7))


def test_units_kept_at_a_higher_rate_are_a_subset(result):
    for seed in (0, 1):
        few = result.variables(dropout=0.5, lr=0.1, seed=seed).model_state["kept"]
        many = result.variables(dropout=0.2, lr=0.1, seed=seed).model_state["kept"]
        assert not np.any(few & ~many)
        assert 0.4 < few.mean() < 0.6 and 0.72 < many.mean() < 0.88


def test_arms_share_parameters_and_batches_but_seeds_do_not(result):
    def at(**setting):
        return result.variables(**setting)

    a, b, other = at(dropout=0.2, lr=0.0, seed=0), at(dropout=0.5, lr=0.0, seed=0), at(dropout=0.2, lr=0.0, seed=1)
    assert_same_bits(a.params, b.params)
    assert_same_bits(a.model_state["pixels"], at(dropout=0.5, lr=0.1, seed=0).model_state["pixels"])
    assert not np.array_equal(a.params["kernel"], other.params["kernel"])
    assert not np.array_equal(a.model_state["pixels"], other.model_state["pixels"])
    assert not np.array_equal(a.model_state["kept"], other.model_state["kept"])


@pytest.mark.parametrize("recipe", [mlp, cnn])
def test_draws_are_not_batched_over_arms(recipe):
    axes = dict(dropout=[0.1, 0.2, 0.3], lr=[1e-3], **(dict(l2=[1e-3], patience=[OFF]) if recipe is mlp else {}))
    experiment = jt.Experiment(recipe, jt.grid(**axes), digits(), steps=4, seeds=2, eval_every=2)
    arms, seeds = 3, 2
    built = build(experiment, lambda static: Layout(jt.sweep.ChunkShape(arms, seeds)))
    (program,) = built.programs
    table, key, numbers = built.table, jax.random.key(0), jnp.zeros(seeds, jnp.uint32)

    one = {name: np.float32(0.1) for name in axes}
    lane = jax.eval_shape(program.lane.init, key, table, one)
    alone = _jaxpr.draws(jax.make_jaxpr(program.lane.segment)(key, lane, table, one, 0, 2))

    many = {name: np.zeros((seeds, arms), np.float32) for name in axes}
    chunk = jax.eval_shape(program.functions.init, numbers, table, many)
    together = _jaxpr.draws(jax.make_jaxpr(program.functions.advance)(numbers, chunk, table, many, 0, 2, None))
    assert len(alone) >= 2 and sorted(together) == sorted((seeds, *shape) for shape in alone)
