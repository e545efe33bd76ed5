"""Training alone: an experiment of one program, compiled before anything is timed."""

import sys
import time
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import optax

import jaxtune as jt
from jaxtune._tree import size_bytes
from jaxtune.sweep.lanes import _compile, _execute, _memory, _record
from jaxtune.sweep.programs import _programs
from jaxtune.training._facts import evaluation_steps

sys.path.append(str(Path(__file__).parent / "peers"))
from _linen import MODELS  # noqa: E402 (its folder has to be on the path first)

BATCH = 64


class Run(NamedTuple):
    """Seconds of a run, how many cores were at work on average, and the outcome."""

    seconds: float
    busy: float
    outcome: _record.Outcome


class Training:
    """An experiment compiled for all devices, to be run again and again."""

    def __init__(self, experiment):
        jt.use_all_cores()
        built = _programs.build(experiment, lambda static: _programs.Layout())
        (self.program,) = built.programs
        self.experiment, self.steps, self.eval_every = experiment, built.steps, built.eval_every
        self._compiled = _compile.compile_program(self.program, built.table, jax.local_devices())
        # As jt.run does: no more chunks under way than are of use.
        devices = jax.local_devices()
        of_run = {"devices": devices, "budget": _memory.memory_budget(devices), "kept": 0}
        of_run |= {"seeds": len(experiment.seed_values), "table": size_bytes(built.table)}
        self._at_once = _memory.predict_memory(self.program, **of_run).at_once

    @property
    def devices(self):
        return len(self._compiled)

    @property
    def trials(self):
        return len(self.program.arms) * len(self.experiment.seed_values)

    def run(self, *, devices=None, eval_every=None, experiment=None, report=lambda updates, trials: None):
        """Trains all trials.

        Args:
          devices: how many to use; None is all.
          eval_every: updates between evaluations; None is those of the experiment.
          experiment: another one of the same program, for its hyperparameters.
          report: is told of the progress.
        """
        ends = evaluation_steps(self.steps, eval_every or self.eval_every)
        wall, cpu = time.perf_counter(), time.process_time()
        outcome = _execute.run_program(
            self.program, experiment or self.experiment, self._compiled[:devices], ends, False, report, self._at_once
        )
        seconds = time.perf_counter() - wall
        return Run(seconds, (time.process_time() - cpu) / seconds, outcome)


def linen_experiment(model, arms, seeds, steps):
    """Returns an experiment over learning rates: unmodified Linen modules, AdamW, one evaluation at the end."""

    def recipe(hp):
        return jt.Recipe(MODELS[model](), optimizer=optax.adamw(hp.lr), batch_size=BATCH)

    space = jt.grid(lr=np.geomspace(3e-4, 1e-2, arms).tolist())
    return jt.Experiment(recipe, space, jt.data.load("digits"), steps=steps, seeds=seeds, eval_every=steps)
