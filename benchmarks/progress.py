"""What the progress bar costs: the same run with a bar and without, in alternating pairs.

    python benchmarks/progress.py [--pairs 9] [--check] [--json FILE]

Prints the ratio of the times, with and without; `--check` exits with 1 if its median is over 1.02 with certainty, which
is if the whole 95% interval of the median lies above it.
"""

import argparse
import contextlib
import io
import json
import platform
import statistics
import sys
import time

import jax
import numpy as np
import optax

import jaxtune as jt
from jaxtune.sweep import _compile, _execute, _programs
from jaxtune.sweep._progress import progress_bar
from jaxtune.training._facts import evaluation_steps

GOAL = 1.02


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self):
        return True


def recipe(hp):
    model = jt.models.MLP((128, 128), hp.run.outputs, dropout=hp.dropout)
    return jt.Recipe(model, optimizer=optax.adam(1e-3), batch_size=64)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--json")
    given = parser.parse_args()

    jt.use_all_cores()
    space = jt.grid(dropout=np.linspace(0, 0.7, 8).tolist())
    experiment = jt.Experiment(recipe, space, jt.data.load("digits"), steps=400, seeds=4)
    built = _programs.build(experiment, lambda static: _programs.Layout())
    (program,) = built.programs
    compiled = _compile.compile_program(program, built.table, jax.local_devices())
    ends = evaluation_steps(built.steps, built.eval_every)
    trials = len(experiment.space) * len(experiment.seed_values)

    def seconds(show):
        screen = Terminal()
        with contextlib.redirect_stderr(screen):
            began = time.perf_counter()
            with progress_bar(trials * built.steps, trials, show) as report:
                _execute.run_program(program, experiment, compiled, ends, False, report)
            took = time.perf_counter() - began
        if bool(screen.getvalue()) != show:
            raise RuntimeError("the bar was drawn when it should not, or was not")
        return took

    seconds(True), seconds(False)
    ratios = []
    for i in range(given.pairs):
        order = (True, False) if i % 2 else (False, True)
        took = {show: seconds(show) for show in order}
        ratios.append(took[True] / took[False])
    ratios.sort()
    # The interval between the k-th smallest and the k-th largest covers the median with probability 1 - 2 P(B < k).
    k = next(k for k in range(len(ratios) // 2, -1, -1) if k == 0 or _tail(len(ratios), k) <= 0.025)
    low, high = ratios[max(k - 1, 0)], ratios[-max(k, 1)]
    median = statistics.median(ratios)
    print(
        f"progress bar on / off, {given.pairs} pairs of {trials} trials x {built.steps} updates: {median:.3f} [{low:.3f}, {high:.3f}]"
    )
    if given.json:
        facts = {"ratios": ratios, "median": median, "interval": [low, high], "jax": jax.__version__}
        with open(given.json, "w") as file:
            json.dump(facts | {"device": jax.devices()[0].device_kind, "machine": platform.machine()}, file, indent=1)
    return int(given.check and low > GOAL)


def _tail(n, k):
    """Returns P(B < k) for B ~ Binomial(n, 1/2)."""
    from scipy.stats import binom

    return binom.cdf(k - 1, n, 0.5)


if __name__ == "__main__":
    sys.exit(main())
