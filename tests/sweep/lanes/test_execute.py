"""Chunks on devices: packing, waves."""

import jax
import numpy as np
import optax
import pytest
from asserts import assert_same_bits
from problems import OFF, digits

import jaxtune as jt
from jaxtune.sweep import ChunkShape
from jaxtune.sweep.lanes._compile import compile_program
from jaxtune.sweep.lanes._execute import run_program
from jaxtune.sweep.programs._chunks import count_chunks, pack
from jaxtune.sweep.programs._programs import Layout, build
from jaxtune.training._facts import evaluation_steps

STEPS, EVERY = 24, 4


@pytest.mark.parametrize("shape", [(4, 1), (1, 4), (2, 3), (1, 1)])
def test_pack_holds_every_trial_once_and_rows_share_a_seed(shape):
    shape = ChunkShape(*shape)
    trials = [(a, s) for a in range(5) for s in range(3) if (a + s) % 4]
    chunks = pack(trials, shape)
    assert sorted(t for c in chunks for t, _ in c.lanes()) == sorted(trials)
    for chunk in chunks:
        assert chunk.arms.shape == chunk.real.shape == (shape.seeds, shape.arms) and chunk.real.any()
        assert all((arm, seed) in trials for row, seed in zip(chunk.arms, chunk.seeds, strict=True) for arm in row)
    everyone = [(a, s) for a in range(5) for s in range(3)]
    assert len(pack(everyone, shape)) == count_chunks(5, 3, shape)


def stopping(patience):
    """Stops at evaluation 1 + patience, for nothing counts as an improvement."""
    return jt.EarlyStopping(patience, min_delta=1e6)


def with_draws(hp):
    model = jt.models.MLP((16,), hp.run.outputs, dropout=hp.dropout)
    return jt.Recipe(model, optimizer=optax.sgd(0.1), batch_size=16, early_stopping=stopping(hp.patience))


def without(hp):
    model = jt.models.MLP((16,), hp.run.outputs)
    return jt.Recipe(model, optimizer=optax.sgd(hp.lr), batch_size=16, early_stopping=stopping(hp.patience))


def outcome(recipe, space, devices, at_once=None, chunk=None):
    experiment = jt.Experiment(recipe, space, digits(), steps=STEPS, seeds=5, eval_every=EVERY)
    built = build(experiment, lambda static: Layout(chunk))
    (program,) = built.programs
    compiled = compile_program(program, built.table, jax.devices()[:devices])
    ends = evaluation_steps(STEPS, EVERY)
    return run_program(program, experiment, compiled, ends, True, lambda *_: None, at_once)


def everything(outcome):
    return outcome._replace(segments=0)._asdict()


SOME_STOP = {
    "draws": (with_draws, jt.grid(dropout=[0.0, 0.1, 0.3, 0.5, 0.7], patience=[1.0, OFF, 3.0])),
    "no draws": (without, jt.grid(lr=[1e30, 3.0, 0.1, 0.01], patience=[1.0, OFF, 3.0])),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SOME_STOP)
def test_packing_saves_segments_and_changes_no_bit(name):
    recipe, space = SOME_STOP[name]
    one = outcome(recipe, space, devices=1)
    ended = np.isin(one.status, [jt.training.Status.STOPPED, jt.training.Status.DIVERGED])
    assert 0.2 < ended.mean() < 0.8
    shape = (4, 1) if name == "draws" else (1, 4)
    without_packing = count_chunks(*one.status.shape, ChunkShape(*shape)) * len(evaluation_steps(STEPS, EVERY))
    assert one.segments < without_packing
    for other in (
        outcome(recipe, space, 2),
        outcome(recipe, space, 1, at_once=2),
        outcome(recipe, space, 2, at_once=3),
    ):
        assert_same_bits(everything(other), everything(one))


def test_a_trial_beside_others_that_stop_has_the_bits_it_has_alone():
    recipe, space = SOME_STOP["no draws"]
    many = jt.run(jt.Experiment(recipe, space, digits(), steps=STEPS, seeds=5, eval_every=EVERY))
    point = dict(lr=0.1, patience=OFF)
    alone = jt.grid(**{k: [v] for k, v in point.items()})
    one = jt.run(jt.Experiment(recipe, alone, digits(), steps=STEPS, seeds=[4], eval_every=EVERY))
    assert many.dataset["status"].sel({**point, "seed": 4}) == "finished"
    assert_same_bits(many.variables(**point, seed=4), one.variables(**point, seed=4))
    curves = [r.dataset["valid_loss"].sel({**point, "seed": 4}).values for r in (many, one)]
    assert_same_bits(*curves)


def noisy(hp):
    optimizer = optax.chain(optax.add_noise(1e-3, 0.5, jax.random.key(1)), optax.sgd(hp.lr))
    model = jt.models.MLP((), hp.run.outputs)
    return jt.Recipe(model, optimizer=optimizer, batch_size=16, early_stopping=stopping(hp.patience))


def test_lanes_are_packed_with_the_keys_that_an_optimizer_keeps():
    def run(seeds, **axes):
        experiment = jt.Experiment(noisy, jt.grid(**axes), digits(), steps=8, seeds=seeds, eval_every=2)
        return jt.run(experiment, chunk=(2, 1))

    many, alone = run(3, lr=[0.1, 0.2], patience=[1.0, OFF]), run([2], lr=[0.2], patience=[OFF])
    assert (many.dataset["status"].sel(patience=1.0) == "stopped").all()
    assert (many.dataset["status"].sel(patience=OFF) == "finished").all()
    point = dict(lr=0.2, patience=OFF, seed=2)
    assert_same_bits(many.variables(**point), alone.variables(**point))
