"""One lane against a training loop written by hand with Optax, and under JAX's transformations."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from problems import digits, linear

import jaxtune as jt
from jaxtune._keys import key_for, stream_key

DATA = digits(train=50, valid=20, test=20)
KEY = jax.random.key(5)


def by_hand(params, optimizer, batch_size, steps, penalty):
    """Returns losses after each update of a loop over batches in the order that seed 5 shuffles."""
    x, y = DATA.train.x.reshape(50, 64), DATA.train.y
    state = optimizer.init(params)
    per_epoch = -(-50 // batch_size)

    def loss(params, x, y):
        return optax.softmax_cross_entropy_with_integer_labels(x @ params["kernel"] + params["bias"][None], y).mean()

    losses = []
    for t in range(steps):
        order = np.asarray(jax.random.permutation(key_for(KEY, "batches", t // per_epoch), 50))
        index = order[(t % per_epoch) * batch_size :][:batch_size]
        gradient = jax.grad(loss)(params, x[index], y[index])
        gradient["kernel"] += 2 * penalty * params["kernel"]
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        losses.append(
            [float(loss(params, split.x.reshape(len(split), 64), split.y)) for split in (DATA.train, DATA.valid)]
        )
    return np.array(losses)


@pytest.mark.parametrize("batch_size", [10, 16, 50])
@pytest.mark.parametrize("optimizer", [optax.sgd(0.5, momentum=0.9), optax.adam(0.01)])
def test_first_steps_equal_a_loop_by_hand(batch_size, optimizer):
    def recipe(hp):
        model = jt.models.MLP((), hp.run.outputs)
        return jt.Recipe(model, optimizer=optimizer, batch_size=batch_size, penalty=jt.penalties.l2(hp.l2))

    _, history = jt.train(recipe, KEY, {"l2": 0.01}, DATA, steps=10, eval_every=1)
    initial = jt.models.as_model(jt.models.MLP((), 10)).init(stream_key(KEY, "init"), DATA.train.x[:1])[0]["Dense_0"]
    expected = by_hand(initial, optimizer, batch_size, 10, 0.01)
    np.testing.assert_allclose(history.metrics["train_loss"], expected[:, 0], atol=1e-5)
    np.testing.assert_allclose(history.metrics["valid_loss"], expected[:, 1], atol=1e-5)


def test_evaluates_at_multiples_and_at_the_end():
    state, history = jt.train(linear, KEY, {"lr": 0.1}, DATA, steps=7, eval_every=3)
    assert history.step.tolist() == [3, 6, 7]
    assert int(state.last_step) == 7 and history.metrics["valid_loss"].shape == (3,)


def test_agrees_with_run():
    result = jt.run(jt.Experiment(linear, jt.grid(lr=[0.1, 0.2]), DATA, steps=10, seeds=[5], eval_every=2))
    _, history = jt.train(linear, KEY, {"lr": 0.2}, DATA, steps=10, eval_every=2)
    for name in ("train_loss", "valid_loss", "train_accuracy"):
        np.testing.assert_allclose(history.metrics[name], result.dataset[name].sel(lr=0.2, seed=5), atol=1e-5)


def test_vmaps_over_hyperparameters_and_keys():
    def loss(key, lr):
        return jt.train(linear, key, {"lr": lr}, DATA, steps=4, eval_every=2)[1].metrics["valid_loss"][-1]

    keys = jax.vmap(jax.random.key)(jnp.arange(3))
    rates = jnp.array([0.1, 0.5])
    together = jax.jit(jax.vmap(jax.vmap(loss, (None, 0)), (0, None)))(keys, rates)
    one = jax.jit(loss)
    for i in range(3):
        for j in range(2):
            np.testing.assert_allclose(together[i, j], one(keys[i], rates[j]), atol=1e-5)


@pytest.mark.slow
def test_differentiates_by_hyperparameters_in_both_modes():
    def loss(lr):
        return jt.train(linear, KEY, {"lr": lr}, DATA, steps=6, eval_every=3)[1].metrics["valid_loss"][-1]

    h = 1e-2
    numeric = (loss(0.3 + h) - loss(0.3 - h)) / (2 * h)
    assert float(jax.grad(loss)(0.3)) == pytest.approx(float(numeric), rel=2e-2)
    assert float(jax.jvp(loss, (0.3,), (1.0,))[1]) == pytest.approx(float(jax.grad(loss)(0.3)), rel=1e-4)


def test_regression_runs_through_the_same_spine():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 4)).astype("float32")
    truth = np.array([1.0, -2.0, 0.5, 0.0])
    splits = jt.data.from_arrays(x, x @ truth + 3.0)
    _, history = jt.train(linear, KEY, {"lr": 0.1}, splits, steps=300)
    assert set(history.metrics) == {"train_loss", "valid_loss"}
    assert float(history.metrics["valid_loss"][-1]) < 1e-5


def test_an_objective_replaces_loss_and_is_what_is_reported():
    def recipe(hp):
        def fn(apply, params, state, batch, key):
            outputs, state = apply(params, state, batch.x, key=key, train=True)
            values = 2.0 * optax.softmax_cross_entropy_with_integer_labels(outputs, batch.y)
            weight = jnp.ones(len(values)) if batch.weight is None else batch.weight
            return (weight * values).sum() / weight.sum(), (state, {})

        made = linear(hp)
        return jt.Recipe(made.model, optimizer=optax.sgd(hp.lr / 2), batch_size=16, loss=jt.Objective(fn))

    _, doubled = jt.train(recipe, KEY, {"lr": 0.1}, DATA, steps=4, eval_every=2)
    _, plain = jt.train(linear, KEY, {"lr": 0.1}, DATA, steps=4, eval_every=2)
    np.testing.assert_allclose(doubled.metrics["valid_loss"], 2 * plain.metrics["valid_loss"], rtol=1e-5)


def test_own_metrics_are_averaged_over_the_split():
    def recipe(hp):
        made = linear(hp)
        metrics = {
            "ones": lambda outputs, y: jnp.ones(len(y)),
            "top": jt.metrics.mean(lambda o, y: o.max(-1), mode="max"),
        }
        return jt.Recipe(made.model, optimizer=made.optimizer, batch_size=16, metrics=metrics)

    result = jt.run(jt.Experiment(recipe, jt.grid(lr=[0.1]), DATA, steps=4, seeds=1, eval_every=2))
    assert (result.dataset["valid_ones"] == 1).all() and result.dataset["valid_top"].attrs["mode"] == "max"
    outputs = result.predict(DATA.test.x, seed=0)
    assert result.dataset["test_top"].item() == pytest.approx(float(outputs.max(-1).mean()), rel=1e-5)
