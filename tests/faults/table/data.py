"""Bad data."""

import tempfile

import numpy as np
from faults.inputs import DATA, FOLDER, NAN, X, Y, arrays, planned, written

import jaxtune as jt


def table(content="a,b,y\n1,2,0\n3,x,1\n", **options):
    return jt.data.from_csv(written("table.csv", content), **{"target": "y", **options})


def archive(**arrays):
    np.savez(FOLDER / "archive.npz", **arrays)
    return FOLDER / "archive.npz"


# What is called, how its message begins, what else is in it.
CASES = {
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
}
