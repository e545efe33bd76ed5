"""A table of bad input to everything that is public: each is refused in one form, before anything compiles.

The form is "`name` is VALUE: reason. Cure." As a script this prints each case with its message:

PYTHONPATH=tests python tests/faults/test_bad_input_table.py
"""

import atexit
import collections
import contextlib
import io
import pathlib
import re
import shutil
import tempfile

import jax
import numpy as np
import optax
import pytest
from cubes import arms_cube, grid_cube
from problems import digits, linear

import jaxtune as jt
from jaxtune._errors import JaxtuneError

FORM = re.compile(r"`.+?` is .+?[:,] .+?\. .+[.?]", re.DOTALL)
NAN, INF = float("nan"), float("inf")
HUGE, UNPRINTABLE = 10**400, 10**5000  # over the largest float; over the longest int that Python writes
DATA = digits()
X, Y = np.arange(120, dtype=np.float32).reshape(40, 3), np.arange(40) % 4
IMAGES = np.ones((2, 8, 8, 3), np.float32)
KEPT = jt.results.KeptVariables(np.full((6, 4, 2), -1), [])
GRID = jt.Result(grid_cube().dataset, KEPT)
ARMS = jt.Result(arms_cube().dataset, KEPT)
Running = collections.namedtuple("Running", "mean var")
FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="jaxtune-bad-input-"))
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)


def flaw(error):
    """Returns what is wrong with how input was refused, or None."""
    if error is None:
        return "it was not refused"
    if not isinstance(error, JaxtuneError) or not isinstance(error, (ValueError, TypeError)):
        return f"{type(error).__name__} is none of jaxtune's errors: {error}"
    return None if FORM.fullmatch(str(error)) else f"not of the form `name` is VALUE: reason. Cure.: {error}"


def written(name, content):
    """Returns the path of a file with this content, text or bytes."""
    file = FOLDER / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def table(content="a,b,y\n1,2,0\n3,x,1\n", **options):
    return jt.data.from_csv(written("table.csv", content), **{"target": "y", **options})


def archive(**arrays):
    np.savez(FOLDER / "archive.npz", **arrays)
    return FOLDER / "archive.npz"


def experiment(space=None, data=DATA, recipe=linear, **fields):
    return jt.Experiment(recipe, space or jt.grid(lr=[0.1]), data, **{"steps": 4, "seeds": 2, **fields})


def recipe(**fields):
    given = {"model": jt.models.MLP((), 4), "optimizer": optax.sgd(0.1), "batch_size": 16, **fields}
    return jt.Recipe(given.pop("model"), **given)


def planned(**fields):
    return jt.plan(experiment(recipe=lambda hp: recipe(**{"model": jt.models.MLP((), 10), **fields}), space=jt.grid()))


def arrays(**changes):
    return jt.data.from_arrays(**{"x": X, "y": Y, **changes})


def key():
    return jax.random.key(0)


