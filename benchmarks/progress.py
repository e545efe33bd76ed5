"""What the progress bar costs: the same run with a bar and without, in alternating pairs.

    python benchmarks/progress.py [--pairs 9] [--check] [--json FILE]

Prints the ratio of the times, with and without; `--check` exits with 1 if its median is over 1.02 with certainty, which
is if the whole 95% interval of the median lies above it.
"""

import argparse
import contextlib
import functools as ft
import io
import json
import platform
import sys
import time

import jax
import numpy as np
import optax
from _pairs import alternate, compare
from _training import Training

import jaxtune as jt
from jaxtune.sweep._progress import progress_bar

GOAL = 1.02


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self):
        return True


def recipe(hp):
    model = jt.models.MLP((128, 128), hp.run.outputs, dropout=hp.dropout)
    return jt.Recipe(model, optimizer=optax.adam(1e-3), batch_size=64)


def seconds(training, show):
    """Returns the seconds of a run, with a bar or without."""
    screen = Terminal()
    with contextlib.redirect_stderr(screen):
        began = time.perf_counter()
        with progress_bar(training.trials * training.steps, training.trials, show) as report:
            training.run(report=report)
        took = time.perf_counter() - began
    if bool(screen.getvalue()) != show:
        raise RuntimeError("the bar was drawn when it should not, or was not")
    return took


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--json")
    given = parser.parse_args()

    space = jt.grid(dropout=np.linspace(0, 0.7, 8).tolist())
    training = Training(jt.Experiment(recipe, space, jt.data.load("digits"), steps=400, seeds=4))
    seconds(training, True), seconds(training, False)
    took = alternate(given.pairs, {show: ft.partial(seconds, training, show) for show in (True, False)})
    compared = compare(took[True], took[False])
    ratios, median, (low, high) = sorted(compared["ratios"]), compared["median"], compared["interval"]
    print(
        f"progress bar on / off, {given.pairs} pairs of {training.trials} trials x {training.steps} updates: {median:.3f} [{low:.3f}, {high:.3f}]"
    )
    if given.json:
        facts = {"ratios": ratios, "median": median, "interval": [low, high], "jax": jax.__version__}
        with open(given.json, "w") as file:
            json.dump(facts | {"device": jax.devices()[0].device_kind, "machine": platform.machine()}, file, indent=1)
    return int(given.check and low > GOAL)


if __name__ == "__main__":
    sys.exit(main())
