"""What a recipe says of optimization besides the optimizer: averages, gradients, clipping, kinds; through `jt.run`."""

import functools as ft

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from asserts import assert_same_bits
from problems import OFF, digits

import jaxtune as jt

DATA = digits()
KEY = jax.random.key(0)


def recipe_of(**fields):
    """Returns softmax regression with more fields, each a function of hp."""

    def recipe(hp):
        made = {name: field(hp) for name, field in fields.items()}
        optimizer = made.pop("optimizer", None) or optax.sgd(hp.lr)
        return jt.Recipe(jt.models.MLP((), hp.run.outputs), optimizer=optimizer, batch_size=16, **made)

    return recipe


def trained(recipe, steps=6, eval_every=3, **hp):
    return jt.train(recipe, KEY, {"lr": 0.5, **hp}, DATA, steps=steps, eval_every=eval_every)


@ft.cache
def iterates(steps):
    """Returns the parameters after each update."""
    return [trained(recipe_of(), n, n)[0].params for n in range(1, steps + 1)]


def loss_of(params, split):
    """Returns the loss of softmax regression on a split, in NumPy."""
    (layer,) = params.values()
    x = np.asarray(split.x, np.float64).reshape(len(split.y), -1)
    logits = x @ np.asarray(layer["kernel"], np.float64) + np.asarray(layer["bias"], np.float64)
    top = logits.max(1, keepdims=True)
    return float((np.log(np.exp(logits - top).sum(1)) + top[:, 0] - logits[np.arange(len(x)), split.y]).mean())


def mean_of(trees, weights):
    total = sum(weights)
    return jax.tree.map(
        lambda *a: sum(w * np.asarray(x, np.float64) for w, x in zip(weights, a, strict=True)) / total, *trees
    )


@pytest.mark.slow
def test_averaged_parameters_are_evaluated_and_kept():
    steps = 6
    weights = [0.2 * 0.8 ** (steps - 1 - k) for k in range(steps)]
    expected = mean_of(iterates(steps), weights)
    experiment = jt.Experiment(
        recipe_of(weight_average=lambda hp: jt.optim.ema(hp.decay)),
        jt.grid(lr=[0.5], decay=[0.0, 0.8]),
        DATA,
        steps=steps,
        seeds=1,
        eval_every=3,
    )
    result = jt.run(experiment)
    kept = result.variables(lr=0.5, decay=0.8, seed=0).params
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), kept, expected)
    measured = result.dataset.sel(lr=0.5, decay=0.8, seed=0)
    np.testing.assert_allclose(measured["valid_loss"][-1], loss_of(expected, DATA.valid), rtol=1e-5)
    np.testing.assert_allclose(measured["test_loss"], loss_of(expected, DATA.test), rtol=1e-5)
    last = iterates(steps)[-1]
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6),
        result.variables(lr=0.5, decay=0.0, seed=0).params,
        last,
    )


def test_several_averages_in_one_run():
    averages = {"fast": jt.optim.ema(0.5), "mean": jt.optim.swa(2)}
    result = jt.run(
        jt.Experiment(
            recipe_of(weight_average=lambda hp: averages), jt.grid(lr=[0.5]), DATA, steps=6, seeds=1, eval_every=3
        )
    )
    measured, w = result.dataset.sel(lr=0.5, seed=0), iterates(6)
    np.testing.assert_allclose(measured["valid_loss"][-1], loss_of(w[-1], DATA.valid), rtol=1e-5)
    fast = mean_of(w, [0.5 * 0.5 ** (5 - k) for k in range(6)])
    np.testing.assert_allclose(measured["valid_loss_fast"][-1], loss_of(fast, DATA.valid), rtol=1e-5)
    np.testing.assert_allclose(measured["test_loss_mean"], loss_of(mean_of(w[2:], [1] * 4), DATA.test), rtol=1e-5)
    assert len(result.summary("valid_loss_fast")) == 1


def test_names_of_metrics_do_not_collide():
    for name, more in (("clipped", {}), ("loss_slow", {"weight_average": {"slow": jt.optim.ema(0.9)}})):
        with pytest.raises(ValueError, match=f"`metrics` is '{name}'"):
            made = {"optimizer": optax.sgd(0.1), "batch_size": 16, "metrics": {name: lambda o, y: o[:, 0]}}
            jt.Recipe(jt.models.MLP((), 10), **made, **more)


def test_early_stopping_keeps_the_average():
    fields = {"weight_average": lambda hp: jt.optim.swa(0), "early_stopping": lambda hp: jt.EarlyStopping(50.0)}
    experiment = jt.Experiment(recipe_of(**fields), jt.grid(lr=[0.5]), DATA, steps=6, seeds=1, eval_every=3)
    result = jt.run(experiment)
    kept = result.variables(lr=0.5, seed=0).params
    expected = mean_of(iterates(6), [1] * 6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), kept, expected)


