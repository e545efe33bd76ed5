"""Folds, resamples, training-set sizes and batch sizes, as lanes of one program."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from asserts import assert_same_bits
from problems import digits

import jaxtune as jt
from jaxtune._keys import key_for
from jaxtune.data import bootstrap, first, fold
from jaxtune.data._batches import make_table, take_padded
from jaxtune.data._permutation import permuted

KEY = jax.random.key(3)
Y = jnp.array([0] * 20 + [1] * 12 + [2] * 5)
DATA = digits(train=60)


def rows(span):
    return np.asarray(span.rows[: span.size]).tolist()


def test_folds_are_disjoint_stratified_and_held_out_once():
    folds = [fold(i, of=5) for i in range(5)]
    held = [rows(f.valid(KEY, Y)) for f in folds]
    assert all(len(part) == 7 for part in held) and len(set(sum(held, []))) == 35
    for f, part in zip(folds, held, strict=True):
        assert sorted(rows(f.train(KEY, Y)) + part) == sorted(sum(held, []))
        assert sum(Y[i] == 0 for i in part) == 4 and 2 <= sum(Y[i] == 1 for i in part) <= 3
    traced = jax.jit(lambda i: fold(i, of=5).valid(KEY, Y).rows)(jnp.int32(2))
    assert traced.tolist() == held[2]


def test_parts_are_nested_and_differ_by_seed():
    small, large = rows(first(10).train(KEY, Y)), rows(first(20).train(KEY, Y))
    assert small == large[:10] and len(set(large)) == 20
    assert rows(first(10).train(jax.random.key(4), Y)) != small
    inner = first(9, within=fold(0, of=5))
    assert set(rows(inner.train(KEY, Y))) <= set(rows(fold(0, of=5).train(KEY, Y)))
    assert rows(inner.valid(KEY, Y)) == rows(fold(0, of=5).valid(KEY, Y))


def test_resamples_are_drawn_with_replacement():
    a, b = rows(bootstrap(0).train(KEY, Y)), rows(bootstrap(1).train(KEY, Y))
    assert len(a) == 37 and 15 < len(set(a)) < 32 and a != b
    assert rows(bootstrap(0).train(jax.random.key(9), Y)) == a
    assert set(rows(bootstrap(0, within=fold(1, of=5)).train(KEY, Y))) <= set(rows(fold(1, of=5).train(KEY, Y)))


def linear(subset, batch_size=12, normalize=None, **fields):
    def recipe(hp):
        made = {name: field(hp) for name, field in fields.items()}
        size = hp.batch_size if batch_size is None else batch_size
        model = jt.models.MLP((), hp.run.outputs)
        return jt.Recipe(
            model, optimizer=optax.sgd(0.3), batch_size=size, subset=subset(hp), normalize=normalize, **made
        )

    return recipe


def run(recipe, space, steps=10, seeds=1, data=DATA):
    return jt.run(jt.Experiment(recipe, space, data, steps=steps, seeds=seeds, eval_every=steps))


def loss_of(params, x, y):
    (layer,) = params.values()
    logits = np.asarray(x, np.float64).reshape(len(y), -1) @ layer["kernel"] + layer["bias"]
    logits = logits - logits.max(1, keepdims=True)
    return float((np.log(np.exp(logits).sum(1)) - logits[np.arange(len(y)), y]).mean())


def test_a_fold_is_trained_on_the_others_and_validated_on_itself():
    result = run(linear(lambda hp: fold(hp.fold, of=5)), jt.grid(fold=jt.traced(range(5))))
    train, y = DATA.train, jnp.asarray(DATA.train.y)
    for i in range(5):
        f, params = fold(i, of=5), result.variables(fold=i, seed=0).params
        for split, span in (("train", f.train(KEY, y)), ("valid", f.valid(KEY, y))):
            expected = loss_of(params, train.x[rows(span)], train.y[rows(span)])
            measured = float(result.dataset[f"{split}_loss"].sel(fold=i, seed=0)[-1])
            np.testing.assert_allclose(measured, expected, rtol=1e-5)
        if i != 1:
            continue
        # The same as to train on these examples and no others, but for their order.
        alone = jt.data.Splits(train.take(np.sort(rows(f.train(KEY, y)))), DATA.valid, DATA.test, 10)
        full = linear(lambda hp: None, batch_size=48)
        by_fold = run(linear(lambda hp: fold(hp.fold, of=5), 48), jt.grid(fold=jt.traced([i])))
        by_hand = jt.train(full, jax.random.key(0), {}, alone, steps=10, eval_every=10)[0].params
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
            by_fold.variables(fold=i, seed=0).params,
            by_hand,
        )


def test_normalization_is_fitted_to_what_is_trained_on():
    result = run(
        linear(lambda hp: fold(hp.fold, of=5), normalize=jt.data.standardize()), jt.grid(fold=jt.traced(range(5)))
    )
    for i in (0, 3):
        used = DATA.train.x[rows(fold(i, of=5).train(KEY, jnp.asarray(DATA.train.y)))]
        mean, _ = result.variables(fold=i, seed=0).model_state["inputs"]
        np.testing.assert_allclose(mean[0], used.mean(0), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="jt.static"):
        run(linear(lambda hp: first(hp.size), normalize=jt.data.standardize()), jt.grid(size=jt.traced([10, 20])))


def test_sizes_are_lanes_and_all_of_it_is_all_of_it():
    sizes = [8, 30, 60]
    result = run(linear(lambda hp: first(hp.size)), jt.grid(size=jt.traced(sizes)), seeds=2)
    y = jnp.asarray(DATA.train.y)
    for size in sizes:
        for seed in (0, 1):
            used = rows(first(size).train(jax.random.key(seed), y))
            params = result.variables(size=size, seed=seed).params
            expected = loss_of(params, DATA.train.x[used], DATA.train.y[used])
            measured = float(result.dataset["train_loss"].sel(size=size, seed=seed)[-1])
            np.testing.assert_allclose(measured, expected, rtol=1e-5)


def test_batch_sizes_are_lanes_that_equal_programs_of_their_own():
    sizes = [4, 8, 16]  # with batch norm, whose moments are those of each small batch

    def recipe(hp):
        model = jt.models.MLP((8,), hp.run.outputs, batch_norm=True)
        return jt.Recipe(model, optimizer=optax.sgd(0.1, momentum=0.9), batch_size=hp.batch_size)

    experiment = jt.Experiment(recipe, jt.grid(batch_size=jt.traced(sizes)), DATA, steps=20, seeds=2, eval_every=10)
    assert len(jt.plan(experiment).programs) == 1
    together = jt.run(experiment)
    for size in sizes:
        alone = run(recipe, jt.grid(batch_size=jt.traced([size])), steps=20, seeds=2)
        for seed in (0, 1):
            jax.tree.map(
                lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-5),
                together.variables(batch_size=size, seed=seed),
                alone.variables(batch_size=size, seed=seed),
            )


def test_a_padded_batch_is_the_small_batch():
    table, spans = make_table(DATA)
    table = jax.tree.map(jnp.asarray, table)
    for size in (7, 16, 60):
        seen, per_epoch = [], -(-60 // size)
        for step in range(2 * per_epoch):
            batch = take_padded(table, KEY, jnp.int32(step), spans["train"], jnp.int32(size), 64)
            order = permuted(key_for(KEY, "batches", step // per_epoch), 60, jnp.arange(60))
            used = np.asarray(order)[step % per_epoch * size :][:size]
            counts = np.asarray(batch.weight) > 0
            assert counts.sum() == len(used)
            np.testing.assert_array_equal(
                np.asarray(batch.y)[counts], DATA.train.y[np.sort(used)][np.argsort(np.argsort(used))]
            )
            seen.append(used)
        epochs = np.concatenate(seen).reshape(2, 60)
        assert (np.sort(epochs, 1) == np.arange(60)).all() and (epochs[0] != epochs[1]).any()


def test_folds_penalties_sizes_and_seeds_are_one_program():
    def recipe(hp):
        made = linear(lambda hp: first(hp.size, within=fold(hp.fold, of=5)))(hp)
        return jt.Recipe(
            made.model, optimizer=optax.sgd(0.1), batch_size=12, subset=made.subset, penalty=jt.penalties.l2(hp.l2)
        )

    space = jt.grid(fold=jt.traced(range(5)), l2=[0.0, 0.01, 0.1], size=jt.traced([20, 48]))
    experiment = jt.Experiment(recipe, space, DATA, steps=6, seeds=4, eval_every=3)
    plan = jt.plan(experiment)
    assert len(plan.programs) == 1 and plan.arms * plan.seeds == 120
    result = jt.run(experiment)
    assert np.isfinite(result.dataset["valid_loss"]).all()
    assert_same_bits(
        result.variables(fold=3, l2=0.01, size=20, seed=2).params,
        jt.run(experiment).variables(fold=3, l2=0.01, size=20, seed=2).params,
    )


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: fold(5, of=5), "`which` is 5"),
        (lambda: fold(0, of=1), "`of` is 1"),
        (lambda: first(0), "`size` is 0"),
        (lambda: first(38).train(KEY, Y), "there are 37 training examples"),
        (lambda: fold(0, of=40).train(KEY, Y), "`of` is 40"),
    ],
)
def test_bad_use_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_batches_larger_than_the_subset_are_refused():
    with pytest.raises(ValueError, match="the subset has 48 training examples"):
        run(linear(lambda hp: fold(hp.fold, of=5), 50), jt.grid(fold=jt.traced(range(5))))
    with pytest.raises(ValueError, match="different numbers of steps"):
        recipe = linear(lambda hp: None, None)
        jt.plan(jt.Experiment(recipe, jt.grid(batch_size=jt.traced([4, 8])), DATA, epochs=2))
