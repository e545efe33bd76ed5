"""Flax and Optax by hand: one jitted vmap over all trials."""

import _job
import jax
import jax.numpy as jnp
from _linen import trainer

job = _job.read_job()
train = jax.jit(jax.vmap(trainer(job.model, job.steps), in_axes=(0, 0, None)))
lrs, seeds = (jnp.array(column) for column in zip(*job.trials, strict=True))
_job.answer(job, train(lrs, seeds, job.data))
