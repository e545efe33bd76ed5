"""Data sets of TFDS on disk: read without TensorFlow, in both of its formats, and refused where they are damaged."""

import io
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from asserts import assert_same_bits
from data.sources.test_tfrecord import framed
from PIL import Image

import jaxtune as jt
from jaxtune.data import load, prepare

MNIST = Path(os.environ.get("TFDS_DATA_DIR", "")) / "mnist"
RNG = np.random.default_rng(0)


def arrays(splits):
    return [(part.x, part.y) for part in (splits.train, splits.valid, splits.test)]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with digits and diabetes, prepared."""
    folder = tmp_path_factory.mktemp("tfds")
    for name in ("digits", "diabetes"):
        prepare(name, folder)
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A set with images, two labels, a number and a text, as users write them."""
    import tensorflow_datasets as tfds

    folder = tmp_path_factory.mktemp("pictures")
    images = RNG.integers(0, 256, (30, 6, 5, 3), dtype=np.uint8)

    class Pictures(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("2.1.0")

        def _info(self):
            features = {
                "picture": tfds.features.Image(shape=(6, 5, 3)),
                "kind": tfds.features.ClassLabel(num_classes=4),
                "shade": tfds.features.ClassLabel(names=["dark", "light"]),
                "size": np.float32,
                "text": tfds.features.Text(),
            }
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features), disable_shuffling=True
            )

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples(0, 20), "test": self._generate_examples(20, 30)}

        def _generate_examples(self, start, stop):
            for i in range(start, stop):
                encoded = io.BytesIO()
                Image.fromarray(images[i]).save(encoded, "PNG")
                yield i, {"picture": encoded.getvalue(), "kind": i % 3, "shade": i % 2, "size": i / 2, "text": str(i)}

    Pictures.name = "pictures"
    Pictures(data_dir=str(folder), file_format="array_record").download_and_prepare()
    return folder, images


def as_tfrecord(source, target):
    """Copies a prepared set in the other format: the same records, framed as TFRecord."""
    from array_record.python.array_record_module import ArrayRecordReader

    shutil.copytree(source, target)
    (folder,) = target.glob("*.*.*")
    for file in folder.glob("*.array_record-*"):
        (folder / file.name.replace("array_record", "tfrecord")).write_bytes(
            framed(ArrayRecordReader(str(file)).read_all())
        )
        file.unlink()
    info = json.loads((folder / "dataset_info.json").read_text())
    (folder / "dataset_info.json").write_text(json.dumps({**info, "fileFormat": "tfrecord"}))
    return folder


@pytest.mark.parametrize("name", ["digits", "diabetes"])
def test_what_is_prepared_comes_back_to_the_bit(root, name):
    built_in, read = load(name), load(name, data_dir=root)
    assert_same_bits(arrays(read), arrays(built_in))
    assert read.classes == built_in.classes
    assert "tensorflow" not in sys.modules


def test_a_prepared_set_is_one_of_tfds(root):
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(str(root / "digits" / "1.0.0"))
    source = builder.as_data_source(split="test")
    test = load("digits").test
    assert len(source) == len(test)
    np.testing.assert_array_equal(source[3]["x"], test.x[3])
    assert source[3]["y"] == test.y[3]


def test_training_on_it_gives_the_same_bits(root):
    import optax

    def recipe(hp):
        return jt.Recipe(jt.models.MLP((), hp.run.outputs), optimizer=optax.sgd(hp.lr), batch_size=64)

    results = [
        jt.run(jt.Experiment(recipe, jt.grid(lr=[0.1]), data, steps=4, seeds=1, eval_every=2))
        for data in (load("digits"), load("digits", data_dir=root))
    ]
    assert_same_bits(*(r.variables(lr=0.1, seed=0).params for r in results))


def test_both_formats_hold_the_same(root, tmp_path):
    folder = as_tfrecord(root / "digits", tmp_path / "digits")
    assert_same_bits(arrays(load(folder)), arrays(load("digits")))
    part = load(folder, splits=("train[:50]", "train[50:70]", "test[-10:]"))
    whole = load("digits")
    np.testing.assert_array_equal(part.valid.x, whole.train.x[50:70])
    np.testing.assert_array_equal(part.test.y, whole.test.y[-10:])


