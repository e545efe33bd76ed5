"""What a step of a trial costs in time and memory, by the number of trials; and what a second device gains.

    python benchmarks/scaling.py [--trials 1,8,64,256,1024] [--steps 200] [--rounds 7] [--pairs 9] [--quick] [--json FILE]

An unmodified Linen MLP (64-128-128-10) on digits, batch 64, AdamW: learning rates x 4 seeds, evaluated once at the end,
no variables kept, all devices. Every number of trials has a process of its own, and in each round one of each runs. The
time is that of training alone, which is compiled before: wall time / (trials x updates).

Peak memory is that of the process while it trains. "Training" is what of it came on top of what the process held when
all was compiled and nothing had been trained; "predicted" is the same by `jt.plan`, without kept variables. The last
table trains alternately with one device and with all, in one process.
"""

import argparse
import functools as ft
import json
import statistics
import subprocess
import sys

from _memory import peak_bytes, settled_bytes
from _pairs import alternate, compare, text
from _report import print_table, write_json
from _training import Training, linen_experiment

import jaxtune as jt

BASE = 64
SEEDS = 4
SECONDS = 0.5  # of training that a process times at least


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=lambda text: [int(n) for n in text.split(",")], help="1,8,64,256,1024")
    parser.add_argument("--steps", type=int, help="updates of each trial, 200 by default")
    parser.add_argument("--rounds", type=int, help="processes for each number of trials, 7 by default")
    parser.add_argument("--pairs", type=int, help="runs with one device and with all, 9 by default")
    parser.add_argument("--quick", action="store_true", help="a tiny version, to see that it works")
    parser.add_argument("--json")
    parser.add_argument("--process", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    steps = given.steps or (20 if given.quick else 200)
    if given.process:
        print(json.dumps(train(given.process, steps)))
        return
    sizes = given.trials or ([1, BASE] if given.quick else [1, 8, BASE, 256, 1024])
    rounds, pairs = given.rounds or (2 if given.quick else 7), given.pairs or (3 if given.quick else 9)
    if any(n > SEEDS and n % SEEDS for n in sizes) or min(sizes) < 1:
        parser.error(f"--trials are up to {SEEDS}, or multiples of it")

    base = BASE if BASE in sizes else sizes[-1]
    measured = alternate(rounds, {n: ft.partial(fresh, n, steps) for n in sizes})
    scaling = {n: summary(runs, measured[base]) for n, runs in measured.items()}
    header = ("trials", "us/step/trial", f"/ that of {base}", "peak", "training", "training/trial", "predicted")
    rows = [
        (
            *(str(n), f"{found['lane_step_us']:.1f}", "1" if n == base else text(found["to_base"])),
            *(f"{found['peak_bytes'] / 1e6:.0f} MB", f"{found['training_bytes'] / 1e6:.1f} MB"),
            *(f"{found['training_bytes'] / n / 1e3:.0f} kB", f"{found['predicted_bytes'] / 1e6:.1f} MB"),
        )
        for n, found in scaling.items()
    ]
    print_table(f"MLP: {steps} updates, medians of {rounds} rounds", header, rows)

    devices = compare_devices(steps, pairs)
    header = ("devices", "us/step/trial", "busy cores", "time of one / time")
    rows = [
        (str(n), f"{found['lane_step_us']:.1f}", f"{found['busy']:.2f}", "1" if n == 1 else text(found["speedup"]))
        for n, found in devices.items()
    ]
    print_table(f"MLP: {BASE} trials x {steps} updates, {pairs} pairs", header, rows)
    write_json(given.json, {"steps": steps, "base": base, "scaling": scaling, "devices": devices})


def summary(runs, base):
    """Returns medians of what some processes measured, and the ratio of their time to that of others."""
    keys = ("lane_step_us", "peak_bytes", "training_bytes", "predicted_bytes")
    found = {key: statistics.median(run[key] for run in runs) for key in keys}
    return {**found, "to_base": compare(*([run["lane_step_us"] for run in group] for group in (runs, base)))}


def fresh(trials, steps):
    """Returns what `train` measures in a process of its own."""
    command = [sys.executable, __file__, "--process", str(trials), "--steps", str(steps)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def experiment_of(trials, steps):
    seeds = min(trials, SEEDS)
    return linen_experiment("mlp", trials // seeds, seeds, steps)


def train(trials, steps):
    """Returns time and memory of training so many trials in this process."""
    experiment = experiment_of(trials, steps)
    memory = jt.plan(experiment).programs[0].memory
    training = Training(experiment)
    before = settled_bytes()
    taken = [training.run().seconds]
    peak = peak_bytes()
    while len(taken) < 2 or sum(taken[1:]) < SECONDS:  # the first is for memory, and warms up
        taken.append(training.run().seconds)
    return {
        "lane_step_us": statistics.median(taken[1:]) / (trials * steps) * 1e6,
        "peak_bytes": peak,
        "training_bytes": peak - before,
        "predicted_bytes": memory.total - memory.kept,
    }


def compare_devices(steps, pairs):
    """Returns times and speedups by number of devices."""
    training = Training(experiment_of(BASE, steps))
    training.run()
    counts = {1, min(2, training.devices), training.devices}
    runs = alternate(pairs, {n: ft.partial(training.run, devices=n) for n in sorted(counts)})
    took = {n: [run.seconds for run in made] for n, made in runs.items()}
    return {
        n: {
            "lane_step_us": statistics.median(took[n]) / (BASE * steps) * 1e6,
            "busy": statistics.median(run.busy for run in made),
            "speedup": compare(took[1], took[n]),
        }
        for n, made in runs.items()
    }


if __name__ == "__main__":
    sys.exit(main())
