"""The three tables against values worked out arm by arm with SciPy."""

import cubes
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from jaxtune.results import Result

COLUMNS = ["difference", "low", "high", "p", "p_holm", "p_sign_flip", "p_sign_flip_floor", "pairs", "lost"]


def _result(made):
    return Result(made.dataset, None)


def _t(values, level=0.95):
    values = values[~np.isnan(values)]
    low, high = stats.t.interval(level, len(values) - 1, loc=values.mean(), scale=stats.sem(values))
    return [values.mean(), low, high, len(values)]


def _holm(p):
    order, adjusted, highest = np.argsort(p), np.empty(len(p)), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, p[i] * (len(p) - rank)))
        adjusted[i] = highest
    return adjusted


def _is_paired_difference(row, arm, base):
    """Asserts that a row of `compare` holds arm minus base over the seeds that both have."""
    both = ~np.isnan(arm) & ~np.isnan(base)
    mean, low, high, pairs = _t((arm - base)[both])
    np.testing.assert_allclose([row["difference"], row["low"], row["high"], row["pairs"]], [mean, low, high, pairs])
    assert row["p"] == pytest.approx(stats.ttest_rel(arm[both], base[both]).pvalue)
    flips = stats.permutation_test(((arm - base)[both],), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert row["p_sign_flip"] == pytest.approx(flips.pvalue) and row["p_sign_flip_floor"] == 2 / 2**pairs
    assert row["lost"] == np.isnan(arm).sum()


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_summary_is_mean_and_t_interval_of_the_trials_that_ended_well(level):
    made = cubes.grid_cube()
    table = _result(made).summary("valid_loss", level=level)
    assert list(table.columns) == ["mean", "low", "high", "n", "lost"] and table.index.names == ["l2", "width"]
    assert list(table.index) == [(l2, width) for l2 in (0.0, 1e-3) for width in (8, 16, 32)]
    for row, values in zip(table.to_numpy(), made.kept.reshape(6, 4), strict=True):
        np.testing.assert_allclose(row, [*_t(values, level), np.isnan(values).sum()])
    assert table["lost"].tolist() == [0, 1, 0, 0, 0, 1] and table["n"].tolist() == [4, 3, 4, 4, 4, 3]
    assert f"{level:.0%}" in table.attrs["note"] and "one split" in table.attrs["note"]


def test_summary_of_an_arm_without_good_trials_is_unknown_and_counts_them():
    status = np.full((3, 5), "finished")
    status[1] = "diverged"
    row = _result(cubes.arms_cube(status=status)).summary("valid_loss").loc["l2"]
    np.testing.assert_array_equal(row, [np.nan, np.nan, np.nan, 0, 5])


def test_summary_of_drawn_arms_begins_with_what_was_drawn():
    made = cubes.sampled_cube()
    table = _result(made).summary("valid_loss")
    assert list(table.columns) == ["lr", "kind", "mean", "low", "high", "n", "lost"]
    assert table["lr"].tolist() == np.repeat([0.1, 0.025, 0.3, 0.0125], 2).tolist()
    np.testing.assert_allclose(table["mean"], made.kept.mean(axis=-1).ravel())


@pytest.mark.parametrize("name", ["n", "mean", "lost"])
def test_summary_has_room_for_drawn_values_of_any_name(name):
    coordinates = {name: ("arm", [0.1, 0.2]), "arm": ("arm", [0, 1])}
    table = _result(cubes.cube(coordinates, ["arm"], np.ones((2, 3, 3)))).summary("valid_loss")
    assert [0.1, 0.2] in [table.iloc[:, i].tolist() for i in range(table.shape[1])]


def test_compare_with_one_value_of_an_axis_pairs_arms_that_agree_in_the_others():
    made = cubes.grid_cube()
    table = _result(made).compare("valid_loss", dict(l2=0.0))
    assert list(table.columns) == COLUMNS and list(table.index) == [(1e-3, 8), (1e-3, 16), (1e-3, 32)]
    for i, (_, row) in enumerate(table.iterrows()):
        _is_paired_difference(row, made.kept[1, i], made.kept[0, i])
    np.testing.assert_allclose(table["p_holm"], _holm(table["p"].to_numpy()))
    assert table["pairs"].tolist() == [4, 3, 3] and table["lost"].tolist() == [0, 0, 1]


def test_compare_with_a_value_of_the_second_axis_pairs_along_the_first():
    made = cubes.grid_cube()
    table = _result(made).compare("valid_loss", dict(width="16"))
    assert list(table.index) == [(0.0, 8), (0.0, 32), (1e-3, 8), (1e-3, 32)]
    for (l2, width), row in table.iterrows():
        i, j = [0.0, 1e-3].index(l2), [8, 16, 32].index(width)
        _is_paired_difference(row, made.kept[i, j], made.kept[i, 1])


def test_compare_with_one_arm_compares_all_others_with_it():
    made = cubes.grid_cube()
    table = _result(made).compare("valid_loss", dict(width=32, l2=0.0))
    assert list(table.index) == [(0.0, 8), (0.0, 16), (1e-3, 8), (1e-3, 16), (1e-3, 32)]
    for row, (i, j) in zip(table.iloc, [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)], strict=True):
        _is_paired_difference(row, made.kept[i, j], made.kept[0, 2])
    np.testing.assert_allclose(table["p_holm"], _holm(table["p"].to_numpy()))
    assert "l2=0.0" in table.attrs["note"] and "1/8, 1/4" in table.attrs["note"] and "5 arms" in table.attrs["note"]


