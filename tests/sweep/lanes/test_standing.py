"""What a checkpoint holds of the trials under way: each one's own state, and none of those that have ended."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtune.sweep import ChunkShape
from jaxtune.sweep.lanes._standing import Standing
from jaxtune.sweep.programs._chunks import pack

ARMS, SEEDS = 5, 3


def test_what_was_taken_stays_as_it_is_while_more_is_noted():
    program = types.SimpleNamespace(shape=ChunkShape(2, 1))
    standing = Standing(program, None, None)
    (chunk,) = pack([(0, 0), (1, 0)], program.shape)
    taken = []
    for turn in range(3):
        standing.make_room(2)
        standing.note(chunk, turn, {"w": jnp.full((1, 2), turn)})
        ended = types.SimpleNamespace(ended=np.zeros((ARMS, SEEDS), bool), taken=dict)
        taken.append(standing.take(ended)["state"]["0"])
    np.testing.assert_array_equal(taken, [[0, 0], [1, 1], [2, 2]])


@pytest.mark.parametrize("shape", [(4, 1), (2, 2), (1, 1)])
def test_every_trial_that_goes_on_is_noted_with_its_own_state(shape):
    program = types.SimpleNamespace(shape=ChunkShape(*shape))
    standing = Standing(program, None, None)
    chunks = pack([(arm, seed) for arm in range(ARMS) for seed in range(SEEDS)], program.shape)
    for turn, ended in enumerate(
        [[], [(0, 0), (2, 1), (4, 2)], [(arm, seed) for arm in range(ARMS) for seed in (0, 1)]]
    ):
        mask = np.zeros((ARMS, SEEDS), bool)
        mask[tuple(np.array(ended, int).reshape(-1, 2).T)] = True
        standing.make_room(ARMS * SEEDS)
        for chunk in chunks:
            name = 100 * turn + 10 * chunk.arms + chunk.seeds[:, None]
            state = {"w": jnp.stack([name, -name], -1), "key": jax.vmap(jax.vmap(jax.random.key))(name)}
            state["empty"] = jnp.zeros((*name.shape, 0))
            standing.note(chunk, turn, state)
        taken = standing.take(types.SimpleNamespace(ended=mask, taken=dict))
        arms, seeds, turns = taken["trials"].T
        assert sorted(taken["trials"][:, :2].tolist()) == np.argwhere(~mask).tolist() and (turns == turn).all()
        name = 100 * turn + 10 * arms + seeds
        keys, weights = taken["state"]["1"], taken["state"]["2"]
        assert taken["state"]["0"].shape == (len(turns), 0)
        np.testing.assert_array_equal(weights, np.stack([name, -name], -1))
        np.testing.assert_array_equal(keys, jax.random.key_data(jax.vmap(jax.random.key)(name)))
    assert len(standing.take(types.SimpleNamespace(ended=mask, taken=dict))["trials"]) == 0
