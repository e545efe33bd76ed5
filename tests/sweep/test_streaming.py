"""Streamed training examples: the same batches for all trials, read and sent in pieces, from any source."""

import dataclasses
import sys

import jax
import numpy as np
import optax
import pytest
from asserts import assert_same_bits
from problems import OFF, batch_norm, digits, linear

import jaxtune as jt
from jaxtune.data.batches import _feed
from jaxtune.sweep.lanes import _execute

DATA = digits()


class Pairs:
    """A source with random access, which counts what is read, and has some examples replaced."""

    def __init__(self, arrays, bad=()):
        self.arrays, self.bad, self.read = arrays, dict(bad), []

    def __len__(self):
        return len(self.arrays)

    def __getitem__(self, i):
        self.read.append(i)
        return self.bad.get(i, (self.arrays.x[i], self.arrays.y[i]))


def streamed(source=DATA.train, data=DATA, **options):
    return dataclasses.replace(data, train=jt.data.Stream(source, **options))


def experiment(recipe=linear, data=None, steps=10, seeds=2, eval_every=4, **axes):
    space = jt.grid(**(axes or {"lr": [0.1, 0.5]}))
    return jt.Experiment(recipe, space, data or streamed(), steps=steps, seeds=seeds, eval_every=eval_every)


@pytest.mark.parametrize("piece", [2**23, 8000], ids=["whole segments", "pieces of one or two updates"])
def test_streamed_batches_train_as_numpy_does(piece, monkeypatch):
    monkeypatch.setattr(_feed, "_PIECE", piece)
    data = streamed()
    feed = _feed.feed_of(data.train, 16, 10)
    assert feed.most == piece // (16 * (64 + 1) * 4)
    result = jt.run(experiment(data=data))
    start = jt.run(experiment(data=DATA, steps=1, eval_every=1, lr=[0.0]))
    for lr in (0.1, 0.5):
        for seed in (0, 1):
            params = start.variables(lr=0.0, seed=seed).params["Dense_0"]
            w, b = np.float64(params["kernel"]), np.float64(params["bias"])
            for t in range(10):
                batch = feed.segment(t, 1)
                x, y = np.float64(batch.x[0].reshape(16, -1)), np.eye(10)[batch.y[0]]
                scores = np.exp(x @ w + b)
                error = (scores / scores.sum(1, keepdims=True) - y) / 16
                w, b = w - lr * x.T @ error, b - lr * error.sum(0)
            got = result.variables(lr=lr, seed=seed).params["Dense_0"]
            np.testing.assert_allclose(got["kernel"], w, atol=2e-6)
            np.testing.assert_allclose(got["bias"], b, atol=2e-6)


@pytest.mark.slow
def test_pieces_devices_and_memory_change_no_bit(monkeypatch):
    made = experiment(batch_norm, seeds=5, lr=[0.1, 1e30], dropout=[0.0, 0.5])
    whole = jt.run(made)
    assert (whole.dataset["status"].sel(lr=1e30) == "diverged").all()
    assert (whole.dataset["status"].sel(lr=0.1) == "finished").all()
    assert whole.dataset["valid_loss"].sel(lr=0.1).notnull().all() and whole.dataset.sizes["step"] == 3
    for piece, options in ((1, {}), (20_000, dict(devices=jax.devices()[:1])), (20_000, dict(memory=1_000_000))):
        monkeypatch.setattr(_feed, "_PIECE", piece)
        other = jt.run(made, **options)
        for name in ("valid_loss", "train_loss", "test_loss", "first_bad_step"):
            assert_same_bits(other.dataset[name].values, whole.dataset[name].values)
        point = dict(lr=0.1, dropout=0.5, seed=3)
        assert_same_bits(other.variables(**point), whole.variables(**point))


