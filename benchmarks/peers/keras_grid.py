"""KerasTuner's GridSearch over learning rates and seeds. (A script called keras_tuner.py would import itself.)"""

import tempfile

import _job
import keras_tuner
from _keras import compiled_model, examples

job = _job.read_job()


class Trial(keras_tuner.HyperModel):
    def build(self, hp):
        return compiled_model(job.model, hp.Choice("lr", job.lrs), hp.Choice("seed", job.seeds))

    def fit(self, hp, model, **kwargs):
        return model.fit(**kwargs, **examples(job, hp.get("seed")))


with tempfile.TemporaryDirectory() as folder:
    tuner = keras_tuner.GridSearch(Trial(), objective="val_accuracy", directory=folder, overwrite=True)
    tuner.search(validation_data=(job.data["valid_x"], job.data["valid_y"]), validation_batch_size=256, verbose=0)
found = {(t.hyperparameters.get("lr"), t.hyperparameters.get("seed")): t.score for t in tuner.oracle.trials.values()}
_job.answer(job, [found[trial] for trial in job.trials])
