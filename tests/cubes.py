"""Cubes of known values that more than one test file needs."""

from typing import Any, NamedTuple

import numpy as np

from jaxtune.results._dataset import make_dataset

STEPS = np.array([2, 4, 6])


class Cube(NamedTuple):
    """A data set, and the arrays that it was made of; `kept` holds validation losses at the kept step, NaN where lost."""

    dataset: Any
    valid: np.ndarray
    test: np.ndarray
    kept: np.ndarray
    status: np.ndarray


def cube(coordinates, dims, valid, *, test=None, best_step=None, status=None, seeds=None, modes=None):
    """Returns a cube from validation losses of shape (*dims, seeds, 3 steps)."""
    valid = np.asarray(valid, np.float32)
    shape = valid.shape[:-1]
    test = np.asarray(valid[..., -1] + 10 if test is None else test, np.float32)
    best_step = np.full(shape, 6) if best_step is None else np.asarray(best_step)
    status = np.full(shape, "finished") if status is None else np.asarray(status)
    kept = np.full(shape, np.nan)
    for place in np.ndindex(shape):
        if status[place] in ("finished", "stopped"):
            kept[place] = valid[place][STEPS.tolist().index(best_step[place])]

    def flat(a):
        return a.reshape(-1, *a.shape[len(dims) :])

    dataset = make_dataset(
        {name: (dim, np.asarray(labels)) for name, (dim, labels) in coordinates.items()},
        dims,
        range(shape[-1]) if seeds is None else seeds,
        STEPS,
        {"valid_loss": flat(valid), "train_loss": flat(valid / 2)},
        {"test_loss": flat(test), "status": flat(status), "best_step": flat(best_step)},
        {"loss": "min"} if modes is None else modes,
        [],
    )
    return Cube(dataset, valid, test, kept, status)


def grid_cube():
    """Returns 2 values of `l2` by 3 of `width` by 4 seeds; kept steps differ, two trials are lost, one stopped early."""
    valid = np.random.default_rng(0).normal(1.0, 0.2, (2, 3, 4, 3)).astype(np.float32)
    best_step = np.random.default_rng(1).choice(STEPS, (2, 3, 4))
    status = np.full((2, 3, 4), "finished")
    status[0, 1, 2], status[1, 2, 0], status[1, 0, 3] = "diverged", "failed", "stopped"
    best_step[0, 1, 2], valid[0, 1, 2] = 0, np.nan  # diverged before anything was measured
    best_step[1, 0, 3], valid[1, 0, 3, 2] = 2, np.nan
    coordinates = {"l2": ("l2", [0.0, 1e-3]), "width": ("width", [8, 16, 32])}
    return cube(coordinates, ["l2", "width"], valid, best_step=best_step, status=status, seeds=[3, 5, 8, 13])


def arms_cube(**changes):
    """Returns the named arms `default`, `l2` and `both` by 5 seeds."""
    valid = np.random.default_rng(2).normal(1.0, 0.2, (3, 5, 3)) - np.array([0.0, 0.2, 0.5])[:, None, None]
    coordinates = {"l2": ("arm", [0.0, 0.1, 0.1]), "arm": ("arm", ["default", "l2", "both"])}
    return cube(coordinates, ["arm"], valid, **changes)


def sampled_cube():
    """Returns 4 drawn arms by 2 values of `width` by 5 seeds."""
    valid = np.random.default_rng(3).normal(1.0, 0.2, (4, 2, 5, 3))
    coordinates = {
        "lr": ("arm", [0.1, 0.025, 0.3, 0.0125]),
        "kind": ("arm", ["sgd", "adam", "sgd", "sgd"]),
        "arm": ("arm", np.arange(4)),
        "width": ("width", [8, 16]),
    }
    return cube(coordinates, ["arm", "width"], valid)
