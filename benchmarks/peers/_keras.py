"""What the two Keras peers share: the model, and the examples in the order of the updates."""

import _job
import keras
from keras import layers

if keras.backend.backend() != "jax":
    raise RuntimeError("these peers run on JAX: set KERAS_BACKEND=jax")

LAYERS = {
    "mlp": lambda: [
        layers.Flatten(),
        layers.Dense(128, activation="relu", kernel_initializer="lecun_normal"),
        layers.Dense(128, activation="relu", kernel_initializer="lecun_normal"),
    ],
    "cnn": lambda: [
        layers.Conv2D(16, 3, padding="same", activation="relu", kernel_initializer="lecun_normal"),
        layers.MaxPooling2D(2),
        layers.Conv2D(32, 3, padding="same", activation="relu", kernel_initializer="lecun_normal"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
    ],
}


def compiled_model(name, lr, seed):
    """Returns a fresh model, compiled."""
    keras.utils.set_random_seed(seed)
    head = layers.Dense(_job.CLASSES, kernel_initializer="lecun_normal")
    model = keras.Sequential([keras.Input((8, 8, 1)), *LAYERS[name](), head])
    model.compile(
        optimizer=keras.optimizers.AdamW(lr, weight_decay=_job.DECAY, epsilon=1e-8),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def examples(job, seed):
    """Returns the arguments of `fit` that make exactly `steps` updates: one long epoch of examples in their order."""
    order = _job.batch_order(seed, len(job.data["train_x"]), job.steps).ravel()
    arrays = {"x": job.data["train_x"][order], "y": job.data["train_y"][order]}
    return arrays | {"batch_size": _job.BATCH, "shuffle": False, "epochs": 1}
