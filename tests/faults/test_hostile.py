"""Run folders from strangers: opening one executes nothing, writes nowhere else, and takes no more memory than it has bytes."""

import hashlib
import json
import os
import pickle
import shutil
import tracemalloc
import warnings
from pathlib import Path

import h5netcdf
import h5py
import numpy as np
import optax
import pytest
from problems import digits

import jaxtune as jt
from jaxtune.checkpoint import RunFolder, Saver

DATA = digits()
SCRIPT = "<script>alert(1)</script>"
SPACE = jt.arms(dict(lr=0.1), {SCRIPT: dict(lr=0.2), "../../outside": dict(lr=0.3)})


def recipe(hp):
    return jt.Recipe(jt.models.MLP((4,), 10), optimizer=optax.sgd(hp.lr), batch_size=16)


EXPERIMENT = jt.Experiment(recipe, SPACE, DATA, steps=6, seeds=2, eval_every=2)


class Stop(BaseException):
    """A power cut."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A finished run, and one that was interrupted."""
    root = tmp_path_factory.mktemp("runs")
    jt.run(EXPERIMENT, out=root / "finished")
    whole, left = Saver.save, iter(range(1))

    def save(self, tree):
        whole(self, tree)
        self.wait()
        if next(left, None) is None:
            raise Stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Saver, "save", save)
        with pytest.raises(Stop):
            jt.run(EXPERIMENT, out=root / "unfinished", save_every=0.0)
    return root