@pytest.mark.parametrize("baseline", [None, "default", dict(arm="default")])
def test_compare_of_named_arms_is_with_the_default(baseline):
    made = cubes.arms_cube()
    table = _result(made).compare("valid_loss", baseline)
    assert list(table.index) == ["l2", "both"]
    for row, arm in zip(table.iloc, made.kept[1:], strict=True):
        _is_paired_difference(row, arm, made.kept[0])


def test_compare_with_a_drawn_arm():
    made = cubes.sampled_cube()
    table = _result(made).compare("valid_loss", dict(arm=2))
    assert list(table.index) == [(a, w) for a in (0, 1, 3) for w in (8, 16)]
    for (arm, width), row in table.iterrows():
        j = [8, 16].index(width)
        _is_paired_difference(row, made.kept[arm, j], made.kept[2, j])


def test_compare_with_the_bootstrap_differs_in_the_intervals_alone():
    result = _result(cubes.arms_cube())
    t, bootstrap = result.compare("valid_loss"), result.compare("valid_loss", method="bootstrap")
    same = [c for c in COLUMNS if c not in ("low", "high")]
    pd.testing.assert_frame_equal(t[same], bootstrap[same])
    assert (t["low"] != bootstrap["low"]).all() and (bootstrap["low"] < bootstrap["high"]).all()
    assert "studentized bootstrap" in bootstrap.attrs["note"]


def test_compare_leaves_arms_without_pairs_unknown_and_out_of_the_correction():
    status = np.full((3, 5), "finished")
    status[1] = "failed"
    table = _result(cubes.arms_cube(status=status)).compare("valid_loss")
    unknown = table.loc["l2"]
    assert (unknown["pairs"], unknown["lost"]) == (0, 5)
    assert unknown.drop(["pairs", "lost"]).isna().all()
    assert table.loc["both", "p_holm"] == table.loc["both", "p"]


def test_compare_of_one_arm_with_itself_is_an_empty_table():
    made = cubes.cube({"l2": ("l2", [0.1])}, ["l2"], np.ones((1, 3, 3)))
    table = _result(made).compare("valid_loss", dict(l2=0.1))
    assert list(table.columns) == COLUMNS and len(table) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("valid_loss", None), "`baseline` is None: .*Name values of l2, width"),
        (("valid_loss", {}), "`baseline` is {}: it names no axis"),
        (("valid_loss", dict(depth=3)), "`depth` is 3: the result has no such axis. Axes: l2, width"),
        (("valid_loss", dict(l2=0.0, depth=3)), "`depth` is 3: the result has no such axis"),
        (("valid_loss", dict(seed=3)), "`seed` is 3: the result has no such axis"),
        (("valid_loss", "default"), "`arm` is 'default': the result has no such axis"),
        (("valid_loss", dict(l2=0.5)), r"`l2` is 0.5: this axis has no such value. Values: \[0.0, 0.001\]"),
        (("valid_lost", dict(l2=0.0)), "`metric` is 'valid_lost': it was not measured"),
    ],
)
def test_compare_refuses_what_it_cannot_compare_with(arguments, message):
    with pytest.raises(ValueError, match=message):
        _result(cubes.grid_cube()).compare(*arguments)


def test_compare_refuses_a_drawn_value_as_an_axis():
    with pytest.raises(ValueError, match="`lr` is 0.1: the result has no such axis. Axes: arm, width"):
        _result(cubes.sampled_cube()).compare("valid_loss", dict(lr=0.1))


def test_compare_refuses_an_unknown_method():
    with pytest.raises(ValueError, match="`method` is 'percentile'"):
        _result(cubes.grid_cube()).compare("valid_loss", dict(l2=0.0), method="percentile")


@pytest.mark.parametrize("level", [0.0, 1.0, 95, float("nan")])
@pytest.mark.parametrize("call", ["summary", "compare", "best"])
def test_levels_are_between_0_and_1(call, level):
    with pytest.raises(ValueError, match="`level` is"):
        getattr(_result(cubes.arms_cube()), call)("valid_loss", level=level)