def test_a_file_that_ends_between_two_records_is_refused(root, tmp_path):
    folder = as_tfrecord(root / "digits", tmp_path / "digits")
    (file,) = folder.glob("*-test.tfrecord-*")
    length = int.from_bytes(file.read_bytes()[:8], "little") + 16
    file.write_bytes(file.read_bytes()[length:])  # without its first record
    with pytest.raises(ValueError, match="the split test has 359 examples, and its files hold 358"):
        load(folder)


def test_images_labels_and_features(pictures):
    folder, images = pictures
    data = load("pictures", data_dir=folder, inputs="picture", target="kind")
    assert data.train.x.dtype == np.float32 and data.classes == 4
    np.testing.assert_array_equal(data.train.x, images[:18] / np.float32(255))
    np.testing.assert_array_equal(data.valid.y, np.arange(18, 20) % 3)  # a tenth of the training split
    np.testing.assert_array_equal(data.test.x, images[20:] / np.float32(255))
    both = load("pictures:2.1.0", data_dir=folder, inputs=["picture", "size"], target="shade")
    assert set(both.train.x) == {"picture", "size"} and both.classes == 2
    np.testing.assert_array_equal(both.test.x["size"], np.arange(20, 30) / 2)
    sizes = load(folder / "pictures" / "2.1.0", target="size", inputs="picture")
    assert sizes.classes is None and sizes.train.y.dtype == np.float32


