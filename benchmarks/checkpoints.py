"""What checkpoints cost: a run in a folder that is saved every five seconds, next to one that is never saved, in alternating pairs.

    python benchmarks/checkpoints.py [--every 5] [--arms 32] [--steps 600] [--pairs 12] [--quick] [--json FILE]

An MLP (64-128-128-10) with batch norm, an average of weights, early stopping (whose best parameters are a third copy of
them) and AdamW on digits, batch 64, 8 seeds of each arm, twenty evaluations. Times are those of `jt.run` from end to end but
for compiling, which JAX's cache has from a run before. "Bytes per trial" are those of a checkpoint on the disk, by the trials
under way when it was made.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import optax
from _pairs import alternate, compare, text
from _report import print_table, write_json

import jaxtune as jt
from jaxtune.checkpoint import Checkpoints

SEEDS, EVALUATIONS = 8, 20


def recipe(hp):
    return jt.Recipe(
        jt.models.MLP((128, 128), hp.run.outputs, batch_norm=True),
        optimizer=optax.adamw(hp.lr),
        batch_size=64,
        early_stopping=jt.EarlyStopping(float("inf")),
        weight_average=jt.optim.ema(0.99),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=float, default=5.0, help="seconds between checkpoints, 5 by default")
    parser.add_argument("--arms", type=int, help="32 by default")
    parser.add_argument("--steps", type=int, help="updates of each trial, 600 by default")
    parser.add_argument("--pairs", type=int, help="12 by default")
    parser.add_argument("--quick", action="store_true", help="a tiny version, to see that it works")
    parser.add_argument("--json")
    given = parser.parse_args()
    arms, steps = given.arms or (2 if given.quick else 32), given.steps or (40 if given.quick else 600)
    pairs, every = given.pairs or (2 if given.quick else 12), 0.0 if given.quick else given.every
    space = jt.grid(lr=np.geomspace(1e-4, 1e-2, arms).tolist())
    data = jt.data.load("digits")
    experiment = jt.Experiment(recipe, space, data, steps=steps, seeds=SEEDS, eval_every=steps // EVALUATIONS)
    made = []  # of each checkpoint: seconds, bytes, trials under way

    def save(self, tree, whole=Checkpoints.save):
        began = time.perf_counter()
        whole(self, tree)
        newest = max((p for p in self.path.iterdir() if p.name.isdecimal()), key=lambda p: int(p.name))
        size = sum(file.stat().st_size for file in newest.rglob("*") if file.is_file())
        trials = sum(len(program["trials"]) for program in tree["programs"].values())
        made.append((time.perf_counter() - began, size, trials))

    Checkpoints.save = save

    def seconds(save_every):
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            jt.run(experiment, out=Path(folder) / "run", save_every=save_every, progress=False)
            return time.perf_counter() - began

    seconds(float("inf"))
    took = alternate(pairs, {"with": lambda: seconds(every), "without": lambda: seconds(float("inf"))})
    ratio = compare(took["with"], took["without"])
    last, size, trials = (list(column) for column in zip(*made, strict=True))
    per_trial = [b / n for b, n in zip(size, trials, strict=True) if n]
    header = ("every", "s with", "s without", "with / without", "checkpoints", "s each", "MB each", "kB per trial")
    row = (
        f"{every:g} s",
        *(f"{statistics.median(took[name]):.2f}" for name in ("with", "without")),
        text(ratio),
        f"{len(made) / pairs:.1f}",
        f"{statistics.median(last):.2f}",
        f"{statistics.median(size) / 1e6:.1f}",
        f"{statistics.median(per_trial) / 1e3:.0f}",
    )
    print_table(f"{arms * SEEDS} trials x {steps} updates, {pairs} pairs", header, [row])
    found = {"seconds": last, "bytes": size, "trials": trials}
    write_json(given.json, {"steps": steps, "arms": arms, "every": every, **took, "ratio": ratio, "checkpoints": found})


if __name__ == "__main__":
    sys.exit(main())