@pytest.mark.parametrize(("mode", "arm"), [(None, 2), ("min", 2), ("max", 0)])
def test_best_is_the_arm_of_the_best_mean_and_reads_the_test_split_for_it_alone(mode, arm):
    made = cubes.arms_cube()
    assert (made.kept.mean(axis=1).argmin(), made.kept.mean(axis=1).argmax()) == (2, 0)
    best = _result(made).best("valid_loss", mode=mode)
    assert (best.arm, best.metric, best.lost) == ({"arm": ["default", "l2", "both"][arm]}, "valid_loss", 0)
    np.testing.assert_allclose(best.valid, _t(made.kept[arm]))
    np.testing.assert_allclose(best.test, _t(made.test[arm].astype(np.float64)))


def test_best_maximizes_metrics_that_say_so():
    best = _result(cubes.arms_cube(modes={"loss": "max"})).best("valid_loss")
    assert best.arm == {"arm": "default"}


def test_best_does_not_choose_by_the_test_split():
    made = cubes.arms_cube(test=np.array([[0.0], [1.0], [2.0]]) * np.ones((3, 5)))
    best = _result(made).best("valid_loss")
    assert best.arm == {"arm": "both"} and best.test[:3] == (2.0, 2.0, 2.0)


def test_best_does_not_choose_arms_with_lost_trials_and_counts_these():
    status = np.full((3, 5), "finished")
    status[2, 4], status[0, :2] = "diverged", "failed"
    best = _result(cubes.arms_cube(status=status)).best("valid_loss")
    assert best.arm == {"arm": "l2"} and best.lost == 3
    assert "arm=l2" in str(best) and "3 trials did not end well" in str(best) and "over 5 seeds" in str(best)


def test_best_of_a_grid_names_every_axis():
    made = cubes.grid_cube()
    means = np.where(np.isnan(made.kept).any(axis=-1), np.inf, made.kept.mean(axis=-1))
    i, j = np.unravel_index(means.argmin(), means.shape)
    best = _result(made).best("valid_loss")
    assert best.arm == {"l2": [0.0, 1e-3][i], "width": [8, 16, 32][j]} and best.lost == 2
    assert {type(v) for v in best.arm.values()} == {float, int}


@pytest.mark.parametrize(("per", "labels"), [("l2", [0.0, 1e-3]), ("width", [8, 16, 32])])
def test_best_per_is_the_best_of_each_slice(per, labels):
    made = cubes.grid_cube()
    table = _result(made).best("valid_loss", per=per)
    assert table.index.tolist() == labels and table.index.name == per
    for label, row in zip(labels, table.iloc, strict=True):
        kept = made.kept if per == "l2" else made.kept.transpose(1, 0, 2)
        test = made.test if per == "l2" else made.test.transpose(1, 0, 2)
        own, own_test = kept[labels.index(label)], test[labels.index(label)]
        means = np.where(np.isnan(own).any(axis=-1), np.inf, own.mean(axis=-1))
        chosen = means.argmin()
        assert row["width" if per == "l2" else "l2"] == ([8, 16, 32] if per == "l2" else [0.0, 1e-3])[chosen]
        np.testing.assert_allclose(row[["valid_mean", "valid_low", "valid_high", "n"]].tolist(), _t(own[chosen]))
        expected = _t(own_test[chosen].astype(np.float64))[:3]
        np.testing.assert_allclose(row[["test_mean", "test_low", "test_high"]].tolist(), expected)
        assert row["lost"] == np.isnan(own).sum()
    assert per in table.attrs["note"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(metric="test_loss"), "chosen on validation only. Pass 'valid_loss'"),
        (dict(metric="train_loss"), "chosen on validation only. Pass 'valid_loss'"),
        (dict(metric="loss"), "chosen on validation only. Pass 'valid_loss'"),
        (dict(metric="valid_accuracy"), "`metric` is 'valid_accuracy': it was not measured"),
        (dict(metric="valid_loss", mode="low"), "`mode` is 'low': it is not known"),
        (dict(metric="valid_loss", per="depth"), "`per` is 'depth': the result has no such axis. Axes: arm"),
    ],
)
def test_best_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        _result(cubes.arms_cube()).best(**arguments)


def test_best_wants_the_mode_of_metrics_that_do_not_say():
    result = _result(cubes.arms_cube(modes={}))
    with pytest.raises(ValueError, match="`mode` is None: it is not known whether less or more of valid_loss"):
        result.best("valid_loss")
    assert result.best("valid_loss", mode="min").arm == {"arm": "both"}


def test_best_of_nothing_that_ended_well_is_an_error():
    made = cubes.arms_cube(status=np.array([["diverged", "finished", "finished", "finished", "finished"]] * 3))
    with pytest.raises(ValueError, match="no arm has this metric of all its trials"):
        _result(made).best("valid_loss")


