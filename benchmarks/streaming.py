"""Training on data larger than the memory allowed to it: time and memory against data that is held.

    python benchmarks/streaming.py [--megabytes 800] [--steps 600] [--pairs 5] [--quick] [--json FILE]

A float32 array of images of 28x28 lies in a file and is mapped into memory. An MLP (784-128-128-10) with batches of 64 trains as 2
learning rates x 4 seeds, each time in a process of its own: with the data held on the devices, and with a quarter of the
data's size as `memory=`, so that jaxtune streams it (of much smaller data a quarter has room for one device alone, and would be
compared with two). A third process streams a quarter of the data with the same memory: if
memory grew with the data, it would show.

The time is that of `--steps` updates in the middle of a run: the difference between a run of that many more and one of few,
both compiled before. "Anonymous" is the memory that belongs to no file, at its peak in a run, on top of what the process held
before it; pages of the mapped file are the system's to take back.
"""

import argparse
import functools as ft
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import optax
from _memory import give_back, status
from _pairs import alternate, compare, text
from _report import print_table, write_json

import jaxtune as jt

SIDE, CLASSES, BATCH, FEW = 28, 10, 64, 50


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, help="size of the data, 800 by default")
    parser.add_argument("--steps", type=int, help="updates that are timed, 600 by default")
    parser.add_argument("--pairs", type=int, help="processes of each kind, 5 by default")
    parser.add_argument("--quick", action="store_true", help="a tiny version, to see that it works")
    parser.add_argument("--json")
    parser.add_argument("--process", nargs=2, metavar=("FOLDER", "MEMORY"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    steps = given.steps or (60 if given.quick else 600)
    if given.process:
        print(json.dumps(train(Path(given.process[0]), int(given.process[1]), steps)))
        return
    size = 10**6 * (given.megabytes or (320 if given.quick else 800))
    pairs = given.pairs or (1 if given.quick else 5)
    with tempfile.TemporaryDirectory() as root:
        whole, quarter = Path(root, "whole"), Path(root, "quarter")
        for folder, share in ((whole, 1), (quarter, 4)):
            write(folder, size // share)
        kinds = {
            "held": (whole, 8 * size),
            "streamed": (whole, size // 4),
            "streamed, a quarter of it": (quarter, size // 4),
        }
        runs = alternate(pairs, {name: ft.partial(fresh, *kind, steps) for name, kind in kinds.items()})
    found = {}
    for name, made in runs.items():
        speed = [run["updates_per_second"] for run in made]
        found[name] = {
            "data": made[0]["data"],
            "memory": kinds[name][1],
            "updates_per_second": statistics.median(speed),
            "to_held": compare(speed, [run["updates_per_second"] for run in runs["held"]]),
            "anonymous": statistics.median(run["anonymous"] for run in made),
            "accuracy": made[0]["accuracy"],
        }
        assert all(run["streamed"] == name.startswith("streamed") for run in made)
    header = ("training data", "bytes", "memory=", "updates/s", "/ held", "anonymous", "accuracy")
    rows = [
        (
            *(name, f"{f['data'] / 1e6:.0f} MB", f"{f['memory'] / 1e6:.0f} MB", f"{f['updates_per_second']:.0f}"),
            *("1" if name == "held" else text(f["to_held"]), f"{f['anonymous'] / 1e6:.0f} MB", f"{f['accuracy']:.3f}"),
        )
        for name, f in found.items()
    ]
    print_table(f"MLP, 8 trials x {steps} updates of {BATCH}, {pairs} processes each", header, rows)
    write_json(given.json, {"steps": steps, "found": found})


def write(folder, size):
    """Writes images of noise with a linear truth, block by block."""
    folder.mkdir()
    n = size // (4 * SIDE * SIDE)
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(SIDE * SIDE, CLASSES)).astype(np.float32)
    x = np.lib.format.open_memmap(folder / "x.npy", "w+", np.float32, (n, SIDE * SIDE))
    y = np.empty(n, np.int32)
    for start in range(0, n, 4096):
        block = rng.normal(size=x[start : start + 4096].shape).astype(np.float32)
        x[start : start + 4096], y[start : start + 4096] = block, (block @ truth).argmax(1)
    x.flush()
    np.save(folder / "y.npy", y)


def fresh(folder, memory, steps):
    """Returns what `train` measures in a process of its own."""
    command = [sys.executable, __file__, "--process", str(folder), str(memory), "--steps", str(steps)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def recipe(hp):
    return jt.Recipe(jt.models.MLP((128, 128), CLASSES), optimizer=optax.adam(hp.lr), batch_size=BATCH)


def train(folder, memory, steps):
    """Returns speed, memory and accuracy of training in this process."""
    warnings.simplefilter("ignore")  # that it is streamed
    jt.use_all_cores()
    x, y = np.load(folder / "x.npy", mmap_mode="r"), np.load(folder / "y.npy")
    parts = [jt.data.Arrays(x[rows], y[rows]) for rows in (slice(2000, None), slice(1000), slice(1000, 2000))]
    data = jt.data.Splits(*parts, classes=CLASSES)

    def run(updates):
        experiment = jt.Experiment(recipe, jt.grid(lr=[1e-3, 3e-3]), data, steps=updates, seeds=4, eval_every=updates)
        began = time.perf_counter()
        result = jt.run(experiment, memory=memory, progress=False)
        return time.perf_counter() - began, result, experiment

    run(FEW), run(FEW + steps)  # compile: the number of batches that are sent together is part of a program
    short = min(run(FEW)[0] for _ in range(2))
    with Peak() as peak:
        long, result, experiment = run(FEW + steps)
    return {
        "updates_per_second": steps / max(long - short, 1e-9),
        "anonymous": peak.bytes,
        "accuracy": float(result.dataset["test_accuracy"].mean()),
        "streamed": jt.plan(experiment, memory=memory).streamed_examples > 0,
        "data": x.nbytes,
    }


class Peak:
    """The most memory that belongs to no file that this process comes to hold, on top of what it holds at the start."""

    def __init__(self):
        self.bytes, self._done = 0, threading.Event()

    def __enter__(self):
        give_back()
        self._base = status("RssAnon")
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._done.set()
        self._thread.join()

    def _watch(self):
        while not self._done.wait(0.02):
            self.bytes = max(self.bytes, status("RssAnon") - self._base)


if __name__ == "__main__":
    sys.exit(main())
