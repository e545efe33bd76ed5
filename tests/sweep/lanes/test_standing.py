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
NONE = types.SimpleNamespace(ended=np.zeros((ARMS, SEEDS), bool), taken=dict)


def test_what_was_taken_last_stays_as_it_is_until_the_one_after_the_next():
    program = types.SimpleNamespace(shape=ChunkShape(2, 1))
    standing = Standing(program, None, None)
    (chunk,) = pack([(0, 0), (1, 0)], program.shape)
    taken = []
    for turn in range(4):
        standing.make_room(2)
        standing.note(chunk, turn, {"w": jnp.full((1, 2), turn)})
        taken.append(standing.take(NONE)["state"]["0"])
        for kept, of in zip(taken[-2:], range(turn + 1)[-2:], strict=True):
            np.testing.assert_array_equal(kept, [of, of])
    assert np.shares_memory(taken[0], taken[2]) and np.shares_memory(taken[1], taken[3])
    assert standing.take(NONE)["state"]["0"].base is None  # an ended program's holds none of the room


def test_room_grows_where_more_trials_are_under_way():
    program = types.SimpleNamespace(shape=ChunkShape(2, 1))
    standing = Standing(program, None, None)
    few, many = pack([(0, 0)], program.shape), pack([(arm, 0) for arm in range(ARMS)], program.shape)
    for chunks in (few, many, many, few):
        standing.make_room(sum(int(chunk.real.sum()) for chunk in chunks))
        for chunk in chunks:
            standing.note(chunk, 1, {"w": jnp.asarray(chunk.arms)})
        taken = standing.take(NONE)
        np.testing.assert_array_equal(taken["state"]["0"], taken["trials"][:, 0])
        assert len(taken["trials"]) == (1 if chunks is few else ARMS)


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