# What is called, how its message begins, what else is in it.
CASES = {
    # spaces
    "grid: a number": (lambda: jt.grid(lr=0.1), "`lr` is 0.1", "lr=[0.1]"),
    "grid: empty": (lambda: jt.grid(lr=()), "`lr` is ()", "empty"),
    "grid: text": (lambda: jt.grid(act="relu"), "`act` is 'relu'", "sequence"),
    "grid: bytes": (lambda: jt.grid(act=b"relu"), "`act` is b'relu'", "sequence"),
    "grid: nothing": (lambda: jt.grid(act=None), "`act` is None", "sequence"),
    "grid: one array of no dimension": (lambda: jt.grid(lr=np.array(0.1)), "`lr` is array(0.1)", "sequence"),
    "grid: NaN": (lambda: jt.grid(lr=[0.1, NAN]), "`lr` is nan", "NaN"),
    "grid: NaN in an array": (lambda: jt.grid(k={"a": np.array([NAN])}), "`k` is ", "NaN"),
    "grid: 1 and 1.0": (lambda: jt.grid(lr=[1, 1.0]), "`lr` is [1, 1.0]", "equal"),
    "grid: True and 1.0": (lambda: jt.grid(on=[True, 1.0]), "`on` is [True, 1.0]", "jt.static"),
    "grid: a value without a label": (lambda: jt.grid(k=[(1, 2)]), "`k` is (1, 2)", "label"),
    "grid: a label that is a number": (lambda: jt.grid(k={1: 0.1}), "`k` is 1", "labels are strings"),
    "grid: an int over all floats": (lambda: jt.grid(lr=[0.1, HUGE]), "`lr` is ", ""),
    "grid: keys that have no order": (lambda: jt.grid(k={"a": {1: 0.1, "b": 0.1}}), "`k` is {1: 0.1", ""),
    "grid: reserved": (lambda: jt.grid(seed=[0.1]), "`axis` is 'seed'", "reserved"),
    "grid: underscore": (lambda: jt.grid(_lr=[0.1]), "`axis` is '_lr'", "reserved"),
    "grid: no identifier": (lambda: jt.grid(**{"l 2": [0.1]}), "`axis` is 'l 2'", "identifier"),
    "grid: marked twice": (lambda: jt.grid(lr=jt.static(jt.traced([0.1]))), "`lr` is Marked(", "sequence"),
    "product: an axis twice": (lambda: jt.grid(lr=[0.1]) * jt.grid(lr=[0.2]), "`space` is 'lr'", "once"),
    "traced: texts": (lambda: jt.grid(k=jt.traced(["a", "b"])), "`k` is ['a', 'b']", "jt.static"),
    "traced: an int over 32 bits": (lambda: jt.grid(k=jt.traced([2**40, 1])), "`k` is ", ""),
    "static: a number": (lambda: jt.grid(k=jt.static(3)), "`k` is 3", "sequence"),
    "arms: no dict": (lambda: jt.arms([0.1]), "`default` is [0.1]", "dict"),
    "arms: changes are no dict": (lambda: jt.arms(dict(lr=0.1), 5), "`changes` is 5", ""),
    "arms: an arm is no dict": (lambda: jt.arms(dict(lr=0.1), a=0.2), "`a` is 0.2", "dict"),
    "arms: unknown": (lambda: jt.arms(dict(lr=0.1), a=dict(l2=1.0)), "`a` is 'l2'", "lr"),
    "arms: a key that is no text": (lambda: jt.arms({1: 0.1}, a=dict(l2=1.0)), "`axis` is 1", "identifier"),
    "arms: a name that is no text": (lambda: jt.arms(dict(lr=0.1), {3: dict(lr=0.2)}), "`arms` is 3", "strings"),
    "arms: equal": (lambda: jt.arms(dict(lr=0.1), a={}), "`arms` is ('default', 'a')", "equal"),
    "arms: two marks": (
        lambda: jt.arms(dict(k=jt.static(1)), a=dict(k=jt.traced(2))),
        "`k` is [Marked(values=1",
        "one way",
    ),
    "sample: none": (lambda: jt.sample(0, lr=jt.uniform(0, 1)), "`n` is 0", "at least 1"),
    "sample: half": (lambda: jt.sample(0.5, lr=jt.uniform(0, 1)), "`n` is 0.5", "whole"),
    "sample: too many": (lambda: jt.sample(2**40, lr=jt.uniform(0, 1)), "`n` is 1099511627776", ""),
    "sample: method": (lambda: jt.sample(2, method="halton", lr=jt.uniform(0, 1)), "`method` is 'halton'", "sobol"),
    "sample: seed": (lambda: jt.sample(2, seed=-1, lr=jt.uniform(0, 1)), "`seed` is -1", "at least 0"),
    "sample: a list": (lambda: jt.sample(2, lr=[0.1]), "`lr` is [0.1]", "jt.uniform"),
    "choice: empty": (lambda: jt.sample(2, lr=jt.choice([])), "`lr` is []", "empty"),
    "uniform: in disorder": (lambda: jt.uniform(1, 0), "`uniform` is (1, 0)", "order"),
    "uniform: infinite": (lambda: jt.uniform(0, INF), "`uniform` is inf", "finite"),
    "uniform: over all floats": (lambda: jt.uniform(0, HUGE), "`uniform` is 1000", ""),
    "uniform: arrays": (lambda: jt.uniform(np.zeros(2), np.ones(2)), "`uniform` is ", ""),
    "log_uniform: text": (lambda: jt.log_uniform("a", 1), "`log_uniform` is 'a'", "real number"),
    "log_uniform: zero": (lambda: jt.log_uniform(0, 1), "`log_uniform` is (0, 1)", "positive"),
    # experiments
    "Experiment: no recipe": (lambda: experiment(recipe=3), "`recipe` is 3", "function"),
    "Experiment: no space": (lambda: experiment(space={"lr": [0.1]}), "`space` is {'lr': [0.1]}", "jt.grid"),
    "Experiment: no data": (lambda: experiment(data=None), "`data` is 'NoneType'", "Splits"),
    "Experiment: steps": (lambda: experiment(steps=2.0), "`steps` is 2.0", "whole"),
    "Experiment: steps is a flag": (lambda: experiment(steps=True), "`steps` is True", "whole"),
    "Experiment: steps with no end of digits": (lambda: experiment(steps=-UNPRINTABLE), "`steps` is ", "at least 1"),
    "Experiment: steps and epochs": (lambda: experiment(epochs=1), "`steps` is 4", "either"),
    "Experiment: epochs": (lambda: experiment(steps=None, epochs=0), "`epochs` is 0", "at least 1"),
    "Experiment: eval_every": (lambda: experiment(eval_every=5), "`eval_every` is 5", "4 steps"),
    "Experiment: seeds is a text": (lambda: experiment(seeds="12"), "`seeds` is '12'", "whole"),
    "Experiment: no seeds": (lambda: experiment(seeds=[]), "`seeds` is []", "at least one"),
    "Experiment: too many seeds": (lambda: experiment(seeds=2**62), "`seeds` is 4611686018427387904", ""),
    "Experiment: a seed twice": (lambda: experiment(seeds=[1, 1]), "`seeds` is [1, 1]", "twice"),
    "Experiment: a seed over 31 bits": (lambda: experiment(seeds=[2**31]), "`seeds` is [2147483648]", "2^31"),
    "Experiment: seeds of no dimension": (lambda: experiment(seeds=np.array(3.5)), "`seeds` is array(3.5)", ""),
    # run, plan, load
    "run: keep": (lambda: jt.run(experiment(), keep="some"), "`keep` is 'some'", "'best'"),
    "run: no experiment": (lambda: jt.run(linear), "`experiment` is 'function'", "jt.Experiment"),
    "run: out is a file": (lambda: jt.run(experiment(), out=written("f", "")), f"`out` is '{FOLDER / 'f'}'", "folder"),
    "run: out is a number": (lambda: jt.run(experiment(), out=5), "`out` is 5", ""),
    "run: save_every": (lambda: jt.run(experiment(), save_every=-1), "`save_every` is -1", "at least 0"),
    "run: memory": (lambda: jt.run(experiment(), memory=1e9), "`memory` is 1000000000.0", "whole"),
    "run: no devices": (lambda: jt.run(experiment(), devices=[]), "`devices` is []", "jax.devices()"),
    "run: devices is a number": (lambda: jt.run(experiment(), devices=2), "`devices` is 2", ""),
    "run: devices are names": (lambda: jt.run(experiment(), devices=["cpu"]), "`devices` is ['cpu']", ""),
    "run: cluster": (lambda: jt.run(experiment(), out=FOLDER / "new", cluster=3), "`cluster` is 'int'", "jt.Ray"),
    "plan: chunk is a number": (lambda: jt.plan(experiment(), chunk=4), "`chunk` is 4", ""),
    "plan: chunk of one": (lambda: jt.plan(experiment(), chunk=(4,)), "`chunk` is (4,)", "arms x seeds"),
    "plan: convolution": (lambda: jt.plan(experiment(), convolution="fft"), "`convolution` is 'fft'", "'native'"),
    "plan: memory": (lambda: jt.plan(experiment(), memory=0), "`memory` is 0", "at least 1"),
    "plan: unknown hyperparameter": (lambda: jt.plan(experiment(jt.grid(l2=[0.1]))), "`lr` is no hyper", "l2"),
    "load: nowhere": (lambda: jt.load(FOLDER / "nowhere"), f"`path` is '{FOLDER / 'nowhere'}'", "no folder"),
    "load: no run": (lambda: jt.load(written("g", "").parent), f"`path` is '{FOLDER}'", "no run"),
    "load: a number": (lambda: jt.load(5), "`path` is 5", ""),
    "Ray: cores": (lambda: jt.Ray(cpus=0), "`cpus` is 0", "at least 1"),
    "Ray: retries": (lambda: jt.Ray(retries=-1), "`retries` is -1", "at least 0"),
    "train: steps": (lambda: jt.train(linear, None, {"lr": 0.1}, DATA, steps=0), "`steps` is 0", "at least 1"),
    "train: evaluations": (
        lambda: jt.train(linear, None, {"lr": 0.1}, DATA, steps=2, eval_every=3),
        "`eval_every` is 3",
        "2 steps",
    ),
    # recipes
    "Recipe: model": (lambda: recipe(model=3), "`model` is 3", "no model"),
    "Recipe: optimizer": (lambda: recipe(optimizer="adam"), "`optimizer` is 'adam'", "Optax"),
    "Recipe: batch size": (lambda: recipe(batch_size=0), "`batch_size` is 0", "at least 1"),
    "Recipe: batch size is a float": (lambda: recipe(batch_size=16.0), "`batch_size` is 16.0", "whole"),
    "Recipe: loss": (lambda: recipe(loss="hinge"), "`loss` is 'hinge'", "function"),
    "Recipe: penalty": (lambda: recipe(penalty=[0.1]), "`penalty` is 0.1", "jt.penalties"),
    "Recipe: penalties of one name": (
        lambda: recipe(penalty=(jt.penalties.l1(0.1), jt.penalties.l2(0.1, name="l1"))),
        "`penalty` is ['l1', 'l1']",
        "name=",
    ),
    "Recipe: normalize": (lambda: recipe(normalize="standard"), "`normalize` is 'standard'", "standardize"),
    "Recipe: subset": (lambda: recipe(subset=0.5), "`subset` is 0.5", "jt.data.fold"),
    "Recipe: augment": (lambda: recipe(augment=0.5), "`augment` is 0.5", "flip"),
    "Recipe: metrics without names": (lambda: recipe(metrics=[len]), "`metrics` is [<built-in", "dict"),
    "Recipe: a metric called loss": (lambda: recipe(metrics={"loss": len}), "`metrics` is 'loss'", "another name"),
    "Recipe: a metric called 1": (lambda: recipe(metrics={1: len}), "`metrics` is 1", ""),
    "Recipe: a metric that is a number": (lambda: recipe(metrics={"m": 5}), "`metrics` is 5", ""),
    "Recipe: early stopping": (lambda: recipe(early_stopping=5), "`early_stopping` is 5", "patience"),
    "Recipe: plateau": (lambda: recipe(plateau=0.5), "`plateau` is 0.5", "jt.ReduceOnPlateau"),
    "Recipe: gradient": (lambda: recipe(gradient=0.5), "`gradient` is 0.5", "sam"),
    "Recipe: average": (lambda: recipe(weight_average=0.9), "`weight_average` is 0.9", "ema"),
    "Recipe: an average's name": (
        lambda: recipe(weight_average={"a b": jt.optim.ema(0.9)}),
        "`weight_average` is 'a b'",
        "identifiers",
    ),
    "Recipe: returned by nothing": (lambda: jt.plan(experiment(recipe=lambda hp: None)), "`recipe` is 'NoneType'", ""),
    "Recipe: a batch over the split": (lambda: planned(batch_size=65), "`batch_size` is 65", "64 examples"),
    "Recipe: a float as loss": (lambda: planned(loss=lambda outputs, y: 1.0), "`loss` is ", "per example"),
    "Recipe: a layer that is not there": (
        lambda: planned(penalty=jt.penalties.activity_l1(0.1, "Dense_9")),
        "`layers` is 'Dense_9'",
        "Dense_0",
    ),
    "Recipe: images for a wide CNN": (lambda: planned(model=jt.models.CNN((4,) * 4, 10)), "`x` is ", "16 pixels"),
    "Recipe: width is no sequence": (lambda: planned(model=jt.models.MLP(8, 10)), "`hidden` is 8", ""),
    "EarlyStopping: patience": (lambda: jt.EarlyStopping(0), "`patience` is 0", "at least 1"),
    "EarlyStopping: min_delta": (lambda: jt.EarlyStopping(3, min_delta=-1), "`min_delta` is -1", "at least 0"),
    "EarlyStopping: strip": (lambda: jt.EarlyStopping(3, strip=1), "`strip` is 1", "at least 2"),
    "EarlyStopping: metric": (
        lambda: planned(early_stopping=jt.EarlyStopping(3, metric="f1")),
        "`early_stopping.metric` is 'f1'",
        "valid_loss",
    ),
    "ReduceOnPlateau: factor": (lambda: jt.ReduceOnPlateau(factor=2), "`factor` is 2", "between 0 and 1"),
    "ReduceOnPlateau: patience": (lambda: jt.ReduceOnPlateau(patience=NAN), "`patience` is nan", "NaN"),
    # data
    "load: no such set": (lambda: jt.data.load("digit"), "`name` is 'digit'", "'digits'"),
    "load: a name that is a number": (lambda: jt.data.load(5), "`name` is 5", "'digits'"),
    "load: splits of one set": (lambda: jt.data.load("iris", splits=("a", "b", "c")), "`splits` is ('a'", "fractions"),
    "load: shares": (lambda: jt.data.load("iris", fractions=(0.5, 0.5)), "`fractions` is (0.5, 0.5)", "three"),
    "load: seed": (lambda: jt.data.load("iris", seed=-1), "`seed` is -1", "at least 0"),
    "from_arrays: lengths": (lambda: arrays(y=Y[:-1]), "`x` is (40, 3)", "y has 39"),
    "from_arrays: NaN": (lambda: arrays(x=np.full((40, 3), NAN)), "`x` is 'an array of shape (40, 3)'", "120 values"),
    "from_arrays: ragged": (lambda: arrays(x=[[1.0], [1.0, 2.0]] * 20), "`x` is ", ""),
    "from_arrays: ragged labels": (lambda: arrays(y=[[1], [1, 2]] * 20), "`y` is ", ""),
    "from_arrays: nothing": (lambda: arrays(x=None), "`x` is None", "no array"),
    "from_arrays: one number": (lambda: arrays(x=1.0), "`x` is array(1.", "single number"),
    "from_arrays: complex": (lambda: arrays(x=X + 1j), "`x` is 'an array of dtype complex", "real"),
    "from_arrays: over 32 bits": (lambda: arrays(x=np.full((40, 1), 2**40)), "`x` is 1099511627776", "32 bits"),
    "from_arrays: channels first": (
        lambda: arrays(x=np.zeros((40, 3, 8, 8), np.uint8)),
        "`x` is 'an array of shape (40, 3, 8, 8)'",
        "transpose",
    ),
    "from_arrays: labels of bytes": (lambda: arrays(y=np.array([b"\xff", b"a"] * 20)), "`y` is ", ""),
    "from_arrays: a class without examples": (lambda: arrays(y=Y * 2), "`y` is 'labels from 0 to 6'", "classes="),
    "from_arrays: negative labels": (lambda: arrays(y=Y - 1), "`train.y` is -1", "from 0"),
    "from_arrays: classes": (lambda: arrays(classes=2.5), "`classes` is 2.5", "whole"),
    "from_arrays: weights": (lambda: arrays(weight=-np.ones(40)), "`weight` is ", "at least 0"),
    "from_arrays: groups": (lambda: arrays(groups=np.ones(40)), "`groups` is 'float64 of shape (40,)'", "text"),
    "from_arrays: one group": (lambda: arrays(groups=Y * 0), "`groups` is '1 groups'", "empty"),
    "from_arrays: shares that are one number": (lambda: arrays(fractions=0.6), "`fractions` is 0.6", ""),
    "from_arrays: shares over 1": (lambda: arrays(fractions=(0.6, 0.6, 0.1)), "`fractions` is (0.6,", "at most 1"),
    "from_arrays: seed": (lambda: arrays(seed="a"), "`seed` is 'a'", ""),
    "Arrays: no examples": (lambda: jt.data.Arrays(X[:0], Y[:0]), "`y` is (0,)", "at least one"),
    "Splits: a tuple": (lambda: jt.data.Splits((X, Y), DATA.valid, DATA.test), "`train` is 'tuple'", "jt.data.Arrays"),
    "Splits: forms": (lambda: jt.data.Splits(jt.data.Arrays(X, Y), DATA.valid, DATA.test), "`valid` is ", "shapes"),
    "Splits: classes": (lambda: jt.data.Splits(DATA.train, DATA.valid, DATA.test, 3), "`train.y` is ", "0 to 2"),
    "Stream: no source": (lambda: jt.data.Stream(5), "`source` is 'int'", "__getitem__"),
    "Stream: empty": (lambda: jt.data.Stream([]), "`source` is 'a source of length 0'", "at least one"),
    "Stream: no pairs": (lambda: jt.data.Stream(["ab"]), "`source` is 'a str at 0'", "pairs"),
    "Stream: shapes": (lambda: jt.data.Stream([(X[0], 0), (X[:2], 1)]), "`source` is ", "one shape"),
    "Stream: ragged": (lambda: jt.data.Stream([([[1.0], [1.0, 2.0]], 0)]), "`source` is ", ""),
    "Stream: sample": (lambda: jt.data.Stream([(X[0], 0)], sample_size=0), "`sample_size` is 0", "at least 1"),
    "from_npz: nowhere": (lambda: jt.data.from_npz(FOLDER / "no.npz"), "`path` is ", "no such file"),
    "from_npz: a number": (lambda: jt.data.from_npz(5), "`path` is 5", ""),
    "from_npz: no archive": (lambda: jt.data.from_npz(written("bad.npz", "x")), "`path` is ", ""),
    "from_npz: no such array": (lambda: jt.data.from_npz(archive(x=X)), "`y` is 'y'", "x"),
    "from_npz: objects": (lambda: jt.data.from_npz(archive(x=X.astype(object), y=Y)), "`path` is ", "pickled"),
    "from_csv: no table": (lambda: table("a,y\n"), "`path` is ", "no row"),
    "from_csv: a text": (lambda: table(), "`column b` is 'x'", "line 3"),
    "from_csv: a missing field": (lambda: table("a,y\n1\n"), "`path` is ", "1 fields"),
    "from_csv: no such column": (lambda: table(target="z"), "`target` is 'z'", "a, b, y"),
    "from_csv: no target": (lambda: table(target=None), "`target` is None", ""),
    "from_csv: inputs": (lambda: table(inputs=["q"]), "`inputs` is 'q'", "a, b, y"),
    "from_csv: separator": (lambda: table(separator="::"), "`separator` is '::'", ""),
    "from_csv: Latin-1": (lambda: table("a,y\n1,é\n".encode("latin-1")), "`path` is ", ""),
    "from_csv: a long field": (lambda: table("a,y\n1," + "9" * 200_000), "`path` is ", ""),
    "from_csv: long labels": (lambda: table(f"a,y\n1,{10**30}\n2,1\n3,2\n"), "`", ""),
    "from_folder: nowhere": (lambda: jt.data.from_folder(FOLDER / "no"), "`path` is ", "no such folder"),
    "from_folder: no classes": (lambda: jt.data.from_folder(tempfile.mkdtemp(dir=FOLDER)), "`path` is ", "0 folders"),
    "prepare: unknown": (lambda: jt.data.prepare("mnist", FOLDER), "`name` is 'mnist'", "digits"),
    "prepare: a list": (lambda: jt.data.prepare(["digits"], FOLDER), "`name` is ['digits']", ""),
    "fold: which": (lambda: jt.data.fold(5, of=5), "`which` is 5", "between 0 and 4"),
    "fold: of": (lambda: jt.data.fold(0, of=1), "`of` is 1", "at least 2"),
    "fold: groups": (lambda: jt.data.fold(0, of=3, groups=[1, 2]), "`groups` is ", "2 groups"),
    "first: none": (lambda: jt.data.first(0), "`size` is 0", "at least 1"),
    "first: too many": (lambda: planned(subset=jt.data.first(65)), "`size` is 65", "64"),
    "first: within": (lambda: jt.data.first(5, within=0.5), "`within` is 0.5", ""),
    "bootstrap: negative": (lambda: jt.data.bootstrap(-1), "`resample` is -1", "at least 0"),
    "balanced: one class": (lambda: jt.data.balanced(1), "`classes` is 1", "at least 2"),
    "corrupt_labels: rate": (lambda: jt.data.corrupt_labels(1.5, 10), "`rate` is 1.5", "between 0 and 1"),
    "standardize: per": (lambda: jt.data.standardize(per="pixel"), "`per` is 'pixel'", "'channel'"),
    "min_max: text": (lambda: jt.data.min_max("a"), "`low` is 'a'", "real number"),
    "whiten: eps": (lambda: jt.data.whiten(0.0), "`eps` is 0.0", "above 0"),
    "moons: one point": (lambda: jt.data.synthetic.moons(1), "`n` is 1", "at least 2"),
    "moons: noise": (lambda: jt.data.synthetic.moons(noise=-1), "`noise` is -1", "at least 0"),
    "spirals: turns": (lambda: jt.data.synthetic.spirals(turns=0), "`turns` is 0", "above 0"),
    "sparse_linear: nonzero": (
        lambda: jt.data.synthetic.sparse_linear(features=3, nonzero=4),
        "`nonzero` is 4",
        "3 features",
    ),
    "polynomial: coefficients": (
        lambda: jt.data.synthetic.polynomial(coefficients="x"),
        "`coefficients` is 'x'",
        "",
    ),
    "adding: length": (lambda: jt.data.synthetic.adding(length=1), "`length` is 1", "at least 2"),
    "flip: rate": (lambda: jt.data.augment.flip(2.0), "`rate` is 2.0", "between 0 and 1"),
    "flip: axis": (lambda: jt.data.augment.flip(axis="up"), "`axis` is 'up'", "'vertical'"),
    "zoom: factor": (lambda: jt.data.augment.zoom(-0.1), "`factor` is -0.1", "between 0 and 1"),
    "rotate: text": (lambda: jt.data.augment.rotate("90"), "`degrees` is '90'", "real number"),
    "mixup: classes": (lambda: jt.data.augment.mixup(0.2, 1), "`classes` is 1", "at least 2"),
    # components
    "l2: negative": (lambda: jt.penalties.l2(-1), "`strength` is -1", "at least 0"),
    "l2: infinite": (lambda: jt.penalties.l2(INF), "`strength` is inf", "off"),
    "l2: over all floats": (lambda: jt.penalties.l2(HUGE), "`strength` is 1000", ""),
    "l2: no strength": (lambda: jt.penalties.l2({}), "`strength` is {}", "by path prefix"),
    "l2: one of the strengths": (lambda: jt.penalties.l2({"Dense_0": "a"}), "`strength['Dense_0']` is 'a'", "real"),
    "l2: name": (lambda: jt.penalties.l2(0.1, name="a/b"), "`name` is 'a/b'", "identifier"),
    "l2: name is a number": (lambda: jt.penalties.l2(0.1, name=1), "`name` is 1", "identifier"),
    "l2: where": (lambda: jt.penalties.l2(0.1, where="kernel")({"w": X}), "`where` is 'kernel'", ""),
    "kl_sparsity: rate": (lambda: jt.penalties.kl_sparsity(0.1, 2, "Dense_0"), "`rate` is 2", "between 0 and 1"),
    "spectral norm: iterations": (lambda: jt.penalties.spectral_norm(0.1, iterations=0), "`iterations` is 0", ""),
    "confidence: text": (lambda: jt.penalties.confidence("a"), "`strength` is 'a'", "real number"),
    "ema: decay": (lambda: jt.optim.ema(1.5), "`decay` is 1.5", "between 0 and 1"),
    "swa: every": (lambda: jt.optim.swa(0, every=0), "`every` is 0", "at least 1"),
    "clip: negative": (lambda: jt.optim.clip_by_global_norm(-1), "`threshold` is -1", "at least 0"),
    "sam: NaN": (lambda: jt.optim.sam(NAN), "`rho` is nan", "NaN"),
    "from_kind: text": (lambda: jt.optim.from_kind("adam", 0.1), "`kind` is 'adam'", "adam_kind"),
    "from_kind: rate": (lambda: jt.optim.from_kind(jt.optim.adam_kind(), -1), "`lr` is -1", "at least 0"),
    "from_kind: b1": (
        lambda: jt.optim.from_kind(jt.optim.adam_kind(b1=2), 0.1),
        "`kind.b1` is 2",
        "between 0 and 1",
    ),
    "lookahead: share": (lambda: jt.optim.lookahead(optax.sgd(0.1), share=2), "`share` is 2", "between 0 and 1"),
    "lookahead: optimizer": (lambda: jt.optim.lookahead("sgd"), "`optimizer` is 'sgd'", ""),
    "scale_by_path: negative": (lambda: jt.optim.scale_by_path({"a": -1}), "`scales['a']` is -1", "at least 0"),
    "scale_by_path: a number": (lambda: jt.optim.scale_by_path(0.1), "`scales` is 0.1", ""),
    "constant: negative": (lambda: jt.optim.schedules.constant(-1), "`value` is -1", "at least 0"),
    "piecewise: too few": (lambda: jt.optim.schedules.piecewise([0.1], [5]), "`values` is [0.1]", "one value more"),
    "piecewise: a number": (lambda: jt.optim.schedules.piecewise(0.1, []), "`values` is 0.1", ""),
    "dropout: rate": (lambda: jt.nn.dropout(key(), X, 1.5), "`rate` is 1.5", "between 0 and 1"),
    "dropout: integers": (lambda: jt.nn.dropout(key(), Y, 0.5), "`x` is 'int", "float32"),
    "gaussian_dropout: one": (lambda: jt.nn.gaussian_dropout(key(), X, 1), "`rate` is 1", "infinite"),
    "noise: distribution": (
        lambda: jt.nn.noise(key(), X, 1.0, distribution="cauchy"),
        "`distribution` is 'cauchy'",
        "'uniform'",
    ),
    "batch_norm: features": (
        lambda: jt.nn.batch_norm(X, Running(np.ones(2), np.ones(2)), train=True, momentum=0.9),
        "`x` is (40, 3)",
        "(2,)",
    ),
    "group_norm: groups": (lambda: jt.nn.group_norm(X, 2), "`groups` is 2", "3 features"),
    "instance_norm: a table": (lambda: jt.nn.instance_norm(X), "`x` is (40, 3)", "layer_norm"),
    "drop_block: block": (lambda: jt.nn.drop_block(key(), IMAGES, 0.1, 9), "`block` is 9", ""),
    "spatial_dropout: a table": (lambda: jt.nn.spatial_dropout(key(), X, 0.1), "`x` is (40, 3)", "dropout"),
    "convolve: channels": (
        lambda: jt.nn.convolve(IMAGES, np.ones((3, 3, 2, 4), np.float32)),
        "`kernel` is 'shape (3, 3, 2, 4)'",
        "Channels",
    ),
    "max_pool: window": (lambda: jt.nn.max_pool(IMAGES, (9, 9), padding="VALID"), "`window` is (9, 9)", "larger"),
    "he: gain": (lambda: jt.nn.initializers.he(-1), "`gain` is -1", "at least 0"),
    "he: distribution": (
        lambda: jt.nn.initializers.he(distribution="cauchy")(key(), (2, 2)),
        "`distribution` is 'cauchy'",
        "",
    ),
    "huber: delta": (lambda: jt.losses.huber(0), "`delta` is 0", "above 0"),
    "label_smoothing: rate": (lambda: jt.losses.label_smoothing(2), "`rate` is 2", "between 0 and 1"),
    "class_weighted: negative": (lambda: jt.losses.class_weighted([1, -1]), "`weights[1]` is -1", "at least 0"),
    "class_weighted: a number": (lambda: jt.losses.class_weighted(2), "`weights` is 2", ""),
    "focal: text": (lambda: jt.losses.focal("2"), "`gamma` is '2'", "real number"),
    "squared_error: shapes": (lambda: jt.losses.squared_error(X, X[:, 0]), "`outputs` is ((40, 3), (40,))", "target"),
    "softmax: float labels": (lambda: jt.losses.softmax_cross_entropy(X, X[:, 0]), "`y` is 'float32'", "integer"),
    "top_k: none": (lambda: jt.metrics.top_k(0), "`k` is 0", "at least 1"),
    "top_k: too many": (lambda: jt.metrics.top_k(4)(X, Y), "`k` is 4", "3 classes"),
    "f1: label": (lambda: jt.metrics.f1(-1), "`label` is -1", "at least 0"),
    "calibration: bins": (lambda: jt.metrics.calibration_error(0), "`bins` is 0", "at least 1"),
    "as_model: text": (lambda: jt.models.as_model("mlp"), "`model` is 'mlp'", "Linen"),
    "with_spectral_norm: bound": (
        lambda: jt.models.with_spectral_norm(jt.models.MLP((), 4), 0),
        "`bound` is 0",
        "above 0",
    ),
    "with_weight_noise: scale": (
        lambda: jt.models.with_weight_noise(jt.models.MLP((), 4), -1),
        "`scale` is -1",
        "at least 0",
    ),
    "monte_carlo: samples": (
        lambda: jt.models.monte_carlo(jt.models.MLP((), 4), {}, {}, X, key=None, samples=1),
        "`samples` is 1",
        "at least 2",
    ),
    # results
    "summary: metric": (lambda: GRID.summary("valid_f1"), "`metric` is 'valid_f1'", "valid_loss"),
    "summary: level": (lambda: GRID.summary("valid_loss", level=95), "`level` is 95", "between"),
    "summary: folds": (lambda: GRID.summary("valid_loss", folds="fold"), "`folds` is 'fold'", "l2, width"),
    "compare: no baseline": (lambda: GRID.compare("valid_loss"), "`baseline` is None", "l2, width"),
    "compare: empty baseline": (lambda: GRID.compare("valid_loss", {}), "`baseline` is {}", "l2, width"),
    "compare: a number": (lambda: GRID.compare("valid_loss", 0.5), "`baseline` is 0.5", ""),
    "compare: no such value": (lambda: GRID.compare("valid_loss", dict(l2=7)), "`l2` is 7", "Values"),
    "compare: no such arm": (lambda: ARMS.compare("valid_loss", "l3"), "`arm` is 'l3'", "'default'"),
    "compare: keys that have no order": (lambda: GRID.compare("valid_loss", {1: 1, "a": 1}), "`", ""),
    "compare: method": (lambda: ARMS.compare("valid_loss", method="z"), "`method` is 'z'", "'bootstrap'"),
    "best: a test metric": (lambda: GRID.best("test_loss"), "`metric` is 'test_loss'", "valid_loss"),
    "best: a number": (lambda: GRID.best(5), "`metric` is 5", ""),
    "best: mode": (lambda: GRID.best("valid_loss", mode="up"), "`mode` is 'up'", "'min'"),
    "best: per": (lambda: GRID.best("valid_loss", per="lr"), "`per` is 'lr'", "l2, width"),
    "variables: no axis": (lambda: GRID.variables(lr=0.1), "`lr` is 0.1", "l2, width, seed"),
    "variables: an axis left out": (lambda: GRID.variables(l2=0.0, seed=3), "`width` is None", "[8, 16, 32]"),
    "variables: an array": (lambda: GRID.variables(l2=np.ones(2), width=8, seed=3), "`l2` is ", ""),
    "variables: not kept": (lambda: GRID.variables(l2=0.0, width=8, seed=3), "`setting` is {'l2'", "keep='all'"),
    "predict: no model": (lambda: GRID.predict(X, l2=0.0, width=8, seed=3), "`experiment` is None", "jt.load"),
    "plots: metric": (lambda: jt.plots.learning_curves(GRID, "test_loss"), "`metric` is 'test_loss'", "valid_loss"),
}

