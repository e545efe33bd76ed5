"""What is drawn is what the cube says."""

import numpy as np
import pytest
from scipy import stats

import jaxtune as jt
from jaxtune.results import KeptVariables
from jaxtune.results._dataset import make_dataset

STEPS = np.array([10, 20, 30])


def result(n_l2=3):
    """Two widths, some strengths of L2, four seeds; one trial stopped at 10, one diverged."""
    rng = np.random.default_rng(0)
    shape = (2 * n_l2, 4)
    curves = np.exp(rng.normal(size=(*shape, 3))).astype(np.float32)
    status = np.full(shape, "finished", dtype="U8")
    best_step = np.full(shape, 30)
    status[0, 0], best_step[0, 0] = "stopped", 10
    curves[0, 0, 1:] = np.nan
    status[1, 1], best_step[1, 1] = "diverged", 10
    curves[1, 1, 1:] = np.nan
    coordinates = {
        "width": ("width", np.array([4, 8])),
        "l2": ("l2", np.array([0.0, 1e-4, 1e-2, 1e-1, 1.0, 10.0][:n_l2])),
    }
    finals = {"status": status, "best_step": best_step, "test_loss": rng.random(shape).astype(np.float32)}
    dataset = make_dataset(coordinates, ["width", "l2"], range(4), STEPS, {"valid_loss": curves}, finals, {}, [])
    return jt.Result(dataset, KeptVariables(np.full((*shape, 2), -1), []))


def test_learning_curves_show_mean_and_interval():
    r = result()
    (ax,) = jt.plots.learning_curves(r, "valid_loss").axes
    assert [line.get_label() for line in ax.lines][:2] == ["4, 0", "4, 0.0001 (1 lost)"] and len(ax.lines) == 6
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("updates", "validation loss")
    values = r.dataset["valid_loss"].values[0, 0].astype(float)
    values[0, 1:] = values[0, 0]  # a stopped trial keeps its last value
    np.testing.assert_allclose(ax.lines[0].get_ydata(), values.mean(axis=0))
    low, high = stats.t.interval(0.95, 3, values.mean(axis=0), stats.sem(values, axis=0))
    band = ax.collections[0].get_paths()[0].vertices
    for step, a, b in zip(STEPS, low, high, strict=True):
        ends = band[band[:, 0] == step][:, 1]
        np.testing.assert_allclose([ends.min(), ends.max()], [a, b], rtol=1e-6)
    lost = r.dataset["valid_loss"].values[0, 1, [0, 2, 3]].astype(float)
    np.testing.assert_allclose(ax.lines[1].get_ydata(), lost.mean(axis=0))


def test_response_shows_kept_values_over_the_axis():
    r = result()
    (ax,) = jt.plots.response(r, "valid_loss", axis="l2").axes
    assert ax.get_xscale() == "symlog" and [line.get_label() for line in ax.lines] == ["4 (1 lost)", "8"]
    kept = r.dataset["valid_loss"].values[0, 0, [0, 1, 2, 3], [0, 2, 2, 2]].astype(float)
    assert ax.lines[0].get_ydata()[0] == pytest.approx(kept.mean())
    assert ax.lines[0].get_xdata().tolist() == [0.0, 1e-4, 1e-2]
    (one,) = jt.plots.response(r, "test_loss", axis="width", l2=1e-4).axes
    assert one.get_xscale() == "linear" and one.get_xlabel() == "width"


def test_draws_into_axes_that_are_given():
    from matplotlib.figure import Figure

    figure = Figure()
    ax = figure.subplots()
    assert jt.plots.learning_curves(result(), "valid_loss", ax=ax, width=4) is figure and len(ax.lines) == 3


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: jt.plots.learning_curves(result(), "test_loss"), "not followed"),
        (lambda: jt.plots.learning_curves(result(6), "valid_loss"), "more than 10 curves"),
        (lambda: jt.plots.response(result(), "valid_loss", axis="lr"), "no such axis"),
        (lambda: jt.plots.response(result(), "valid_f1", axis="l2"), "not measured"),
        (lambda: jt.plots.response(result(), "valid_loss", axis="l2", width=5), "no such value"),
        (lambda: jt.plots.learning_curves(result(), "valid_loss", depth=5), "no such axis"),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()