def test_best_per_has_a_row_for_values_at_which_trials_were_lost():
    coordinates = {"lr": ("lr", [0.1, 0.2]), "l2": ("l2", [0.0, 1.0])}
    status = np.full((2, 2, 3), "finished")
    status[1, 0], status[1, 1, 0] = "diverged", "diverged"
    made = cubes.cube(coordinates, ["lr", "l2"], np.ones((2, 2, 3, 3)), status=status)
    table = _result(made).best("valid_loss", per="lr")
    assert table["lost"].tolist() == [0, 4] and table.loc[0.1, "valid_mean"] == 1
    assert np.isnan(table.loc[0.2, "valid_mean"])


def test_best_of_drawn_arms_says_what_was_drawn():
    made = cubes.sampled_cube()
    found = _result(made).best("valid_loss")
    assert found.hyperparameters["lr"] == made.dataset["lr"].sel(arm=found.arm["arm"]).item()
    assert f"lr={found.hyperparameters['lr']:.4g}" in str(found)


def folds_cube():
    """Returns 2 values of `l2` by 5 folds by 3 seeds, one trial lost."""
    rng = np.random.default_rng(0)
    valid = (
        rng.normal(1.0, 0.1, (2, 1, 3, 3))
        + rng.normal(0, 0.3, (1, 5, 1, 1))
        + np.array([0.0, 0.4])[:, None, None, None]
    )
    status = np.full((2, 5, 3), "finished")
    status[1, 2, 0] = "diverged"
    coordinates = {"l2": ("l2", [0.0, 1e-3]), "fold": ("fold", range(5))}
    return cubes.cube(coordinates, ["l2", "fold"], valid, status=status)


def corrected(values):
    """Returns mean, interval and p by the formula, with SciPy's t."""
    k = len(values)
    error = values.std(ddof=1) * np.sqrt(1 / k + 1 / (k - 1))
    low, high = stats.t.interval(0.95, k - 1, loc=values.mean(), scale=error)
    return values.mean(), low, high, 2 * stats.t.sf(abs(values.mean() / error), k - 1)


def test_folds_are_the_repeats_that_intervals_are_over():
    made = folds_cube()
    table = _result(made).summary("valid_loss", folds="fold")
    assert table.index.tolist() == [0.0, 1e-3] and table.index.names == ["l2"]
    means = np.nanmean(made.kept, axis=2)
    for row, values, lost in zip(table.itertuples(), means, (0, 1), strict=True):
        mean, low, high, _ = corrected(values)
        np.testing.assert_allclose([row.mean, row.low, row.high, row.n, row.lost], [mean, low, high, 5, lost])
    assert "cover the choice of the data" in table.attrs["note"]


def test_arms_are_compared_seed_by_seed_in_each_fold():
    made = folds_cube()
    table = _result(made).compare("valid_loss", dict(l2=0.0), folds="fold")
    mean, low, high, p = corrected(np.nanmean(made.kept[1] - made.kept[0], axis=1))
    (row,) = table.itertuples()
    np.testing.assert_allclose(
        [row.difference, row.low, row.high, row.p, row.p_holm, row.pairs, row.lost], [mean, low, high, p, p, 5, 1]
    )
    assert list(table.columns) == ["difference", "low", "high", "p", "p_holm", "pairs", "lost"]
    assert "paired by fold" in table.attrs["note"] and "corrected likewise" in table.attrs["note"]


def test_a_lost_trial_does_not_tilt_a_fold():
    valid = np.zeros((2, 3, 3, 3)) + np.arange(3.0)[:, None]  # two arms alike, seeds that differ
    status = np.full((2, 3, 3), "finished")
    status[1, :, 2] = "diverged"
    coordinates = {"l2": ("l2", [0.0, 1e-3]), "fold": ("fold", range(3))}
    made = cubes.cube(coordinates, ["l2", "fold"], valid, status=status)
    (row,) = _result(made).compare("valid_loss", dict(l2=0.0), folds="fold").itertuples()
    assert (row.difference, row.low, row.high, row.p, row.lost) == (0, 0, 0, 1, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [(dict(folds="seed"), "`folds` is 'seed'"), (dict(folds="fold", method="bootstrap"), "alone")],
)
def test_folds_that_are_no_axis_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        _result(folds_cube()).compare("valid_loss", dict(l2=0.0), **options)


def test_what_is_held_out_is_validation():
    result = _result(folds_cube())
    for call in (
        lambda: result.summary("test_loss", folds="fold"),
        lambda: result.compare("test_loss", dict(l2=0.0), folds="fold"),
    ):
        with pytest.raises(ValueError, match="`metric` is 'test_loss': the folds are validation splits"):
            call()
    with pytest.raises(ValueError, match="arms are compared within each fold"):
        result.compare("valid_loss", dict(l2=0.0, fold=1), folds="fold")
