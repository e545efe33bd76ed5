"""What jaxtune's whole cold job takes, next to what one would use in its place: alternating pairs of processes.

    python benchmarks/peers.py [--models mlp,cnn] [--peers NAMES] [--trials 96] [--steps 500] [--pairs 3]
                               [--budget 600] [--json FILE]

The job is the same for all: learning rates x 8 seeds on 1,024 digits, each trial so many AdamW updates on batches of 64
and one validation accuracy at the end. A time is that of a process from its start to its end: imports, compilation
(with an empty persistent cache), training and the answer. A ratio is peer / jaxtune; its interval is the range of the pairs.

A peer that would take longer than the budget runs twice on less, and a line through the two times says what the whole
would take: loops run fewer trials, vectorized peers fewer updates of all trials. Peers that offer threads or workers get
one or one per core, whichever was faster in a short run. A peer whose mean accuracy differs from jaxtune's on the same
trials by more than 0.01 and three standard errors has done another job: its row is void.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from _report import cores, print_table, write_json

import jaxtune as jt

FOLDER = Path(__file__).parent / "peers"
ENVIRONMENT = {"KERAS_BACKEND": "jax"}
PACKAGES = ("jax", "flax", "optax", "keras", "keras-tuner", "torch", "optuna", "numpy")
SEEDS = 8


class Peer(NamedTuple):
    """A script, what it needs, whether all its trials run as one, and whether it can be told to use more cores."""

    title: str
    packages: tuple[str, ...] = ()
    vectorized: bool = False
    parallel: bool = False
    script: str | None = None


JAXTUNE = "jaxtune_run"
PEERS = {
    "keras_loop": Peer("Keras (JAX), loop", ("keras",)),
    "keras_grid": Peer("KerasTuner, GridSearch", ("keras", "keras_tuner")),
    "torch_loop": Peer("PyTorch, eager loop", ("torch",), parallel=True),
    "torch_func": Peer("torch.func, stacked", ("torch",), vectorized=True, parallel=True),
    "optuna_flax": Peer("Optuna, jitted Flax", ("optuna",)),
    "optuna_jobs": Peer("Optuna, jitted, n_jobs", ("optuna",), parallel=True, script="optuna_flax"),
    "plain_vmap": Peer("Flax, jit(vmap(scan))", vectorized=True),
}


class Size(NamedTuple):
    """A grid of learning rates and seeds, and the updates of each trial."""

    lrs: tuple[float, ...]
    seeds: tuple[int, ...]
    steps: int

    @property
    def trials(self):
        return len(self.lrs) * len(self.seeds)

    def loose(self, vectorized):
        """Returns two smaller sizes, by steps or by trials, or None where there is nothing to save."""
        if vectorized:
            few, more = self.steps // 50, self.steps // 10
            return (self._replace(steps=few), self._replace(steps=more)) if few else None
        if self.trials <= 8:
            return None
        lrs = _spread(self.lrs, 2)
        more = self._replace(lrs=lrs, seeds=self.seeds[: 8 // len(lrs)])
        return self._replace(lrs=_spread(lrs, 1), seeds=self.seeds[:2]), more


class Run(NamedTuple):
    seconds: float
    accuracy: list[float]
    training: float


class Bench:
    """Runs scripts on one model."""

    def __init__(self, model, data):
        self._model, self._data, self._known = model, data, {}

    def run(self, name, size, parallel=1):
        """Returns what a fresh process gives.

        Raises:
          RuntimeError: it failed; says with what.
        """
        script = name if name == JAXTUNE else PEERS[name].script or name
        command = [sys.executable, str(FOLDER / f"{script}.py"), "--model", self._model, "--data", self._data]
        command += ["--lrs", json.dumps(size.lrs), "--seeds", json.dumps(size.seeds), "--steps", str(size.steps)]
        command += ["--parallel", str(parallel)]
        with tempfile.TemporaryDirectory() as empty:  # nobody finds what an earlier process has compiled
            environment = os.environ | ENVIRONMENT | {"JAX_COMPILATION_CACHE_DIR": empty}
            began = time.perf_counter()
            done = subprocess.run(command, capture_output=True, text=True, env=environment)
            seconds = time.perf_counter() - began
        if done.returncode:
            raise RuntimeError((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
        answer = json.loads(done.stdout.strip().splitlines()[-1])
        if answer["trials"] != size.trials:
            raise RuntimeError(f"it answered for {answer['trials']} of {size.trials} trials")
        _say(f"{self._model} {name}: {size.trials} trials x {size.steps} updates in {seconds:.1f} s")
        run = Run(seconds, answer["accuracy"], answer["seconds_training"])
        if name == JAXTUNE:
            self._known[size.steps] = size, run
        return run

    def reference(self, size, whole):
        """Returns jaxtune's accuracies of some trials, trained once for each number of steps."""
        if size.steps not in self._known or self._known[size.steps][0].trials < size.trials:
            self.run(JAXTUNE, whole._replace(steps=size.steps))
        known, run = self._known[size.steps]
        cube = _cube(run.accuracy, known)
        return cube[np.ix_([known.lrs.index(a) for a in size.lrs], [known.seeds.index(s) for s in size.seeds])]

    def compare(self, name, whole, pairs, budget):
        """Returns the row of a peer, with everything that was measured."""
        peer, n_cores = PEERS[name], cores()
        smaller, parallel, runs, estimate = whole.loose(peer.vectorized), 1, {}, 0.0
        tried = (1, n_cores) if peer.parallel and n_cores > 1 else (1,)
        if smaller:
            runs = {n: self.run(name, smaller[1], n) for n in tried}
            parallel = min(runs, key=lambda n: runs[n].seconds)
            estimate = _extrapolated(self.run(name, smaller[0], parallel), runs[parallel], smaller, whole, peer)
        sizes = smaller if estimate > budget else (whole,)
        measured = {"jaxtune": [], "peer": [], "accuracy": [], "runs": []}
        for i in range(pairs):
            for who in (name, JAXTUNE) if i % 2 else (JAXTUNE, name):
                if who == JAXTUNE:
                    measured["jaxtune"].append(self.run(JAXTUNE, whole).seconds)
                    continue
                made = [self.run(name, size, parallel) for size in sizes]
                measured["peer"].append(made[0].seconds if len(made) == 1 else _extrapolated(*made, sizes, whole, peer))
                measured["accuracy"] = made[-1].accuracy
                measured["runs"].append([run._asdict() for run in made])
        ratios = [a / b for a, b in zip(measured["peer"], measured["jaxtune"], strict=True)]
        notes = [f"{parallel} of {n_cores} cores"] if peer.parallel else []
        if len(sizes) > 1:
            ran = sizes[1]
            by_steps = f"{ran.steps} of {whole.steps} updates"
            notes.append(f"scaled from {by_steps if peer.vectorized else f'{ran.trials} of {whole.trials} trials'}")
        own, other = _cube(measured["accuracy"], sizes[-1]), self.reference(sizes[-1], whole)
        agreement = _agreement(own, other)
        if not agreement["agrees"]:
            difference = agreement["peer"] - agreement["jaxtune"]
            notes.insert(0, f"void: accuracy differs by {difference:+.4f}, tolerance {agreement['tolerance']:.4f}")
        return measured | {
            "peer_name": name,
            "model": self._model,
            "trials_run": sizes[-1].trials,
            "steps_run": sizes[-1].steps,
            "parallel": parallel,
            "estimate": estimate,
            "tried": {str(n): run.seconds for n, run in runs.items()},
            "seconds": statistics.median(measured["peer"]),
            "ratios": ratios,
            "ratio": statistics.median(ratios),
            "agreement": agreement,
            "note": "; ".join(notes),
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=_names(["mlp", "cnn"]), default=["mlp", "cnn"])
    parser.add_argument("--peers", type=_names(list(PEERS)), default=list(PEERS))
    parser.add_argument("--trials", type=int, default=96, help=f"a multiple of {SEEDS}, the number of seeds")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--budget", type=float, default=600.0, help="seconds that one run of a peer may take")
    parser.add_argument("--json")
    given = parser.parse_args()
    if given.trials < SEEDS or given.trials % SEEDS or min(given.steps, given.pairs) < 1:
        parser.error(f"--trials has to be a multiple of {SEEDS}, --steps and --pairs at least 1")

    lrs = np.geomspace(3e-4, 1e-2, given.trials // SEEDS).tolist()
    whole = Size(tuple(lrs), tuple(range(SEEDS)), given.steps)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        data = os.path.join(folder, "digits.npz")
        _write_data(data)
        for model in given.models:
            bench = Bench(model, data)
            bench.run(JAXTUNE, whole._replace(lrs=whole.lrs[:1], steps=1))  # files into the page cache, as peers' are
            mine = [_row(bench, name, whole, given) for name in given.peers]
            _print_table(model, whole, given.pairs, mine)
            rows += mine
    write_json(given.json, {"job": whole._asdict(), "rows": rows}, PACKAGES)
    return int(any("error" in row or not row.get("agreement", {"agrees": True})["agrees"] for row in rows))


def _row(bench, name, whole, given):
    if any(importlib.util.find_spec(package) is None for package in PEERS[name].packages):
        return {"peer_name": name, "note": "not installed: pip install 'jaxtune[peers]'"}
    try:
        return bench.compare(name, whole, given.pairs, given.budget)
    except RuntimeError as error:
        return {"peer_name": name, "error": str(error), "note": f"failed: {error}"}


def _write_data(path):
    """Writes the splits that all train on: 1,024 examples, so that epochs are full batches everywhere."""
    splits = jt.data.load("digits", fractions=(0.57, 0.2, 0.23))
    parts = {"train": splits.train, "valid": splits.valid, "test": splits.test}
    np.savez(path, **{f"{name}_{field}": getattr(part, field) for name, part in parts.items() for field in "xy"})


def _extrapolated(small, large, sizes, whole, peer):
    """Returns the seconds of the whole on the line through two runs; it never falls with size."""
    a, b, end = ((s.steps if peer.vectorized else s.trials) for s in (*sizes, whole))
    return large.seconds + max(large.seconds - small.seconds, 0.0) / (b - a) * (end - b)


def _agreement(own, other):
    """Compares accuracies of shape (lrs, seeds); seeds are independent, trials that share one are not."""
    variance = sum(a.mean(axis=0).var(ddof=1) / a.shape[1] for a in (own, other))
    tolerance = max(0.01, 3 * float(np.sqrt(variance)))
    means = float(own.mean()), float(other.mean())
    agrees = abs(means[0] - means[1]) <= tolerance  # and no NaN
    return {"peer": means[0], "jaxtune": means[1], "tolerance": tolerance, "agrees": agrees}


def _print_table(model, whole, pairs, rows):
    took = [seconds for row in rows for seconds in row.get("jaxtune", [])]
    header = ("peer", "trials run", "seconds", "ratio [min, max]", "accuracy (jaxtune's)", "note")
    table = [("jaxtune", str(whole.trials), f"{statistics.median(took):.1f}" if took else "", "1", "", "")]
    for row in rows:
        cells = [""] * 4
        if "ratio" in row:
            low, high, agreement = min(row["ratios"]), max(row["ratios"]), row["agreement"]
            cells = [
                str(row["trials_run"]),
                f"{row['seconds']:.1f}",
                f"{row['ratio']:.2f} [{low:.2f}, {high:.2f}]",
                f"{agreement['peer']:.4f} ({agreement['jaxtune']:.4f})",
            ]
        table.append((PEERS[row["peer_name"]].title, *cells, row["note"]))
    print_table(
        f"{model}: {whole.trials} trials x {whole.steps} updates, whole processes, medians of {pairs} pairs",
        header,
        table,
    )


def _cube(accuracy, size):
    return np.reshape(accuracy, (len(size.lrs), len(size.seeds)))


def _spread(values, n):
    """Returns n of the values from one end to the other; one is that in the middle."""
    n = min(n, len(values))
    at = np.linspace(0, len(values) - 1, n).round().astype(int) if n > 1 else [len(values) // 2]
    return tuple(values[i] for i in at)


def _names(known):
    def parse(text):
        names = text.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
        return names

    return parse


def _say(text):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
