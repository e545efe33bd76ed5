"""What regularizers, evaluations, the bar and stopping early cost or save: with and without, in alternating pairs.

    python benchmarks/overheads.py [--rows dropout,evaluation] [--steps 1000] [--pairs 9] [--quick] [--json FILE]

An MLP (64-128-128-10) on digits, batch 64, AdamW, all devices. Times are those of training, which is compiled before.

Costs are with / without, of 4 arms x 8 seeds, evaluated once at the end. Dropout and input noise have traced strengths,
which makes chunks of four arms that share a seed, where there are else four seeds of an arm; batch norm is static.
"evaluation" is twenty evaluations of the training and the validation split, next to one; "progress bar" is drawn into
memory, with twenty evaluations on both sides.

Early stopping: of 32 arms x 4 seeds, 16 arms drawn at random stop at a fifth of the updates, in a run of twenty
evaluations. Ideally that saves 0.5 x 0.8 of the time of the same program in which none stops; the share is what was
saved of that.

Start: a process from its start to the end of a first segment of a twentieth of the updates, with a compilation cache
that a process before has filled, and with an empty one.
"""

import argparse
import functools as ft
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import optax
import progress
from _pairs import alternate, compare, text
from _report import print_table, write_json
from _training import BATCH, Training

import jaxtune as jt
from jaxtune.training import Status

EVALUATIONS = 20
STOP_AT = 4  # the evaluation at which half of the trials stop
IDEAL = 0.5 * (1 - STOP_AT / EVALUATIONS)
PARTS = ("imports", "data", "build", "compile", "first segment")
LRS = [3e-4, 1e-3, 3e-3, 1e-2]


class Net(nn.Module):
    """An MLP; None leaves out noise or dropout."""

    noise: Any = None
    dropout: Any = None
    batch_norm: bool = False

    @nn.compact
    def __call__(self, x, train=False):
        x = x.reshape(x.shape[0], -1)
        if self.noise is not None and train:
            x = x + self.noise * jax.random.normal(self.make_rng("noise"), x.shape)
        for _ in range(2):
            x = nn.Dense(128)(x)
            if self.batch_norm:
                x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)
            x = nn.relu(x)
            if self.dropout is not None:
                x = jt.nn.linen.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(10)(x)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=lambda text: text.split(","), default=list(ROWS), help=", ".join(ROWS))
    parser.add_argument("--steps", type=int, help="updates of each trial, 1000 by default")
    parser.add_argument("--pairs", type=int, help="9 by default")
    parser.add_argument("--quick", action="store_true", help="a tiny version, to see that it works")
    parser.add_argument("--json")
    given = parser.parse_args()
    steps, pairs = given.steps or (40 if given.quick else 1000), given.pairs or (2 if given.quick else 9)
    if not set(given.rows) <= set(ROWS):
        parser.error(f"--rows are some of {', '.join(ROWS)}")
    if steps % EVALUATIONS:
        parser.error(f"--steps has to be a multiple of {EVALUATIONS}")

    found = {}
    for name in given.rows:
        print(f"{name} ...", file=sys.stderr, flush=True)
        found[name] = ROWS[name](steps, pairs)
    _print(found, steps, pairs)
    write_json(given.json, {"steps": steps, "pairs": pairs, "ideal_saving": IDEAL, "rows": found})


def training_of(net, space, steps, *, seeds=8, evaluations=1, stopping=lambda hp: None):
    """Returns the compiled training of a network on the digits."""

    def recipe(hp):
        made = {"optimizer": optax.adamw(hp.lr), "batch_size": BATCH, "early_stopping": stopping(hp)}
        return jt.Recipe(net(hp), **made)

    data, every = jt.data.load("digits"), steps // evaluations
    return Training(jt.Experiment(recipe, space, data, steps=steps, seeds=seeds, eval_every=every))


def cost(on, off, pairs):
    """Returns seconds with and without something, and the ratio, from functions that return seconds."""
    on(), off()
    took = alternate(pairs, {"on": on, "off": off})
    return {**took, "ratio": compare(took["on"], took["off"])}


def seconds(training, **options):
    return lambda: training.run(**options).seconds


def of_model(net, space, steps, pairs):
    on, off = training_of(net, space, steps), training_of(lambda hp: Net(), jt.grid(lr=LRS), steps)
    return {**cost(seconds(on), seconds(off), pairs), "chunk": on.program.shape}


