"""`hp.step`: whatever a recipe makes of the number of updates done is annealed."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from asserts import assert_same_bits
from problems import digits

import jaxtune as jt
from jaxtune.training import Hyperparameters

DATA = digits()
KEY = jax.random.key(0)


def recipe_of(**fields):
    def recipe(hp):
        made = {"optimizer": optax.sgd(0.1), **{name: field(hp) for name, field in fields.items()}}
        return jt.Recipe(jt.models.MLP((), hp.run.outputs), batch_size=16, **made)

    return recipe


def trained(recipe, steps=6, **hp):
    return jt.train(recipe, KEY, hp, DATA, steps=steps, eval_every=3)


def test_a_rate_that_is_a_function_of_the_step_is_a_schedule():
    schedule = jt.optim.schedules.exponential(0.3, 0.5, 2)
    ours = trained(recipe_of(optimizer=lambda hp: optax.sgd(schedule(hp.step))))[0]
    theirs = trained(recipe_of(optimizer=lambda hp: optax.sgd(schedule)))[0]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), ours.params, theirs.params)


def test_a_penalty_that_begins_late_changes_nothing_before():
    late = recipe_of(penalty=lambda hp: jt.penalties.l2(jnp.where(hp.step >= 3, 0.5, 0.0)))
    _, history = trained(late)
    plain = trained(recipe_of(penalty=lambda hp: jt.penalties.l2(0.5)))[1]
    never = trained(recipe_of(penalty=lambda hp: jt.penalties.l2(0.0)))[1]
    assert history.metrics["valid_loss"][0] == never.metrics["valid_loss"][0]
    assert history.metrics["valid_loss"][1] != never.metrics["valid_loss"][1]
    # what is logged has the strength of the evaluation's step
    assert float(history.metrics["train_penalty_l2"][0]) > float(plain.metrics["train_penalty_l2"][0]) > 0


def test_noise_that_ends_leaves_the_later_updates_alone():
    def noisy(hp):
        return jt.data.augment.noise(hp.scale * jnp.where(hp.step < hp.end, 1.0, 0.0))

    space = jt.grid(scale=[0.0, 1.0], end=[0.0, 3.0])
    result = jt.run(jt.Experiment(recipe_of(augment=noisy), space, DATA, steps=6, seeds=2, eval_every=3))
    loss = result.dataset["train_loss"]
    assert_same_bits(loss.sel(scale=0.0, end=0.0).values, loss.sel(scale=1.0, end=0.0).values)
    assert (loss.sel(scale=1.0, end=3.0) != loss.sel(scale=0.0, end=0.0)).all()


def test_bits_do_not_depend_on_how_often_is_evaluated():
    recipe = recipe_of(penalty=lambda hp: jt.penalties.l2(hp.l2 * hp.step / hp.run.steps))
    runs = [
        jt.run(jt.Experiment(recipe, jt.grid(l2=[0.0, 0.1]), DATA, steps=6, seeds=1, eval_every=every))
        for every in (2, 6)
    ]
    assert_same_bits(*(run.variables(l2=0.1, seed=0).params for run in runs))


def test_the_step_is_a_child_of_the_pytree():
    hp = Hyperparameters({"lr": 0.1, "width": 3}, step=jnp.int32(4))
    assert [float(leaf) for leaf in jax.tree.leaves(hp)] == [pytest.approx(0.1), 4.0]
    assert int(jax.jit(lambda hp: hp.step + hp.width)(hp)) == 7
    assert "step" not in hp


def test_outside_of_a_run_there_is_none():
    with pytest.raises(RuntimeError, match="hp.step"):
        Hyperparameters({"lr": 0.1}).step  # noqa: B018 (it is the access that raises)
