"""jaxtune: the modules as they are, one evaluation at the end."""

import _job
import optax
from _linen import MODELS

import jaxtune as jt

job = _job.read_job()
train, valid, test = (jt.data.Arrays(job.data[f"{s}_x"], job.data[f"{s}_y"]) for s in ("train", "valid", "test"))


def recipe(hp):
    return jt.Recipe(MODELS[job.model](), optimizer=optax.adamw(hp.lr, weight_decay=_job.DECAY), batch_size=_job.BATCH)


experiment = jt.Experiment(
    recipe,
    jt.grid(lr=job.lrs),
    jt.data.Splits(train, valid, test),
    steps=job.steps,
    seeds=job.seeds,
    eval_every=job.steps,
)
result = jt.run(experiment, keep=None)
_job.answer(job, result.dataset["valid_accuracy"].isel(step=-1).transpose("lr", "seed").values)
