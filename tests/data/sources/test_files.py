"""Examples from files and arrays as users have them, and what is refused."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from jaxtune.data import from_arrays, from_csv, from_folder, from_npz

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(30, 4)).astype("float32"), np.arange(30) % 3
SHARES = (0.6, 0.2, 0.2)


def together(splits):
    """Returns all inputs and labels, in the order of the first column."""
    parts = (splits.train, splits.valid, splits.test)
    x, y = np.concatenate([p.x for p in parts]), np.concatenate([p.y for p in parts])
    order = np.argsort(x.reshape(len(x), -1)[:, 0], kind="stable")
    return x[order], y[order]


def test_npz(tmp_path):
    np.savez(tmp_path / "a.npz", inputs=X, y=Y, w=np.ones(30))
    splits = from_npz(tmp_path / "a.npz", x="inputs", weight="w", seed=1)
    same = from_arrays(X, Y, weight=np.ones(30), seed=1)
    np.testing.assert_array_equal(splits.train.x, same.train.x)
    np.testing.assert_array_equal(splits.test.weight, same.test.weight)


def test_npz_is_never_unpickled(tmp_path):
    class Hostile:
        def __reduce__(self):
            return (open, (str(tmp_path / "written"), "w"))

    np.savez(tmp_path / "a.npz", x=np.array([Hostile()] * 3, dtype=object), y=Y[:3])
    with pytest.raises(ValueError, match="pickled objects, which could run code"):
        from_npz(tmp_path / "a.npz")
    (tmp_path / "b.npz").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(ValueError):
        from_npz(tmp_path / "b.npz")
    assert not (tmp_path / "written").exists()


def test_npz_that_cannot_be_used(tmp_path):
    np.savez(tmp_path / "a.npz", x=X, y=Y)
    with pytest.raises(ValueError, match="`y` is 'label': a.npz holds x, y"):
        from_npz(tmp_path / "a.npz", y="label")
    whole = (tmp_path / "a.npz").read_bytes()
    for length in (0, 10, len(whole) // 2):
        (tmp_path / "a.npz").write_bytes(whole[:length])
        with pytest.raises(ValueError, match="cannot be read|pickled"):
            from_npz(tmp_path / "a.npz")
    with pytest.raises(ValueError, match="there is no such file"):
        from_npz(tmp_path / "none.npz")


def test_csv(tmp_path):
    table = pd.DataFrame(X, columns=list("abcd")).assign(kind=np.array(["ant", "bee", "cat"])[Y])
    table.to_csv(tmp_path / "a.csv", index=False)
    splits = from_csv(tmp_path / "a.csv", "kind")
    assert splits.names == ("ant", "bee", "cat") and splits.classes == 3
    x, y = together(splits)
    order = np.argsort(X[:, 0])
    np.testing.assert_allclose(x, X[order], rtol=1e-6)
    np.testing.assert_array_equal(y, Y[order])
    some = from_csv(tmp_path / "a.csv", "d", inputs=["b", "a"])
    assert some.classes is None and some.train.x.shape[1] == 2
    table.drop(columns="kind").assign(n=Y).to_csv(tmp_path / "b.csv", index=False, sep=";")
    assert from_csv(tmp_path / "b.csv", "n", separator=";").classes == 3


@pytest.mark.parametrize(
    "text, message",
    [
        ("a,b\n1,2\n3\n4,5\n", "line 3 has 1 fields, the header has 2"),
        ("a,b\n1,2\nx,4\n", "`column a` is 'x': in line 3 it is no number"),
        ("a,b\n", "no row below a header"),
        ("a,c\n1,2\n", "`target` is 'b': there is no such column"),
        ("a,b\n" + "nan,1\n2,0\n" * 6, "values are NaN or infinite"),
    ],
)
def test_csv_that_cannot_be_used(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        from_csv(tmp_path / "a.csv", "b")


def images(folder, mode="RGB", sizes=((6, 5),)):
    shapes = {"RGB": (3,), "L": (), "RGBA": (4,)}
    kept = []
    for i in range(20):
        kind = folder / ("cat" if i % 2 else "dog")
        kind.mkdir(exist_ok=True, parents=True)
        pixels = RNG.integers(0, 256, (*sizes[i % len(sizes)], *shapes[mode]), dtype=np.uint8)
        Image.fromarray(pixels).save(kind / f"{i:02}.png")
        kept.append(pixels)
    return kept


def test_folder_of_images(tmp_path):
    kept = images(tmp_path)
    (tmp_path / "cat" / "notes.txt").write_text("not an image")
    splits = from_folder(tmp_path)
    assert splits.names == ("cat", "dog") and splits.train.x.shape[1:] == (6, 5, 3)
    x, y = together(splits)
    expected = np.array(kept) / np.float32(255)
    first = {row.tobytes(): i % 2 for i, row in enumerate(expected)}
    assert [first[row.tobytes()] for row in x] == [1 - label for label in y]


def test_gray_and_resized_images(tmp_path):
    images(tmp_path / "gray", "L")
    assert from_folder(tmp_path / "gray").train.x.shape[1:] == (6, 5, 1)
    images(tmp_path / "sizes", sizes=((6, 5), (7, 7)))
    with pytest.raises(ValueError, match=r"it has \(7, 7\) pixels, and those before \(6, 5\)|Pass size="):
        from_folder(tmp_path / "sizes")
    assert from_folder(tmp_path / "sizes", size=(4, 3)).train.x.shape[1:] == (4, 3, 3)


def test_folders_that_cannot_be_used(tmp_path):
    with pytest.raises(ValueError, match="there is no such folder"):
        from_folder(tmp_path / "none")
    with pytest.raises(ValueError, match="it holds 0 folders"):
        from_folder(tmp_path)
    images(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty': the class has no image"):
        from_folder(tmp_path)
    (tmp_path / "empty" / "broken.png").write_bytes(b"\x89PNG nothing")
    with pytest.raises(ValueError, match=r"broken.png': it cannot be read"):
        from_folder(tmp_path)


def test_tables_of_pandas():
    frame = pd.DataFrame(X, columns=list("abcd"))
    splits = from_arrays(frame, pd.Series(np.array(["u", "v", "w"])[Y]))
    np.testing.assert_array_equal(splits.train.x, from_arrays(X, Y).train.x)
    assert splits.names == ("u", "v", "w")


def test_images_of_bytes_become_floats():
    bytes_ = RNG.integers(0, 256, (30, 5, 6, 3), dtype=np.uint8)
    splits = from_arrays(bytes_, Y)
    assert splits.train.x.dtype == np.float32 and splits.train.x.max() <= 1
    with pytest.warns(UserWarning, match="was given a channel axis"):
        assert from_arrays(bytes_[..., 0], Y).train.x.shape[1:] == (5, 6, 1)
    with pytest.raises(ValueError, match="channels come first.*transpose"):
        from_arrays(bytes_.transpose(0, 3, 1, 2), Y)


def test_classes_that_are_missing():
    with pytest.raises(ValueError, match="no example is of class 1"):
        from_arrays(X, np.arange(30) % 2 * 2)
    assert from_arrays(X, np.arange(30) % 2 * 2, classes=3).classes == 3
    with pytest.raises(ValueError, match="the training split has one class only"):
        from_arrays(X, (np.arange(30) == 7).astype(int), fractions=(0.05, 0.9, 0.05))


def test_shared_rows_are_counted():
    x = X.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        splits = from_arrays(x, Y)
    place = {row.tobytes(): i for i, row in enumerate(x)}
    x[place[splits.valid.x[0].tobytes()]] = splits.train.x[0]
    x[place[splits.valid.x[1].tobytes()]] = splits.train.x[0]
    x[place[splits.test.x[0].tobytes()]] = splits.train.x[3]
    with pytest.warns(UserWarning, match="2 of valid also in train, 1 of test also in train"):
        from_arrays(x, Y)


def test_a_table_of_groups_and_of_whole_targets(tmp_path):
    lines = [f"{i},{i * i % 7 + 3},{i % 6}" for i in range(30)]
    (tmp_path / "a.csv").write_text("\n".join(["x,price,shop", *lines]))
    splits = from_csv(tmp_path / "a.csv", "price", regression=True, groups="shop")
    assert splits.classes is None and splits.train.y.dtype == np.float32 and splits.train.x.shape[1] == 1
    for part in (splits.train, splits.valid, splits.test):
        x = part.x[:, 0].astype(int)
        np.testing.assert_array_equal(part.y, x * x % 7 + 3)
        np.testing.assert_array_equal(part.groups, (x % 6).astype(str))
    with pytest.raises(ValueError, match="`groups` is 'town': there is no such column"):
        from_csv(tmp_path / "a.csv", "price", groups="town")
    (tmp_path / "b.csv").write_text("x,y\n1,a\n2,b")
    with pytest.raises(ValueError, match="`target` is 'y': with regression=True"):
        from_csv(tmp_path / "b.csv", "y", regression=True)


def test_an_archive_with_groups(tmp_path):
    np.savez(tmp_path / "a.npz", x=X, y=Y, who=np.arange(30) // 3)
    splits = from_npz(tmp_path / "a.npz", groups="who")
    assert not set(splits.train.groups) & set(splits.test.groups)