REFUSED = {
    "target": ({}, "`target` is None: it is not clear which feature is the target"),
    "no such target": ({"target": "colour"}, "`target` is 'colour': an example has no such feature.*picture"),
    "no such input": ({"target": "kind", "inputs": "colour"}, "`inputs` is 'colour'"),
    "text": ({"target": "kind", "inputs": "text"}, "`x` is 'an array of dtype .* its entries are not real numbers"),
    "one split": ({"target": "kind", "splits": "train"}, "three are needed"),
    "no such split": ({"target": "kind", "splits": ("train", "valid", "test")}, "`splits` is 'valid'"),
    "nonsense": ({"target": "kind", "splits": ("train[a:]", "train", "test")}, r"`splits` is 'train\[a:\]'"),
    "empty split": ({"target": "kind", "splits": ("train[:0]", "train", "test")}, "no example is in it"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_asked_wrongly(pictures, case):
    settings, message = REFUSED[case]
    with pytest.raises((ValueError, TypeError), match=message):
        load("pictures", data_dir=pictures[0], **settings)


def test_what_is_not_there(root, tmp_path, monkeypatch):
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ValueError, match="`name` is 'minst': .* Did you mean 'mnist'"):
        load("minst")
    with pytest.raises(ValueError, match=f"the folder {tmp_path}/tensorflow_datasets does not exist.*tfds.load"):
        load("mnist")
    with pytest.raises(ValueError, match=f"it is not in {root}, which holds diabetes, digits"):
        load("mnist", data_dir=root)
    with pytest.raises(ValueError, match="has the versions"):
        load("digits:9.9.9", data_dir=root)
    (root / "glue" / "cola").mkdir(parents=True)
    with pytest.raises(ValueError, match="the configurations \\['cola'\\]"):
        load("glue", data_dir=root)
    shutil.rmtree(root / "glue")
    monkeypatch.setenv("TFDS_DATA_DIR", str(root))
    with pytest.raises(ValueError, match="it is not in"):
        load("mnist")
    with pytest.raises(TypeError, match="a data set has a name or a folder"):
        load(3)
    with pytest.raises(ValueError, match="without splits and features"):
        load("digits", splits=("train", "train", "test"))


def damaged(root, tmp_path, change):
    shutil.copytree(root / "digits", tmp_path / "digits")
    change(tmp_path / "digits" / "1.0.0")
    return lambda: load("digits", data_dir=tmp_path)


def test_half_prepared_and_damaged_folders(root, tmp_path):
    def flip(folder):
        (file,) = folder.glob("*train.array_record*")
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 0xFF
        file.write_bytes(bytes(data))

    def truncate(folder):
        (file,) = folder.glob("*train.array_record*")
        file.write_bytes(file.read_bytes()[:1000])

    cases = {
        "info": (lambda folder: (folder / "dataset_info.json").unlink(), "no dataset_info.json"),
        "features": (lambda folder: (folder / "features.json").unlink(), "no features.json"),
        "missing": (lambda folder: next(folder.glob("*test.array*")).unlink(), "the file digits-test.* is missing"),
        "flipped": (flip, "a record cannot be read"),
        "truncated": (truncate, "a record cannot be read"),
    }
    for name, (change, message) in cases.items():
        with pytest.raises(ValueError, match=message):
            damaged(root, tmp_path / name, change)()


def test_prepare_overwrites_nothing(root):
    with pytest.raises(ValueError, match="it holds digits already"):
        prepare("digits", root)
    with pytest.raises(ValueError, match="it is no offline data set"):
        prepare("mnist", root)


@pytest.mark.skipif(not MNIST.is_dir(), reason="TFDS_DATA_DIR holds no mnist")
def test_mnist():
    data = load("mnist", splits=("train[:2000]", "train[2000:2500]", "test[:500]"))
    assert data.train.x.shape == (2000, 28, 28, 1) and data.classes == 10
    assert abs(float(data.train.x.mean()) - 0.1307) < 0.003 and abs(float(data.train.x.std()) - 0.3081) < 0.003
    assert np.bincount(data.train.y).min() > 150


@pytest.mark.parametrize("form", ["array_record", "tfrecord"])
def test_a_split_on_disk_is_streamed_as_arrays_are(root, tmp_path, form):
    import optax

    folder = root / "digits" / "1.0.0" if form == "array_record" else as_tfrecord(root / "digits", tmp_path / "digits")
    splits = ("train[100:300]", "validation", "test")
    held, read = load(folder, splits=splits), load(folder, splits=splits, stream=True)
    assert isinstance(read.train, jt.data.Stream) and len(read.train) == 200 and read.classes == 10

    def recipe(hp):
        return jt.Recipe(jt.models.MLP((), hp.run.outputs), optimizer=optax.sgd(hp.lr), batch_size=64)

    results = [
        jt.run(jt.Experiment(recipe, jt.grid(lr=[0.1]), data, steps=6, seeds=1, eval_every=6))
        for data in (read, jt.data.Splits(jt.data.Stream(held.train), held.valid, held.test))
    ]
    assert_same_bits(*(r.variables(lr=0.1, seed=0).params for r in results))


def test_images_are_streamed_as_floats(pictures):
    folder, images = pictures
    splits = ("train[:15]", "train[15:]", "test")
    data = load("pictures", data_dir=folder, inputs="picture", target="kind", splits=splits, stream=True)
    x, y, _ = data.train.take(np.array([7, 2]), 4)
    np.testing.assert_array_equal(x, (images[[7, 2]] / np.float32(255)).astype(np.float32))
    assert x.dtype == np.float32 and y.tolist() == [1, 2]


def test_what_is_too_large_stays_on_disk_and_that_is_said(root, monkeypatch):
    from jaxtune.data.sources import _load

    size = 1078 * 4 * 65
    monkeypatch.setattr(_load, "free_memory", lambda: 4 * size - 4)
    with pytest.warns(UserWarning, match="the training split stays on disk, for it would take 0.00028 GB"):
        assert isinstance(load("digits", data_dir=root).train, jt.data.Stream)
    assert isinstance(load("digits", data_dir=root, stream=False).train, jt.data.Arrays)
    monkeypatch.setattr(_load, "free_memory", lambda: 4 * size)
    assert isinstance(load("digits", data_dir=root).train, jt.data.Arrays)


@pytest.mark.parametrize("damage", ["flipped", "short", "between records"])
def test_a_damaged_file_is_found_when_it_is_streamed(root, tmp_path, damage):
    folder = as_tfrecord(root / "digits", tmp_path / "digits")
    (file,) = folder.glob("*-train.tfrecord-*")
    whole = bytearray(file.read_bytes())
    length = int.from_bytes(whole[:8], "little") + 16
    if damage == "flipped":
        whole[length * 3 + 40] ^= 1
        match = "record 3 is damaged: its bytes are not what was written"
    elif damage == "short":
        del whole[-5:]
        match = "record 1077 is damaged: the file ends within it"
    else:
        del whole[-length:]
        match = "the split train has 1078 examples, and its files hold 1077"
    file.write_bytes(whole)
    with pytest.raises(ValueError, match=match):
        load(folder, stream=True).train.take(np.arange(8), 10)


def test_a_set_of_one_split_is_not_streamed(root):
    with pytest.raises(ValueError, match="`stream` is True: .* without splits"):
        load("digits", stream=True)