def test_a_call_is_dispatched_ahead_but_where_an_evaluation_ends_the_one_under_way(monkeypatch):
    monkeypatch.setattr(_feed, "_PIECE", 1)  # a call for each update
    happened, advance, fetch = [], _execute._RunningChunk.advance, _execute._RunningChunk.fetch

    def advanced(self, *args):
        happened.append(("advance", self.turn))
        advance(self, *args)

    def fetched(self):
        happened.append(("fetch", self.turn - self.n_pending))
        return fetch(self)

    monkeypatch.setattr(_execute._RunningChunk, "advance", advanced)
    monkeypatch.setattr(_execute._RunningChunk, "fetch", fetched)
    jt.run(experiment(seeds=1, lr=[0.1]))
    for turn in range(9):  # evaluations come after updates 4, 8 and 10
        ahead = happened.index(("advance", turn + 1)) < happened.index(("fetch", turn))
        assert ahead == (turn + 1 not in (4, 8))
    assert len(happened) == 20


def test_any_source_gives_the_same():
    grain = pytest.importorskip("grain")
    x, y = DATA.train.x, DATA.train.y
    dataset = grain.MapDataset.source(range(len(y))).map(lambda i: (x[i], int(y[i])))
    results = [jt.run(experiment(data=streamed(s))) for s in (DATA.train, Pairs(DATA.train), dataset)]
    for other in results[1:]:
        assert_same_bits(other.variables(lr=0.1, seed=0), results[0].variables(lr=0.1, seed=0))


def test_training_metrics_are_those_of_the_sample():
    data = streamed(sample_size=20)
    result = jt.run(experiment(data=data, lr=[0.1]))
    outputs = result.predict(data.train.sample.x, lr=0.1, seed=0)
    expected = optax.softmax_cross_entropy_with_integer_labels(outputs, data.train.sample.y).mean()
    np.testing.assert_allclose(result.dataset["train_loss"].sel(lr=0.1, seed=0)[-1], expected, rtol=1e-6)


def test_stopping_goes_by_evaluations(monkeypatch):
    def recipe(hp):
        made = linear(hp)
        return dataclasses.replace(made, early_stopping=jt.EarlyStopping(hp.patience, min_delta=1e6))

    monkeypatch.setattr(_feed, "_PIECE", 8000)
    result = jt.run(experiment(recipe, steps=16, lr=[0.1], patience=[1.0, OFF]))
    losses = result.dataset["valid_loss"].isel(lr=0)
    assert losses.sel(patience=1.0).notnull().sum("step").values.tolist() == [2, 2]
    assert losses.sel(patience=OFF).notnull().all()


def test_what_does_not_fit_is_streamed_and_that_is_said(tmp_path):
    copies = [np.tile(a, (100, *[1] * (a.ndim - 1))) for a in (DATA.train.x, DATA.train.y)]
    made = experiment(data=dataclasses.replace(DATA, train=jt.data.Arrays(*copies)))
    size = 4 * 65 * (6400 + 96)
    with pytest.warns(UserWarning, match="training examples are streamed.*of a sample of 5000: 1.69 MB of data"):
        plan = jt.plan(made, memory=4 * size - 1)
    assert plan.streamed_examples == 6400 and "6400 training examples are streamed" in str(plan)
    assert plan.data_bytes == 4 * 65 * (5000 + 96) and plan.bytes < 4 * size
    assert jt.plan(made, memory=4 * size).streamed_examples == 0
    with pytest.warns(UserWarning, match="streamed"):
        first = jt.run(made, memory=4 * size - 1, out=tmp_path / "run")
    with pytest.warns(UserWarning, match="streamed.* as they were in the run"):  # whatever memory there is now
        again = jt.run(made, out=tmp_path / "run")
    assert_same_bits(first.variables(lr=0.1, seed=0), again.variables(lr=0.1, seed=0))
    loaded = jt.load(tmp_path / "run", made)
    assert_same_bits(first.predict(DATA.test.x, lr=0.1, seed=0), loaded.predict(DATA.test.x, lr=0.1, seed=0))
    for result in (first, loaded):
        assert "not the order of batches, which was streamed" in result.summary("valid_loss").attrs["note"]
    explicit = experiment(data=streamed(made.data.train, seed=7))
    with pytest.raises(ValueError, match="they differ in `data`, `streamed`|they differ in .*`streamed`"):
        jt.run(explicit, out=tmp_path / "run")