def of_evaluation(steps, pairs):
    training = training_of(lambda hp: Net(), jt.grid(lr=LRS), steps)
    often, once = (seconds(training, eval_every=every) for every in (steps // EVALUATIONS, steps))
    return {**cost(often, once, pairs), "chunk": training.program.shape}


def of_bar(steps, pairs):
    training = training_of(lambda hp: Net(), jt.grid(lr=LRS), steps, evaluations=EVALUATIONS)
    shown, hidden = (ft.partial(progress.seconds, training, show) for show in (True, False))
    return {**cost(shown, hidden, pairs), "chunk": training.program.shape}


def of_stopping(dropout, steps, pairs):
    """Returns times with half of the trials stopped and with none, and how much of the ideal was saved."""
    net = (lambda hp: Net(dropout=hp.rate)) if dropout else (lambda hp: Net())
    rates = np.linspace(0.1, 0.5, 32) if dropout else None
    half = set(np.random.default_rng(0).permutation(32)[:16].tolist())

    def space(stopped):
        settings = [
            {"lr": lr, "patience": float(STOP_AT - 1) if i in stopped else float("inf")}
            | ({} if rates is None else {"rate": float(rates[i])})
            for i, lr in enumerate(np.geomspace(3e-4, 1e-2, 32).tolist())
        ]
        return jt.arms(settings[0], {str(i): setting for i, setting in enumerate(settings) if i})

    def stopping(hp):  # the first evaluation improves on infinity, no other by so much
        return jt.EarlyStopping(hp.patience, min_delta=1e6)

    training = training_of(net, space(half), steps, seeds=4, evaluations=EVALUATIONS, stopping=stopping)
    never = training_of(net, space(set()), steps, seeds=4, evaluations=EVALUATIONS, stopping=stopping).experiment
    took = {"on": seconds(training), "off": seconds(training, experiment=never)}
    for experiment, expected in ((None, training.trials // 2), (never, 0)):
        stopped = int((training.run(experiment=experiment).outcome.status == Status.STOPPED).sum())
        if stopped != expected:
            raise RuntimeError(f"{stopped} of {training.trials} trials stopped, {expected} should have")
    took = cost(took["on"], took["off"], pairs)
    saved = [1 - on / off for on, off in zip(took["on"], took["off"], strict=True)]
    return {**took, "chunk": training.program.shape, "saved": saved, "share": compare(saved, [IDEAL] * pairs)}


def of_start(steps, pairs):
    """Returns the seconds that the parts of a start take, with a filled compilation cache and with an empty one."""
    script = str(Path(__file__).parent / "_start.py")
    left_out = ("JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE")

    def parts(folder):
        inherited = {name: value for name, value in os.environ.items() if name not in left_out}
        began = time.monotonic()
        command, env = [sys.executable, script, str(steps)], {**inherited, "JAXTUNE_COMPILATION_CACHE": folder}
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=env)
        marks = [began, *json.loads(done.stdout.strip().splitlines()[-1]).values()]
        took = dict(zip(PARTS, np.diff(marks).tolist(), strict=True))
        return {**took, "all": marks[-1] - marks[0]}

    def with_empty():
        with tempfile.TemporaryDirectory() as folder:
            return parts(folder)

    with tempfile.TemporaryDirectory() as folder:
        parts(folder)
        took = alternate(pairs, {"cached": ft.partial(parts, folder), "empty": with_empty})
    return {
        part: {
            **{name: [run[part] for run in runs] for name, runs in took.items()},
            "ratio": compare(*([run[part] for run in took[name]] for name in ("cached", "empty"))),
        }
        for part in (*PARTS, "all")
    }


ROWS = {
    "dropout": ft.partial(of_model, lambda hp: Net(dropout=hp.rate), jt.grid(lr=[1e-3], rate=[0.1, 0.2, 0.3, 0.5])),
    "batch norm": ft.partial(of_model, lambda hp: Net(batch_norm=True), jt.grid(lr=LRS)),
    "input noise": ft.partial(
        of_model, lambda hp: Net(noise=hp.scale), jt.grid(lr=[1e-3], scale=[0.05, 0.1, 0.2, 0.3])
    ),
    "evaluation": of_evaluation,
    "progress bar": of_bar,
    "early stopping": ft.partial(of_stopping, False),
    "early stopping, dropout": ft.partial(of_stopping, True),
    "start": of_start,
}


def _print(found, steps, pairs):
    def median(took):
        return f"{statistics.median(took):.2f}"

    def times(row):
        return "{} x {}".format(*row["chunk"]), median(row["on"]), median(row["off"])

    costs = {name: row for name, row in found.items() if "ratio" in row and "share" not in row}
    savings = {name: row for name, row in found.items() if "share" in row}
    if costs:
        header = ("cost", "chunk", "s with", "s without", "with / without")
        rows = [(name, *times(row), text(row["ratio"])) for name, row in costs.items()]
        print_table(f"32 trials x {steps} updates, {pairs} pairs", header, rows)
    if savings:
        header = ("saving", "chunk", "s with", "s without", "saved", "ideal", "share of the ideal")
        rows = [
            (name, *times(row), f"{statistics.median(row['saved']):.1%}", f"{IDEAL:.0%}", text(row["share"]))
            for name, row in savings.items()
        ]
        print_table(f"128 trials x up to {steps} updates, {pairs} pairs", header, rows)
    if "start" in found:
        header = ("start", "s cached", "s not", "cached / not")
        rows = [
            (part, median(row["cached"]), median(row["empty"]), text(row["ratio"]))
            for part, row in found["start"].items()
        ]
        print_table(f"A process up to its first segment, {pairs} pairs", header, rows)


if __name__ == "__main__":
    sys.exit(main())
