"""Reading the cube: kept values, rows, labels of settings."""

import cubes
import numpy as np
import pytest

from jaxtune.results import _cube

LABELS = {
    "l2": ("l2", [0.0, 1e-4, 0.1]),
    "norm": ("norm", [False, True]),
    "width": ("width", [1, 0]),
    "kind": ("kind", ["relu", "1"]),
    "lr": ("lr", [0.5]),
}
DIMS = list(LABELS)


def _labelled():
    return cubes.cube(LABELS, DIMS, np.zeros((3, 2, 2, 2, 1, 2, 3)), seeds=[4, 7]).dataset


def test_metrics_are_read_at_the_kept_step_and_lost_trials_are_unknown():
    made = cubes.grid_cube()
    np.testing.assert_array_equal(_cube.at_kept(made.dataset, "valid_loss"), made.kept)
    assert np.isnan(made.kept).sum() == 2 and len({*made.dataset["best_step"].values.flat}) == 4


def test_metrics_without_steps_are_read_as_they_are_where_trials_ended_well():
    made = cubes.grid_cube()
    expected = np.where(np.isin(made.status, ["finished", "stopped"]), made.test, np.nan)
    np.testing.assert_array_equal(_cube.at_kept(made.dataset, "test_loss"), expected)


@pytest.mark.parametrize("status", ["diverged", "pruned", "failed", "running"])
def test_only_finished_and_stopped_trials_ended_well(status):
    made = cubes.arms_cube(status=np.array([[status, "finished", "stopped", "finished", "finished"]] * 3))
    np.testing.assert_array_equal(_cube.ended_well(made.dataset), [[False, True, True, True, True]] * 3)


@pytest.mark.parametrize("metric", ["valid_accuracy", "loss", "status", "best_step", "l2", ""])
def test_metrics_that_were_not_measured_are_refused(metric):
    with pytest.raises(ValueError, match=r"`metric` is .*not measured.*valid_loss, train_loss, test_loss"):
        _cube.at_kept(cubes.arms_cube().dataset, metric)


def test_rows_are_arms_in_the_order_of_their_labels():
    made = cubes.grid_cube()
    rows = _cube.rows(made.dataset, made.dataset["test_loss"].transpose("seed", "width", "l2"))
    assert rows.dtype == np.float64
    for row, (l2, width) in zip(rows, _cube.arm_index(made.dataset), strict=True):
        np.testing.assert_array_equal(row, made.dataset["test_loss"].sel(l2=l2, width=width))


def test_drawn_columns_follow_the_rows():
    columns = _cube.drawn_columns(cubes.sampled_cube().dataset)
    assert {n: c.tolist() for n, c in columns.items()} == {
        "lr": [0.1, 0.1, 0.025, 0.025, 0.3, 0.3, 0.0125, 0.0125],
        "kind": ["sgd", "sgd", "adam", "adam", "sgd", "sgd", "sgd", "sgd"],
    }


def test_named_arms_and_grids_have_no_drawn_columns():
    assert _cube.drawn_columns(cubes.arms_cube().dataset) == _cube.drawn_columns(cubes.grid_cube().dataset) == {}


@pytest.mark.parametrize(
    ("dim", "label", "position"),
    [
        ("l2", 1e-4, 1),
        ("l2", 0, 0),
        ("l2", "0.1", 2),
        ("l2", "0.0001", 1),
        ("l2", "1e-4", 1),
        ("l2", np.float64(0.1), 2),
        ("l2", -0.0, 0),
        ("norm", True, 1),
        ("norm", False, 0),
        ("norm", np.True_, 1),
        ("norm", np.False_, 0),
        ("width", 1, 0),
        ("width", 0, 1),
        ("width", 1.0, 0),
        ("width", "1", 0),
        ("width", np.int64(0), 1),
        ("kind", "relu", 0),
        ("kind", np.str_("relu"), 0),
        ("kind", 1, 1),
        ("seed", 7, 1),
        ("seed", "4", 0),
    ],
)
def test_positions_of_labels(dim, label, position):
    assert _cube.positions(_labelled(), {dim: label}, [dim]) == {dim: position}


@pytest.mark.parametrize(
    ("dim", "label"),
    [
        ("l2", 0.2),
        ("l2", np.nan),
        ("l2", False),
        ("l2", None),
        ("l2", "zero"),
        ("norm", 1),
        ("norm", 0.0),
        ("norm", "yes"),
        ("width", True),
        ("width", False),
        ("width", 2),
        ("kind", "RELU"),
        ("seed", 0),
    ],
)
def test_unknown_labels_are_refused_with_those_there_are(dim, label):
    dataset = _labelled()
    with pytest.raises(ValueError, match=f"`{dim}` is .*: this axis has no such value. Values: ") as caught:
        _cube.positions(dataset, {dim: label}, [dim])
    assert str(dataset[dim].values.tolist()) in str(caught.value)


def test_unknown_axes_are_refused_with_those_there_are():
    with pytest.raises(ValueError, match="`depth` is 3: the result has no such axis. Axes: l2, norm, width, kind, lr"):
        _cube.positions(_labelled(), {"l2": 0.1, "depth": 3}, DIMS)


def test_axes_of_one_value_may_be_left_out_and_others_may_not():
    setting = dict(l2=0.1, norm=True, width=0, kind="relu")
    assert _cube.positions(_labelled(), setting, DIMS) == dict(l2=2, norm=1, width=1, kind=0, lr=0)
    with pytest.raises(
        ValueError, match=r"`norm` is None: this axis has several values. Choose one of \[False, True\]"
    ):
        _cube.positions(_labelled(), dict(l2=0.1, width=0, kind="relu"), DIMS)