def test_what_needs_the_examples_of_each_trial_is_refused():
    def with_fold(hp):
        return dataclasses.replace(linear(hp), subset=jt.data.first(hp.size))

    def sized(hp):
        return dataclasses.replace(linear(hp), batch_size=hp.batch_size)

    with pytest.raises(ValueError, match="`subset` .* all trials see the same batches"):
        jt.plan(experiment(with_fold, lr=[0.1], size=[40.0]))
    with pytest.raises(ValueError, match=r"`batch_size` is \[8, 16\].* all trials see the same batches"):
        jt.plan(experiment(sized, lr=[0.1], batch_size=jt.traced([8, 16])))
    with pytest.raises(ValueError, match=r"`batch_size` is \[16\].* all trials see the same batches"):
        jt.plan(experiment(sized, lr=[0.1], batch_size=jt.traced([16])))
    with pytest.raises(ValueError, match="`chunk` is 'measure': training examples are streamed"):
        jt.plan(experiment(), chunk="measure")
    with pytest.raises(ValueError, match="`data` is 'a jt.data.Stream'"):
        jt.train(linear, jax.random.key(0), {"lr": 0.1}, streamed(), steps=2)
    one_each = jt.plan(experiment(sized, lr=[0.1], batch_size=jt.static([8, 16])))
    assert len(one_each.programs) == 2


BAD = {
    "not finite": ((np.full((8, 8, 1), np.nan, np.float32), 3), "64 values are NaN or infinite"),
    "label": ((DATA.train.x[0], 10), "1 labels lie outside the classes 0 to 9"),
    "shape": ((DATA.train.x[0, :4], 3), r"its shapes differ from those of example"),
}


@pytest.mark.parametrize("kind", BAD)
def test_an_example_that_cannot_be_used_ends_the_run_by_name(kind):
    bad, message = BAD[kind]
    source = Pairs(DATA.train)
    data = streamed(source, sample_size=4)
    place = next(i for i in range(64) if i not in source.read)
    source.bad[place] = bad
    name = "" if kind == "shape" else f"example {place} cannot be used.*"
    with pytest.raises(ValueError, match=f"`source`.*{name}{message}"):
        jt.run(experiment(data=data))


def test_a_source_that_fails_ends_the_run_which_can_go_on(tmp_path):
    source = Pairs(DATA.train)
    data, getitem = streamed(source, sample_size=4), Pairs.__getitem__

    class Failing(Pairs):
        def __getitem__(self, i):
            if len(self.read) > 100:
                raise OSError("the disk is gone")
            return getitem(self, i)

    source.__class__ = Failing
    with pytest.raises(ValueError, match="reading examples .* raised OSError: the disk is gone.*run again"):
        jt.run(experiment(data=data), out=tmp_path / "run", save_every=0.0)
    source.__class__ = Pairs
    again = jt.run(experiment(data=data), out=tmp_path / "run")
    assert (again.dataset["status"] == "finished").all()
    assert_same_bits(again.variables(lr=0.1, seed=0), jt.run(experiment()).variables(lr=0.1, seed=0))


def test_weights_are_streamed_be_they_0():
    weight = (np.arange(64) % 4 == 0).astype(np.float32)
    train = jt.data.Arrays(DATA.train.x, DATA.train.y, weight)
    parts = [jt.data.Arrays(p.x, p.y, np.ones(len(p))) for p in (DATA.valid, DATA.test)]
    data = jt.data.Splits(jt.data.Stream(train), *parts)

    def recipe(hp):
        return jt.Recipe(jt.models.MLP((), 10), optimizer=optax.sgd(hp.lr), batch_size=1)

    result = jt.run(experiment(recipe, data=data, steps=1280, eval_every=640, lr=[0.3]))
    reached = [i for i in range(64) if weight[i]]
    outputs = result.predict(DATA.train.x[reached], lr=0.3, seed=0)
    assert (np.asarray(outputs).argmax(1) == DATA.train.y[reached]).mean() > 0.8


def test_without_grain_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "grain", None)
    with pytest.raises(ValueError, match=r"pip install 'jaxtune\[stream\]'"):
        jt.plan(experiment())
