"""How much of the machine's matrix-product rate the training steps reach: FLOP/s against NumPy's, in alternating pairs.

    python benchmarks/limit.py [--models mlp,cnn] [--steps 500] [--seconds 1] [--pairs 9] [--quick] [--json FILE]

Unmodified Linen models train on digits, batch 64, AdamW: 16 learning rates x 4 seeds, one evaluation at the end, which
is in the time and worth some 12 updates; compilation is not. A step's floating-point operations are those of its matrix
products, counted here from the shapes and compared with what `jt.plan` says; all else that a step does costs time and
counts for nothing.

The rates are NumPy's, float32, in processes of one thread, one process per core, all at once: of the products of the
same step, forward, kernel gradient and input gradient, one after the other on data that stays in the cache; and of
square matrices. The same with one device and one process. "busy" is the number of cores at work during training.
"""

import argparse
import functools as ft
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from _pairs import alternate, compare, text
from _report import cores, print_table, write_json
from _training import BATCH, MODELS, Training, linen_experiment

import jaxtune as jt

# Products (m, k, n) of the forward pass: rows, summed over, columns. A convolution has a row for each place it goes to.
LAYERS = {
    "mlp": [(BATCH, 64, 128), (BATCH, 128, 128), (BATCH, 128, 10)],
    "cnn": [(BATCH * 8 * 8, 3 * 3 * 1, 16), (BATCH * 4 * 4, 3 * 3 * 16, 32), (BATCH, 2 * 2 * 32, 10)],
}
ARMS, SEEDS = 16, 4
ONE_THREAD = dict.fromkeys(
    ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)


class Rate(NamedTuple):
    """FLOP/s, and how many cores were at work on average."""

    flops: float
    busy: float


class Multipliers:
    """One process per core that multiplies matrices when told to."""

    def __init__(self, jobs):
        command = [sys.executable, str(Path(__file__).parent / "_products.py"), json.dumps(jobs)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": os.environ | ONE_THREAD}
        self._processes = [subprocess.Popen(command, **pipes) for _ in range(cores())]
        self.blas = [_answer(process) for process in self._processes][0]
        if any(pool["num_threads"] != 1 for pool in self.blas):
            raise RuntimeError(f"NumPy's BLAS takes more than one thread: {self.blas}")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for process in self._processes:
            process.stdin.close()
            process.wait()

    def rate(self, job, seconds, processes=None):
        """Returns the `Rate` of some processes together, by default of all, which begin at the same time."""
        begin = time.monotonic() + 0.05
        chosen = self._processes[:processes]
        for process in chosen:
            process.stdin.write(json.dumps([job, begin, seconds]) + "\n")
            process.stdin.flush()
        answers = [_answer(process) for process in chosen]
        return Rate(sum(flops / wall for flops, wall, _ in answers), sum(cpu / wall for _, wall, cpu in answers))


def _answer(process):
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"a process that multiplies ended with exit code {process.wait()}")
    return json.loads(line)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=lambda text: text.split(","), default=list(LAYERS))
    parser.add_argument("--steps", type=int, help="updates of each trial, 500 by default")
    parser.add_argument("--seconds", type=float, help="that a rate is measured for, 1 by default")
    parser.add_argument("--pairs", type=int, help="9 by default")
    parser.add_argument("--quick", action="store_true", help="a tiny version, to see that it works")
    parser.add_argument("--json")
    given = parser.parse_args()
    if not set(given.models) <= set(LAYERS) & set(MODELS):
        parser.error(f"--models are some of {', '.join(LAYERS)}")
    steps, pairs = given.steps or (20 if given.quick else 500), given.pairs or (2 if given.quick else 9)
    seconds, side = given.seconds or (0.1 if given.quick else 1.0), 512 if given.quick else 2048

    shapes = {name: products(name) for name in given.models}
    facts = {"steps": steps, "trials": ARMS * SEEDS, "side": side, "models": {}}
    with Multipliers({**shapes, "square": [(side, side, side, [])]}) as multipliers:
        for name in given.models:
            facts["models"][name] = measure(name, multipliers, steps, pairs, seconds)
        facts["blas"] = multipliers.blas
    for name, found in facts["models"].items():
        title = f"{name}: {ARMS * SEEDS} trials x {steps} updates of {found['flops'] / 1e6:.1f} MFLOP, {pairs} pairs"
        _print(title, found["devices"], side)
    write_json(given.json, facts)


def products(name):
    """Returns the products of a step (m, k, n, gradients); nothing needs the gradient of the data."""
    return [(*shape, ["kernel", "input"] if i else ["kernel"]) for i, shape in enumerate(LAYERS[name])]


def measure(name, multipliers, steps, pairs, seconds):
    """Returns what was measured on one model, by number of devices."""
    experiment = linen_experiment(name, ARMS, SEEDS, steps)
    flops = sum(2 * m * k * n * (1 + len(gradients)) for m, k, n, gradients in products(name))
    planned = jt.plan(experiment).programs[0].flops
    if planned != flops:
        raise RuntimeError(f"{name}: a step has {flops} FLOPs by its shapes, and {planned} by jt.plan")
    training = Training(experiment)
    runs = {}
    for n in sorted({training.devices, 1}, reverse=True):
        processes = 1 if n == 1 else None
        runs |= {
            (n, "training"): ft.partial(training.run, devices=n),
            (n, "own"): ft.partial(multipliers.rate, name, seconds, processes),
            (n, "square"): ft.partial(multipliers.rate, "square", seconds, processes),
        }
    training.run()
    given = alternate(pairs, runs)
    found = {}
    for n in sorted({n for n, _ in runs}, reverse=True):
        trained, own, square = (given[n, what] for what in ("training", "own", "square"))
        achieved = [flops * training.trials * steps / run.seconds for run in trained]
        found[n] = {
            "seconds": [run.seconds for run in trained],
            "lane_step_us": statistics.median(run.seconds for run in trained) / (training.trials * steps) * 1e6,
            "achieved": achieved,
            "own": [rate.flops for rate in own],
            "square": [rate.flops for rate in square],
            "busy": statistics.median(run.busy for run in trained),
            "numpy_busy": statistics.median(rate.busy for rate in (*own, *square)),
            "achieved_by_own": compare(achieved, [rate.flops for rate in own]),
            "achieved_by_square": compare(achieved, [rate.flops for rate in square]),
        }
    return {"flops": flops, "chunk": training.program.shape, "devices": found}


def _print(title, devices, side):
    square = f"{side}x{side}"
    header = (
        *("devices", "us/step/trial", "busy", "GFLOP/s", "own shapes", "achieved / own shapes"),
        *(square, f"achieved / {square}"),
    )

    def giga(rates):
        return f"{statistics.median(rates) / 1e9:.1f}"

    rows = [
        (
            *(str(n), f"{found['lane_step_us']:.1f}", f"{found['busy']:.2f}"),
            *(giga(found["achieved"]), giga(found["own"]), text(found["achieved_by_own"])),
            *(giga(found["square"]), text(found["achieved_by_square"])),
        )
        for n, found in devices.items()
    ]
    print_table(title, header, rows)
    for n, found in devices.items():
        wanted = cores() if n > 1 else 1
        if found["numpy_busy"] < 0.9 * wanted:
            print(
                f"NumPy's {wanted} processes had {found['numpy_busy']:.2f} cores: something else runs on this machine."
            )


if __name__ == "__main__":
    sys.exit(main())
