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
from jaxtune.data import balanced, bootstrap, corrupt_labels, first, fold
from jaxtune.data.batches._permutation import permuted
from jaxtune.data.batches._table import make_table, take_drawn, take_padded

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


@pytest.mark.slow
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
        for result in (together, alone):  # what is loaded or predicted with has the size, too
            assert result.predict(DATA.test.x, batch_size=size, seed=0).shape == (len(DATA.test), 10)
        for seed in (0, 1):
            jax.tree.map(
                lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-5),
                together.variables(batch_size=size, seed=seed),
                alone.variables(batch_size=size, seed=seed),
            )


def test_the_largest_batch_need_not_be_at_the_end_of_an_axis():
    def recipe(hp):
        return jt.Recipe(jt.models.MLP((), 10), optimizer=optax.sgd(0.3), batch_size=hp.a * hp.b)

    traced = jt.traced
    space = jt.arms(
        {"a": traced(1), "b": traced(30)},
        other={"a": traced(30), "b": traced(1)},
        largest={"a": traced(6), "b": traced(6)},
    )
    together = run(recipe, space)
    alone = run(recipe, jt.grid(a=traced([6]), b=traced([6])))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        together.variables(arm="largest", seed=0).params,
        alone.variables(a=6, b=6, seed=0).params,
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


GROUPS = np.array([*"aaaaaaaaaabbbbbbcccccddddeee", *range(9)])


@pytest.mark.parametrize("traced", [False, True])
def test_no_group_is_in_two_folds(traced):
    def parts(i):
        chosen = fold(i, of=3, groups=GROUPS)
        return chosen.train(KEY, Y), chosen.valid(KEY, Y)

    seen = []
    for i in range(3):
        train, valid = jax.jit(parts)(jnp.int32(i)) if traced else parts(i)
        assert isinstance(train.size, int) is not traced
        assert not set(GROUPS[rows(train)]) & set(GROUPS[rows(valid)])
        assert sorted(rows(train) + rows(valid)) == list(range(37))
        assert 12 <= valid.size <= 13  # as even as groups of at most ten allow
        seen += rows(valid)
    assert sorted(seen) == list(range(37))


def test_folds_of_groups_are_lanes():
    groups = np.arange(60) // 7
    data = jt.data.Splits(jt.data.Arrays(DATA.train.x, DATA.train.y, groups=groups), DATA.valid, DATA.test)
    recipe = linear(lambda hp: fold(hp.fold, of=4, groups=data.train.groups))
    result = run(recipe, jt.grid(fold=jt.traced(range(4))), data=data)
    for i in range(4):
        held = rows(fold(i, of=4, groups=groups).valid(KEY, jnp.asarray(data.train.y)))
        params = result.variables(fold=i, seed=0).params
        measured = float(result.dataset["valid_loss"].sel(fold=i, seed=0)[-1])
        np.testing.assert_allclose(measured, loss_of(params, data.train.x[held], data.train.y[held]), rtol=1e-5)


@pytest.mark.parametrize(
    ("groups", "message"),
    [(np.arange(37) % 2, "there are 2 groups"), (np.arange(30), "there are 37 training examples")],
)
def test_groups_that_cannot_be_dealt(groups, message):
    with pytest.raises(ValueError, match=message):
        fold(0, of=3, groups=groups).train(KEY, Y)


def classes_drawn(power, batch_size=12, padded=12, updates=300, y=Y, classes=4):
    """Returns how often each class (one has no example) is drawn per batch, and each example at all."""
    examples = jt.data.Arrays(np.arange(len(y)), np.asarray(y))
    table = jax.tree.map(jnp.asarray, make_table(jt.data.Splits(*[examples] * 3, classes=classes))[0])

    def draw(step, power, batch_size):
        span = balanced(classes, power).train(KEY, y)
        batch = take_drawn(table, KEY, step, span, batch_size, padded)
        weight = jnp.ones(padded) if batch.weight is None else batch.weight
        return batch.x, batch.y, weight

    traced = batch_size if batch_size == padded else jnp.int32(batch_size)
    x, labels, weight = jax.vmap(lambda t: draw(t, power, traced))(jnp.arange(updates))
    per_batch = jnp.stack([(weight * (labels == c)).sum(1) for c in range(classes)], 1)
    return np.asarray(per_batch), np.asarray(jnp.bincount(x.ravel(), weights=weight.ravel(), length=len(y))), weight


@pytest.mark.parametrize(
    ("power", "shares"), [(0.0, [1, 1, 1, 0]), (0.5, np.sqrt([20, 12, 5, 0])), (1.0, [20, 12, 5, 0])]
)
def test_classes_come_in_their_shares_in_every_batch(power, shares):
    per_batch, per_example, _ = classes_drawn(power)
    expected = 12 * np.asarray(shares) / np.sum(shares)
    assert (np.abs(per_batch - expected) < 1 + 1e-6).all()
    np.testing.assert_allclose(per_batch.mean(0), expected, atol=0.08)
    # Within a class all examples alike: chi-square with 19 degrees of freedom stays below 43.8 with probability .999.
    of_class = per_example[:20]
    assert ((of_class - of_class.mean()) ** 2 / of_class.mean()).sum() < 43.8


