"""The cube as an xarray data set and as NetCDF."""

import json

import cubes
import h5py
import numpy as np
import pytest

from jaxtune.results._dataset import make_dataset, read_dataset, write_dataset

LABELS = {
    "lr": np.array([0.1, 1e-4, np.pi, np.inf, 5e-324]),
    "norm": np.array([False, True]),
    "kind": np.array(["relu", "größer", ""]),
    "width": np.array([2**53 + 1, 8]),
}


def _dataset():
    """Returns a cube with coordinates of every type, and values of every bit pattern that matters."""
    coordinates = {name: (name, labels) for name, labels in LABELS.items()}
    coordinates["drawn"] = ("lr", np.array([0.1, 0.2, 0.3, 0.4, 0.5]))
    rng = np.random.default_rng(0)
    curve = rng.normal(size=(60, 2, 3)).astype(np.float32)
    curve[0, 0] = np.nan, np.inf, -0.0
    finals = {
        "test_loss": rng.normal(size=(60, 2)).astype(np.float32),
        "status": np.array(["finished", "diverged"])[rng.integers(0, 2, (60, 2))],
        "best_step": rng.integers(0, 7, (60, 2)),
    }
    modes = {"loss": "min", "accuracy": "max", "own": None}
    curves = {"valid_loss": curve, "valid_accuracy": -curve, "valid_own": curve, "train_loss": curve}
    return make_dataset(
        coordinates, list(LABELS), [3, 2**32 - 1], np.array([2, 4, 6]), curves, finals, modes, ["trace"]
    )


def test_values_lie_where_their_arm_seed_and_step_are():
    dataset = _dataset()
    assert dataset["valid_loss"].dims == ("lr", "norm", "kind", "width", "seed", "step")
    assert dataset["status"].dims == dataset["test_loss"].dims == ("lr", "norm", "kind", "width", "seed")
    curve = np.arange(12 * 3, dtype=np.float32).reshape(3 * 2, 2, 3)
    coordinates = {"a": ("a", np.array([0.1, 0.2, 0.3])), "b": ("b", np.array([1, 2]))}
    small = make_dataset(coordinates, ["a", "b"], [5, 9], cubes.STEPS, {"valid_loss": curve}, {}, {}, [])
    assert small["valid_loss"].sel(a=0.2, b=1, seed=9, step=4) == curve[2, 1, 1]


def test_metrics_say_whether_less_or_more_is_better():
    modes = {name: v.attrs.get("mode") for name, v in _dataset().data_vars.items()}
    assert modes == {
        "valid_loss": "min",
        "train_loss": "min",
        "test_loss": "min",
        "valid_accuracy": "max",
        "valid_own": None,
        "status": None,
        "best_step": None,
    }


def test_failures_are_kept_as_json_and_absent_where_there_are_none():
    assert json.loads(_dataset().attrs["failures"]) == ["trace"]
    assert cubes.grid_cube().dataset.attrs == {}


def test_netcdf_gives_back_every_bit(tmp_path):
    dataset = _dataset()
    write_dataset(dataset, tmp_path / "results.nc")
    back = read_dataset(tmp_path / "results.nc")
    assert list(back.variables) == list(dataset.variables) and back.attrs == dataset.attrs
    for name, variable in dataset.variables.items():
        found = back.variables[name]
        assert (found.dims, found.dtype, found.attrs) == (variable.dims, variable.dtype, variable.attrs), name
        assert found.values.tobytes() == variable.values.tobytes(), name
    assert set(back.coords) == set(dataset.coords)


@pytest.mark.parametrize("name", list(LABELS))
def test_netcdf_gives_back_coordinates_exactly_as_written(tmp_path, name):
    write_dataset(_dataset(), tmp_path / "results.nc")
    labels = read_dataset(tmp_path / "results.nc")[name].values
    assert labels.dtype == LABELS[name].dtype and labels.tolist() == LABELS[name].tolist()


def test_reading_holds_no_file_open(tmp_path):
    write_dataset(_dataset(), tmp_path / "results.nc")
    back = read_dataset(tmp_path / "results.nc")
    (tmp_path / "results.nc").unlink()
    assert back.identical(_dataset())


def test_the_same_cube_makes_the_same_file(tmp_path):
    for name in "ab":
        write_dataset(_dataset(), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_truncated_files_are_refused(tmp_path, share):
    path = tmp_path / "results.nc"
    write_dataset(_dataset(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"results.nc' cannot be read as results: .*Run the experiment again"):
        read_dataset(path)


@pytest.mark.parametrize("content", [b"", b"results", b"\0" * 4096, b"CDF\1" + b"\0" * 64])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "results.nc").write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read as results"):
        read_dataset(tmp_path / "results.nc")


def test_missing_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="results.nc' cannot be read as results"):
        read_dataset(tmp_path / "results.nc")


@pytest.mark.parametrize("error", [OSError, RuntimeError, KeyError, ValueError])
def test_whatever_the_reader_raises_is_told_as_a_damaged_file(tmp_path, monkeypatch, error):
    # HDF5 answers damage with any of these, a RuntimeError among them.
    def damaged(*args, **kwargs):
        raise error("bad object header")

    h5py.File(tmp_path / "results.nc", "w").close()
    monkeypatch.setattr("xarray.open_dataset", damaged)
    with pytest.raises(ValueError, match="cannot be read as results: .*bad object header"):
        read_dataset(tmp_path / "results.nc")
