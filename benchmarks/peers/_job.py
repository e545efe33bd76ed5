"""What all peers share: arguments, data, the order of batches, and the answer.

A job is the full grid of learning rates and seeds: MLP or CNN, batches of 64, AdamW, LeCun-normal kernels, zero biases,
one validation accuracy at the end of each trial. This file imports NumPy only: each peer pays for its own imports.
"""

import argparse
import itertools
import json
import time
from typing import NamedTuple

import numpy as np

BATCH = 64
DECAY = 1e-4
CLASSES = 10


class Job(NamedTuple):
    model: str
    lrs: list[float]
    seeds: list[int]
    steps: int
    parallel: int
    data: dict[str, np.ndarray]
    began: float

    @property
    def trials(self):
        """Learning rates and seeds of all trials, the seeds running faster."""
        return list(itertools.product(self.lrs, self.seeds))


def read_job():
    """Returns the job that the command line describes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", choices=("mlp", "cnn"), required=True)
    parser.add_argument("--lrs", type=json.loads, required=True)
    parser.add_argument("--seeds", type=json.loads, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--parallel", type=int, default=1, help="threads or workers, of peers that let one choose")
    given = parser.parse_args()
    with np.load(given.data) as file:
        data = {name: file[name] for name in file.files}
    return Job(given.model, given.lrs, given.seeds, given.steps, given.parallel, data, time.perf_counter())


def batch_order(seed, n, steps):
    """Returns the examples of each update, shape (steps, batch): a new permutation in each epoch of full batches."""
    rng = np.random.default_rng(seed)
    epochs = -(-steps // (n // BATCH))
    return np.concatenate([rng.permutation(n)[: n // BATCH * BATCH].reshape(-1, BATCH) for _ in range(epochs)])[:steps]


def answer(job, accuracies):
    """Prints the accuracies, in the order of `job.trials`, as a line of JSON."""
    accuracies = np.asarray(accuracies, float).ravel().tolist()
    seconds = time.perf_counter() - job.began
    print(json.dumps({"accuracy": accuracies, "trials": len(accuracies), "seconds_training": seconds}), flush=True)