def test_smaller_batches_are_balanced_too():
    per_batch, _, weight = classes_drawn(0.0, batch_size=6)
    assert (np.asarray(weight).sum(1) == 6).all() and (per_batch[:, :3] == 2).all()


def test_balanced_sampling_is_an_axis_and_helps_rare_classes():
    rng = np.random.default_rng(0)
    y = (rng.uniform(size=400) < 0.05).astype(int)
    x = rng.normal(size=(400, 2)) + 1.5 * y[:, None]
    data = jt.data.from_arrays(x, y)
    recipe = linear(lambda hp: balanced(2, hp.power), batch_size=32)
    result = run(recipe, jt.grid(power=[0.0, 0.5, 1.0]), steps=200, data=data)
    found = {}
    for power in (0.0, 1.0):
        logits = np.asarray(result.predict(data.train.x, power=power, seed=0))
        found[power] = float((logits.argmax(1) == 1)[data.train.y == 1].mean())
    assert found[0.0] > found[1.0] + 0.2


def test_corrupted_labels_are_the_same_throughout_and_nested():
    y = jnp.asarray(np.random.default_rng(0).integers(0, 10, 4000))
    given = {rate: np.asarray(corrupt_labels(rate, 10).labels(KEY, y)) for rate in (0.0, 0.2, 0.5, 1.0)}
    wrong = {rate: labels != np.asarray(y) for rate, labels in given.items()}
    assert not wrong[0.0].any()
    for rate in (0.2, 0.5, 1.0):
        assert abs(wrong[rate].mean() - 0.9 * rate) < 4 * np.sqrt(0.25 / 4000)
    assert (wrong[0.5] & ~wrong[0.2]).any() and not (wrong[0.2] & ~wrong[0.5]).any()
    np.testing.assert_array_equal(given[0.2][wrong[0.2]], given[0.5][wrong[0.2]])
    again = corrupt_labels(0.2, 10).labels(KEY, y)
    np.testing.assert_array_equal(again, given[0.2])
    assert (np.asarray(corrupt_labels(0.2, 10).labels(jax.random.key(4), y)) != given[0.2]).any()
    np.testing.assert_allclose(np.bincount(given[1.0]) / 4000, 0.1, atol=0.025)


def test_a_trial_trains_on_its_labels_and_is_validated_on_true_ones():
    rates = [0.0, 0.5]
    within = lambda: fold(1, of=5)  # noqa: E731  # its training and validation examples are both of the training split
    result = run(linear(lambda hp: corrupt_labels(hp.rate, 10, within=within())), jt.grid(rate=rates), steps=30)
    y = jnp.asarray(DATA.train.y)
    for rate in rates:
        seen = np.asarray(corrupt_labels(rate, 10).labels(jax.random.key(0), y))
        params = result.variables(rate=rate, seed=0).params
        for split, labels in (("train", seen), ("valid", DATA.train.y)):
            place = rows(getattr(within(), split)(KEY, y))
            measured = float(result.dataset[f"{split}_loss"].sel(rate=rate, seed=0)[-1])
            np.testing.assert_allclose(measured, loss_of(params, DATA.train.x[place], labels[place]), rtol=1e-5)
    losses = result.dataset["train_loss"].sel(seed=0)[:, -1]
    assert losses.sel(rate=0.5) > losses.sel(rate=0.0) + 0.3


@pytest.mark.parametrize("subset", [balanced(3), corrupt_labels(0.1, 3)])
def test_targets_have_no_classes(subset):
    y = jnp.ones(5)
    with pytest.raises(ValueError, match="there are no classes"):
        subset.train(KEY, y) if subset.labels is None else subset.labels(KEY, y)


@pytest.mark.parametrize(
    "make", [lambda w: first(10, within=w), lambda w: bootstrap(0, within=w), lambda w: balanced(3, within=w)]
)
def test_balancing_comes_last(make):
    with pytest.raises(ValueError, match="`within` is 'a balanced subset'.*Balance last"):
        make(balanced(3)).train(KEY, Y)


def test_what_is_balanced_are_the_labels_that_a_trial_sees():
    subset = balanced(3, within=corrupt_labels(1.0, 3))
    span, seen = subset.train(KEY, Y), np.asarray(subset.labels(KEY, Y))
    places = np.asarray(jax.vmap(lambda t: span.rows[span.draw(jax.random.fold_in(KEY, t), 12, 12)])(jnp.arange(200)))
    shares = np.stack([np.bincount(seen[row], minlength=3) for row in places])
    assert (np.abs(shares - 4) <= 1).all()


@pytest.mark.parametrize("subset", [balanced(3), corrupt_labels(0.1, 20)])
def test_classes_have_to_be_those_of_the_data(subset):
    with pytest.raises(ValueError, match="`classes` is (3|20): the data has 10 classes. Pass hp.run.outputs"):
        run(linear(lambda hp: subset), jt.grid(x=jt.static([0])))


def test_groups_that_the_data_does_not_have_are_refused():
    with pytest.raises(ValueError, match="`groups`"):
        fold(0, of=2, groups=DATA.train.groups)
    with pytest.raises(ValueError, match="`groups`"):
        fold(0, of=2, groups=np.array([0.0, np.nan, 1.0]))