FINE = """
import sys
sys.path.insert(0, {tests!r})
from problems import digits, linear
import jaxtune as jt
experiment = jt.Experiment(linear, jt.grid(lr=[0.1]), digits(), steps=4)
"""
COMMANDS = {
    "no file": (["run", "nowhere.py"], "`file` is 'nowhere.py'"),
    "a folder": (["run", str(FOLDER)], f"`file` is '{FOLDER}'"),
    "a name that is too long": (["run", "a" * 5000], "`file` is 'aaa"),
    "no Python": (["run", written("notes.txt", "x = 1")], "`file` is "),
    "no experiment": (["run", written("empty.py", "x = 1")], "`experiment` is None"),
    "an experiment that is a number": (["run", written("three.py", "experiment = 3")], "`experiment` is 3"),
    "out is a file": (
        [
            "run",
            written("fine.py", FINE.format(tests=str(pathlib.Path(__file__).parents[1]))),
            "--out",
            written("h", ""),
        ],
        f"`out` is '{FOLDER / 'h'}'",
    ),
    "out holds something else": (["run", FOLDER / "fine.py", "--out", FOLDER], f"`out` is '{FOLDER}'"),
}


def refusal(action):
    """Returns the exception that an action ends with, or None."""
    try:
        action()
    except Exception as error:
        return error
    return None


