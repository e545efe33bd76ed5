"""Optuna around a Flax training run that is compiled once."""

import _job
import jax
import jax.numpy as jnp
import optuna
from _linen import trainer

job = _job.read_job()
data = jax.device_put(job.data)
# Compiled before the study, so that parallel workers do not do it twice.
train = jax.jit(trainer(job.model, job.steps)).lower(jnp.float32(0), jnp.int32(0), data).compile()


def objective(trial):
    lr = trial.suggest_float("lr", min(job.lrs), max(job.lrs), log=True)
    seed = trial.suggest_int("seed", min(job.seeds), max(job.seeds))
    return float(train(jnp.float32(lr), jnp.int32(seed), data))


optuna.logging.set_verbosity(optuna.logging.WARNING)
sampler = optuna.samplers.GridSampler({"lr": job.lrs, "seed": job.seeds}, seed=0)
study = optuna.create_study(direction="maximize", sampler=sampler)
study.optimize(objective, n_trials=len(job.trials), n_jobs=job.parallel)
found = {(t.params["lr"], t.params["seed"]): t.value for t in study.trials}
_job.answer(job, [found[trial] for trial in job.trials])