def test_sharpness_aware_training_takes_the_perturbed_gradient():
    sharp, _ = trained(recipe_of(gradient=lambda hp: jt.optim.sam(hp.rho)), 1, 1, rho=0.3)
    plain, _ = trained(recipe_of(), 1, 1)
    zero, _ = trained(recipe_of(gradient=lambda hp: jt.optim.sam(hp.rho)), 1, 1, rho=0.0)
    start = trained(recipe_of(), 1, 1, lr=0.0)[0].params
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), zero.params, plain.params)
    differences = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), sharp.params, plain.params)
    assert max(jax.tree.leaves(differences)) > 1e-3
    g = jax.tree.map(lambda w0, w1: (w0 - w1) / 0.5, start, plain.params)
    norm = np.sqrt(sum(np.square(np.asarray(x, np.float64)).sum() for x in jax.tree.leaves(g)))
    moved = jax.tree.map(lambda w, x: w + 0.3 * x / norm, start, g)
    again = recipe_of(gradient=lambda hp: lambda fn, params: optim_at(fn, params, moved))
    expected, _ = trained(again, 1, 1)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), sharp.params, expected.params)


def optim_at(fn, params, elsewhere):
    """Returns the value at some parameters with the gradient at others."""
    return fn(params), jax.grad(fn, has_aux=True)(elsewhere)[0]


def test_the_clipped_share_is_a_metric():
    def clip(hp):
        return optax.chain(jt.optim.clip_by_global_norm(hp.clip), optax.sgd(hp.lr))

    space = jt.grid(lr=[0.1], clip=[1e-3, OFF])
    result = jt.run(jt.Experiment(recipe_of(optimizer=clip), space, DATA, steps=4, seeds=2, eval_every=2))
    clipped = result.dataset["train_clipped"]
    np.testing.assert_array_equal(clipped.sel(clip=1e-3), np.ones_like(clipped.sel(clip=1e-3)))
    np.testing.assert_array_equal(clipped.sel(clip=OFF), np.zeros_like(clipped.sel(clip=OFF)))
    plain = jt.run(jt.Experiment(recipe_of(), jt.grid(lr=[0.1]), DATA, steps=4, seeds=2, eval_every=2))
    np.testing.assert_allclose(result.dataset["valid_loss"].sel(clip=OFF), plain.dataset["valid_loss"], rtol=1e-6)


def test_gradient_noise_gets_its_key_from_the_seed():
    def noisy(hp):
        return optax.chain(jt.optim.gradient_noise(hp.noise), optax.sgd(hp.lr))

    a, b = (trained(recipe_of(optimizer=noisy), noise=0.1)[0].params for _ in range(2))
    assert_same_bits(a, b)
    silent = trained(recipe_of(optimizer=noisy), noise=0.0)[0].params
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6), silent, trained(recipe_of())[0].params)
    assert any((x != y).any() for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(silent), strict=True))


@pytest.mark.slow
def test_kinds_of_optimizers_are_one_program():
    kinds = {
        "gd": jt.optim.gd_kind(),
        "momentum": jt.optim.momentum_kind(),
        "rmsprop": jt.optim.rmsprop_kind(),
        "adam": jt.optim.adam_kind(),
    }
    family = recipe_of(optimizer=lambda hp: jt.optim.from_kind(hp.optimizer, hp.lr))
    experiment = jt.Experiment(family, jt.grid(optimizer=kinds, lr=[0.01]), DATA, steps=4, seeds=1, eval_every=2)
    assert len(jt.plan(experiment).programs) == 1
    result = jt.run(experiment)
    theirs = {
        "gd": optax.sgd,
        "momentum": lambda lr: optax.sgd(lr, momentum=0.9),
        "rmsprop": optax.rmsprop,
        "adam": optax.adam,
    }
    for name, make in theirs.items():
        state, history = trained(recipe_of(optimizer=lambda hp: make(hp.lr)), 4, 2, lr=0.01)  # noqa: B023 (called at once)
        ours = result.dataset.sel(optimizer=name, lr=0.01, seed=0)
        np.testing.assert_allclose(ours["valid_loss"], history.metrics["valid_loss"], rtol=1e-5)


@pytest.mark.parametrize(
    "field, value, message",
    [
        ("weight_average", 0.9, "it is no average"),
        ("weight_average", {"a b": jt.optim.ema(0.9)}, "identifiers"),
        ("plateau", 0.1, "jt.ReduceOnPlateau"),
        ("gradient", 0.1, "it is no function"),
    ],
)
def test_what_a_field_cannot_hold_is_refused(field, value, message):
    with pytest.raises((TypeError, ValueError), match=message):
        jt.Recipe(jt.models.MLP((), 10), optimizer=optax.sgd(0.1), batch_size=16, **{field: value})