def commanded(arguments):
    """Returns exit status and standard error of a command."""
    with contextlib.redirect_stderr(io.StringIO()) as err:
        return jt.cli.main([str(a) for a in arguments]), err.getvalue()


@pytest.fixture
def no_compilation(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("something was compiled")

    monkeypatch.setattr(jax.stages.Lowered, "compile", refuse)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.usefixtures("no_compilation")
def test_is_refused_in_the_form(case):
    action, opening, words = CASES[case]
    error = refusal(action)
    assert flaw(error) is None
    assert str(error).startswith(opening) and words in str(error)


@pytest.mark.parametrize("case", COMMANDS)
@pytest.mark.usefixtures("no_compilation")
def test_a_command_is_refused_in_one_line(case):
    arguments, opening = COMMANDS[case]
    status, said = commanded(arguments)
    assert (status, said.count("\n")) == (2, 1)
    assert said.startswith(f"jaxtune: {opening}") and FORM.fullmatch(said.removeprefix("jaxtune: ").strip())


@pytest.mark.parametrize("options", [[], ["--quick"]])
def test_a_script_without_an_experiment_is_refused(options, capsys):
    with pytest.raises(SystemExit, match="2"):
        jt.cli.script(3, arguments=options)
    assert capsys.readouterr().err.startswith("jaxtune: `experiment` is 'int'")


def show():
    """Prints each case and its message."""
    for case, (action, *_) in CASES.items():
        error = refusal(action)
        print(f"{case}\n    {type(error).__name__}: {error}")
    for case, (arguments, _) in COMMANDS.items():
        print(f"command line: {case}\n    {commanded(arguments)[1].strip()}")


if __name__ == "__main__":
    show()