class Payload:
    """What runs a command where it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


WAYS = (jt.load, lambda out: jt.load(out, EXPERIMENT), lambda out: jt.run(EXPERIMENT, out=out))


def opened(out, ways=WAYS):
    """Opens a folder in every way there is; returns what each has said, having looked at all variables that it gives."""
    said = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for way in ways:
            try:
                result = way(out)
                for arm in ("default", SCRIPT, "../../outside"):
                    for seed in (0, 1):
                        result.variables(arm=arm, seed=seed)
                said.append("opened")
            except ValueError as error:
                said.append(str(error))
    return said


def files_of(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and not path.is_symlink())


def tree(folder):
    return [name for name in files_of(folder) if not name.startswith(".")]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # what Orbax leaves behind
@pytest.mark.parametrize("which", ["finished", "unfinished"])
def test_a_pickle_in_the_place_of_any_file_is_never_executed(folders, tmp_path, which):
    mark, refused = tmp_path / "mark", 0
    names = tree(folders / which)
    assert len(names) > 5
    for number, name in enumerate(names):
        out = tmp_path / str(number) / "run"
        shutil.copytree(folders / which, out)
        for content in (pickle.dumps(Payload(mark)), b"\x93NUMPY\x01\x00" + pickle.dumps(Payload(mark))):
            (out / name).write_bytes(content)
        before = files_of(tmp_path / str(number))
        said = opened(out)
        assert not mark.exists(), name
        refused += any(text != "opened" for text in said)
        outside = [f for f in files_of(tmp_path / str(number)) if not f.startswith("run/")]
        assert outside == [f for f in before if not f.startswith("run/")]
    assert refused >= (4 if which == "finished" else 1)
    pickle.loads(pickle.dumps(Payload(mark)))
    assert mark.exists()  # the payload works


def changed(out, change):
    """Has a record say something else, as its author might."""
    file = out / "run.json"
    record = json.loads(file.read_text())
    change(record)
    file.write_text(json.dumps(record))


HUGE = 10**13


def leaves(record):
    return record["variables"][0]["leaves"]


FORGED = {
    "a path that leads outside": lambda r: leaves(r)[0].update(path=["..", "..", "outside"]),
    "an absolute path": lambda r: leaves(r)[0].update(path=["/tmp/outside"]),
    "a huge array": lambda r: leaves(r)[0].update(shape=[HUGE]),
    "a product that overflows": lambda r: leaves(r)[0].update(shape=[2**40, 2**40]),
    "a negative size": lambda r: leaves(r)[0].update(shape=[-4]),
    "an array of objects": lambda r: leaves(r)[0].update(dtype="O"),
    "a text as a type": lambda r: leaves(r)[0].update(dtype=f"S{HUGE}"),
    "rows that are not there": lambda r: r["variables"][0]["trials"].append([HUGE, 0]),
    "programs that climb": lambda r: r["fingerprint"]["programs"][0].update(static={"../..": "../.."}),
    "an infinite size": lambda r: leaves(r)[0].update(shape=[float("inf")]),
    "a digest of its own": lambda r: leaves(r)[0].update(sha256="../../outside"),
}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("ways", [WAYS[:1], pytest.param(WAYS, marks=pytest.mark.slow)], ids=["load", "every way"])
@pytest.mark.parametrize("forgery", FORGED)
def test_a_forged_record_is_refused_or_harmless(folders, tmp_path, forgery, ways):
    out = tmp_path / "deep" / "run"
    shutil.copytree(folders / "finished", out)
    changed(out, FORGED[forgery])
    before = files_of(tmp_path)
    tracemalloc.start()
    said = opened(out, ways)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200e6
    assert files_of(tmp_path) == before
    assert len(said) == len(ways)


def test_a_cube_that_claims_to_be_huge_is_refused(folders, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(folders / "finished", out)
    with h5netcdf.File(out / "results.nc", "a") as file:
        file.dimensions["bomb"] = HUGE
        file.create_variable("bomb", ("bomb",), "f8", chunks=(1024,), compression="gzip")
    digest = hashlib.sha256((out / "results.nc").read_bytes()).hexdigest()
    changed(out, lambda record: record.update(results=digest))
    tracemalloc.start()
    said = opened(out)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200e6 and all("are said to lie in" in text for text in said)


@pytest.mark.parametrize("name", ["run.json", "results.nc", "variables", "checkpoints", "log.jsonl", ".lock"])
def test_links_are_not_followed(folders, tmp_path, name):
    out, outside = tmp_path / "run", tmp_path / "outside"
    shutil.copytree(folders / ("unfinished" if name in ("checkpoints", ".lock", "log.jsonl") else "finished"), out)
    outside.mkdir()
    place = out / name
    if place.is_dir():
        shutil.move(place, outside / name)
    elif place.exists():
        shutil.move(place, outside / name)
    place.symlink_to(outside / name)
    before = {f: (tmp_path / f).read_bytes() for f in files_of(tmp_path)}
    said = opened(out)
    assert all("is a link, which jaxtune does not follow" in text for text in said), said
    with pytest.raises(ValueError, match="is a link|cannot be written to"):
        jt.run(EXPERIMENT, out=out, force=True)
    assert {f: (tmp_path / f).read_bytes() for f in files_of(tmp_path)} == before


def test_markup_in_names_is_shown_and_not_obeyed(folders):
    result = jt.load(folders / "finished")
    table = result.compare("valid_loss")
    assert SCRIPT in table.to_string() and SCRIPT not in table.to_html() and "&lt;script&gt;" in table.to_html()
    shown = result.dataset._repr_html_()
    assert SCRIPT not in shown and "&lt;script&gt;" in shown


def test_names_of_arms_are_never_names_of_files(folders):
    assert not [path for path in Path(folders).rglob("*") if "script" in path.name or "outside" in path.name]
    assert RunFolder(folders / "finished").record()["fingerprint"]["space"][0]["labels"][1] == SCRIPT


@pytest.mark.parametrize("place", ["checkpoints/link", "checkpoints/0", "variables/0"])
def test_links_below_are_not_followed_either(folders, tmp_path, place):
    out, outside = tmp_path / "run", tmp_path / "outside"
    shutil.copytree(folders / ("finished" if place.startswith("variables") else "unfinished"), out)
    for name in (".my-settings", "2019", "2020", "2021"):
        (outside / name).mkdir(parents=True)
        (outside / name / "precious").write_text("kept")
    shutil.rmtree(out / place, ignore_errors=True)
    (out / place).symlink_to(outside)
    before = files_of(outside)
    assert all("is a link, which jaxtune does not follow" in text for text in opened(out))
    with pytest.raises(ValueError, match="is a link"):
        jt.run(EXPERIMENT, out=out, force=True)
    assert files_of(outside) == before


def test_texts_that_would_swell_are_refused(folders, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(folders / "finished", out)
    with h5netcdf.File(out / "results.nc", "a") as file:
        file.dimensions["many"] = 400
        texts = file.create_variable("texts", ("many",), h5py.string_dtype())
        texts[...] = np.array(["x" * 10**6, *[""] * 399], object)
    digest = hashlib.sha256((out / "results.nc").read_bytes()).hexdigest()
    changed(out, lambda record: record.update(results=digest))
    said = opened(out)
    assert all("the texts of texts would take" in text for text in said), said


def links_out(file, place):
    file["valid_lossy"] = h5py.ExternalLink(str(place), "/secret")


def links_within(file, place):
    file["again"] = h5py.SoftLink("/seed")


def lies_elsewhere(file, place):
    file.create_dataset("raw", (3,), "f8", external=[(str(place), 0, 24)])


def is_virtual(file, place):
    layout = h5py.VirtualLayout((3,), "f8")
    layout[:] = h5py.VirtualSource(str(place), "secret", (3,))
    file.create_virtual_dataset("virtual", layout)


def holds_groups(file, place):
    file.create_group("group")["itself"] = file["/"]


@pytest.mark.parametrize("forge", [links_out, links_within, lies_elsewhere, is_virtual, holds_groups])
def test_a_cube_that_leads_elsewhere_is_refused(folders, tmp_path, forge):
    out, place = tmp_path / "run", tmp_path / "elsewhere.h5"
    shutil.copytree(folders / "finished", out)
    with h5py.File(place, "w") as other:
        other["secret"] = np.arange(3.0)
    with h5py.File(out / "results.nc", "a") as file:
        forge(file, place)
    digest = hashlib.sha256((out / "results.nc").read_bytes()).hexdigest()
    changed(out, lambda record: record.update(results=digest))
    said = opened(out, WAYS[:1])
    assert all("is a link" in text or "is a group, or kept in other files" in text for text in said), said


def stored_otherwise(path, name, array, **more):
    """Stores an array where `_orbax.save` has put one, but compressed, or in a chunk of its own choosing."""
    import tensorstore

    grid = {"name": "regular", "configuration": {"chunk_shape": list(more.get("chunk", array.shape))}}
    codecs = [{"name": "bytes"}, *([{"name": "gzip"}] if more.get("compressed") else [])]
    spec = {
        "driver": "zarr3",
        "kvstore": {"driver": "ocdbt", "base": {"driver": "file", "path": str(path)}, "path": f"{name}/"},
        "metadata": {"shape": list(array.shape), "data_type": str(array.dtype), "chunk_grid": grid, "codecs": codecs},
        "create": True,
        "delete_existing": True,
    }
    tensorstore.open(spec).result().write(array).result()


@pytest.mark.parametrize("more", [dict(compressed=True), dict(chunk=(10**6,))], ids=["compressed", "chunk"])
def test_arrays_that_are_stored_otherwise_are_not_read(tmp_path, more):
    from jaxtune.checkpoint import _orbax

    array = np.ones(1000, np.float32)
    described = _orbax.described(_orbax.save(tmp_path / "a", {"a": array}))
    stored_otherwise(tmp_path / "a", "0", array)
    assert (_orbax.load(tmp_path / "a", described, None)["a"] == array).all()  # what is forged is read
    stored_otherwise(tmp_path / "a", "0", array, **more)
    with pytest.raises(ValueError, match="compressed, or in other chunks than were written"):
        _orbax.load(tmp_path / "a", described, None)


def test_arrays_that_say_another_size_than_the_record_are_not_read(tmp_path):
    from jaxtune.checkpoint import _orbax

    described = _orbax.save(tmp_path / "large", {"a": np.ones(1000, np.float32)})
    for forged in (dict(shape=(2,)), dict(dtype="int32"), dict(shape=(10, 100))):
        with pytest.raises(ValueError, match="its arrays have other shapes than were written"):
            _orbax.load(tmp_path / "large", [{**_orbax.described(described)[0], **forged}], None)
