"""`hp.step`: whatever a recipe makes of the number of updates done is annealed."""

import flax.linen as nn
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

    space = jt.grid(scale=[0.0, 1.0], end=[0.0, 3.0, 99.0])
    result = jt.run(jt.Experiment(recipe_of(augment=noisy), space, DATA, steps=6, seeds=2, eval_every=3))
    loss = result.dataset["train_loss"]
    assert_same_bits(loss.sel(scale=0.0, end=0.0).values, loss.sel(scale=1.0, end=0.0).values)
    early, late = loss.sel(scale=1.0, end=3.0).values, loss.sel(scale=1.0, end=99.0).values
    assert_same_bits(early[:, 0], late[:, 0])  # until then the same noise
    assert (early[:, 1] != late[:, 1]).all() and (early != loss.sel(scale=0.0, end=0.0)).all()


def test_noise_that_begins_late_changes_later_updates():
    def noisy(hp):
        return jt.data.augment.noise(jnp.where(hp.step >= hp.begin, 1.0, 0.0))

    space = jt.grid(begin=[0.0, 3.0, 99.0])
    loss = jt.run(jt.Experiment(recipe_of(augment=noisy), space, DATA, steps=6, seeds=1, eval_every=3)).dataset[
        "train_loss"
    ]
    assert_same_bits(loss.sel(begin=3.0).values[:, 0], loss.sel(begin=99.0).values[:, 0])
    assert (loss.sel(begin=3.0).values[:, 1] != loss.sel(begin=99.0).values[:, 1]).all()
    assert (loss.sel(begin=0.0).values[:, 0] != loss.sel(begin=99.0).values[:, 0]).all()


def test_kept_parameters_have_the_step_that_they_are_of():
    class Growing(nn.Module):
        factor: float

        @nn.compact
        def __call__(self, x):
            return nn.Dense(10)(x.reshape(x.shape[0], -1)) * self.factor

    data = jt.data.Splits(DATA.train, DATA.valid, DATA.valid, 10)

    def recipe(hp):
        stopping = jt.EarlyStopping(hp.patience, min_delta=1e6)  # the first evaluation is kept
        model = Growing(1.0 + hp.step.astype(jnp.float32) * hp.a)
        return jt.Recipe(model, optimizer=optax.sgd(0.01), batch_size=16, early_stopping=stopping)

    result = jt.run(jt.Experiment(recipe, jt.grid(a=[0.5], patience=[9.0]), data, steps=6, seeds=1, eval_every=2))
    found = result.dataset.sel(a=0.5, patience=9.0, seed=0)
    assert int(found["best_step"]) == 2
    np.testing.assert_allclose(found["test_loss"], found["valid_loss"].sel(step=2), rtol=1e-5)
    outputs = np.asarray(result.predict(data.test.x, a=0.5, patience=9.0, seed=0), np.float64)
    top = outputs.max(1)
    losses = np.log(np.exp(outputs - top[:, None]).sum(1)) + top - outputs[np.arange(len(top)), data.test.y]
    np.testing.assert_allclose(losses.mean(), found["test_loss"], rtol=1e-5)


def test_names_that_are_taken_are_refused():
    with pytest.raises(ValueError, match="`hp` is 'step'"):
        jt.train(recipe_of(), KEY, {"step": 0.1}, DATA, steps=2)


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
