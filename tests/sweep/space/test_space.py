"""Products, named arms, drawn arms."""

import numpy as np
import pytest
from scipy import stats

import jaxtune as jt


def settings(space):
    return [space.values(i) for i in range(len(space))]


def test_a_grid_is_every_combination_the_last_axis_fastest():
    space = jt.grid(a=[0.1, 0.2], b=["x", "y"])
    expected = [dict(a=a, b=b) for a in (0.1, 0.2) for b in ("x", "y")]
    assert settings(space) == expected and space.shape == (2, 2)
    assert [space.static_labels(i) for i in range(4)] == [{"b": "x"}, {"b": "y"}] * 2


def test_arms_are_the_default_with_changes():
    space = jt.arms(dict(l2=0.0, bn=False), {"with BN": dict(bn=True)}, l2=dict(l2=0.1), all=dict(l2=0.1, bn=True))
    assert settings(space) == [
        dict(l2=0.0, bn=False),
        dict(l2=0.0, bn=True),
        dict(l2=0.1, bn=False),
        dict(l2=0.1, bn=True),
    ]
    coordinates = space.coordinates()
    assert coordinates["arm"][1].tolist() == ["default", "with BN", "l2", "all"]
    assert coordinates["l2"][0] == "arm" and coordinates["l2"][1].tolist() == [0.0, 0.0, 0.1, 0.1]
    assert space.stacked([3, 0])["l2"].tolist() == pytest.approx([0.1, 0.0])


def test_spaces_multiply():
    space = jt.arms(dict(l2=0.0), l2=dict(l2=0.1)) * jt.grid(lr=[0.1, 0.2, 0.3])
    assert space.shape == (2, 3) and settings(space)[4] == dict(l2=0.1, lr=0.2)
    assert [d.name for d in space.dims] == ["arm", "lr"]
    with pytest.raises(TypeError):
        space * 3


@pytest.mark.parametrize("method", ["sobol", "random", "latin"])
def test_draws_follow_their_distributions(method):
    space = jt.sample(
        256, method=method, lr=jt.log_uniform(1e-4, 1e-1), dropout=jt.uniform(0.1, 0.6), width=jt.choice([32, 64, 128])
    )
    values = settings(space)
    lr, dropout = np.array([v["lr"] for v in values]), np.array([v["dropout"] for v in values])
    assert stats.kstest((np.log10(lr) + 4) / 3, "uniform").pvalue > 0.01
    assert stats.kstest((dropout - 0.1) / 0.5, "uniform").pvalue > 0.01
    counts = np.unique([v["width"] for v in values], return_counts=True)[1]
    assert len(counts) == 3 and (abs(counts - 256 / 3) < 30).all()
    assert [a.traced for a in space.axes] == [True, True, False]
    assert settings(jt.sample(4, lr=jt.uniform(0, 1))) == settings(jt.sample(4, lr=jt.uniform(0, 1)))
    assert settings(jt.sample(4, lr=jt.uniform(0, 1), seed=1)) != settings(jt.sample(4, lr=jt.uniform(0, 1)))


def test_sobol_fills_evenly():
    values = sorted(v["x"] for v in settings(jt.sample(16, x=jt.uniform(0.0, 1.0))))
    assert [int(v * 16) for v in values] == list(range(16))


@pytest.mark.parametrize("n", [1, 3, 7])
def test_any_number_can_be_drawn(n):
    space = jt.sample(n, x=jt.uniform(0.0, 1.0))
    assert len(space) == n and space.coordinates()["arm"][1].tolist() == list(range(n))
