"""Keras 3 on the JAX backend: a loop over trials, each a fresh model."""

import _job
import keras
from _keras import compiled_model, examples

job = _job.read_job()
accuracies = []
for lr, seed in job.trials:
    keras.utils.clear_session()
    model = compiled_model(job.model, lr, seed)
    model.fit(**examples(job, seed), verbose=0)
    scores = model.evaluate(job.data["valid_x"], job.data["valid_y"], batch_size=256, verbose=0, return_dict=True)
    accuracies.append(scores["accuracy"])
_job.answer(job, accuracies)
