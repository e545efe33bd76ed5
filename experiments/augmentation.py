"""Which augmentations help on handwritten digits, and which harm?

Command:  python experiments/augmentation.py --out runs/augmentation    (or: jaxtune run experiments/augmentation.py)
Runtime:  about a minute on 2 CPU cores.
Answer:   the test accuracy with each augmentation minus that without any, paired over 8 seeds, with p values corrected
          for their number; and what the augmented digits look like. All 104 trials are lanes of one program, in which
          traced weights say which of the augmented batches is trained on. Sources are in `jt.data.augment`.
"""

# %% The question
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxtune as jt
from jaxtune.data import augment

data = jt.data.load("digits", fractions=(0.1, 0.4, 0.5))  # 180 training images: few enough to want more

augmentations = {
    "none": lambda key, batch: batch,
    "shift by up to 1 pixel": augment.shift(1),
    "rotation by up to 15 degrees": augment.rotate(15),
    "zoom by up to 15%": augment.zoom(0.15),
    "shear by up to 0.2": augment.shear(0.2),
    "brightness by up to 0.3": augment.brightness(0.3),
    "contrast by up to 50%": augment.contrast(0.5),
    "noise of scale 0.2": augment.noise(0.2),
    "cutout of 3 pixels": augment.cutout(3),
    "mixup, alpha 0.4": augment.mixup(0.4, data.outputs),
    "cutmix, alpha 1": augment.cutmix(1.0, data.outputs),
    "horizontal flip": augment.flip(0.5),
    "vertical flip": augment.flip(0.5, axis="vertical"),
}


def one_of(weights):
    """Returns the augmentation whose weight is 1, where all others are 0."""

    def chosen(key, batch):
        batch = batch._replace(y=jax.nn.one_hot(batch.y, data.outputs))  # mixed labels are probabilities
        batches = [one(jax.random.fold_in(key, i), batch) for i, one in enumerate(augmentations.values())]
        return jax.tree.map(lambda *each: jnp.tensordot(weights, jnp.stack(each), 1), *batches)

    return chosen


def recipe(hp):
    """A small convolutional network."""
    return jt.Recipe(
        jt.models.CNN((32,), hp.run.outputs),
        optimizer=optax.adam(3e-3),
        batch_size=32,
        augment=one_of(hp.weights),
    )


weights = dict(zip(augmentations, np.eye(len(augmentations)), strict=True))
space = jt.arms(dict(weights=weights.pop("none")), {name: dict(weights=one) for name, one in weights.items()})
experiment = jt.Experiment(recipe, space, data, steps=640, seeds=8, eval_every=80)
metric = "valid_accuracy"


# %% The answer
def report(result, out):
    """Says what was found, and draws it."""
    table = result.compare("test_accuracy").sort_values("difference", ascending=False)
    print("\nTest accuracy minus that without augmentation, in percentage points, paired by seed; p by Holm")
    for name, row in table.iterrows():
        low, mean, high = 100 * row.low, 100 * row.difference, 100 * row.high
        print(f"{name:28s} {mean:+5.1f} [{low:+5.1f}, {high:+5.1f}] {row.p_holm:6.1g}")

    sure = table[table.p_holm < 0.05]
    helped, harmed = (", ".join(sure.index[side]) or "none" for side in (sure.difference > 0, sure.difference < 0))
    chosen, accuracy = result.best(metric).arm["arm"], result.summary("test_accuracy")["mean"]
    print(
        f"With this network and {len(data.train)} digits these raise the test accuracy: {helped}; these lower it: "
        f"{harmed}.\nValidation chooses {'none' if chosen == 'default' else chosen}: {accuracy[chosen]:.1%} on test; "
        f"without augmentation it is {accuracy['default']:.1%}."
    )
    if out is not None:
        draw(table).savefig(Path(out) / "augmentations.png", dpi=150)
        print(f"Figure: {Path(out) / 'augmentations.png'}")


def draw(table):
    """Returns a figure of the differences, and beside each what the augmentation makes of some digits."""
    from matplotlib.figure import Figure

    names = ["none", *table.index]
    batch = jt.data.Batch(jnp.asarray(data.train.x[:9]), jax.nn.one_hot(data.train.y[:9], data.outputs), None)
    images = [augmentations[name](jax.random.key(1), batch).x[..., 0] for name in names]
    strips = [np.hstack(np.pad(each, ((0, 0), (1, 1), (1, 1)))) for each in images]
    figure = Figure(figsize=(9, 6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    places = np.arange(len(names))
    left.axvline(0, color="gray", linestyle=":")
    left.hlines(places[1:], 100 * table.low, 100 * table.high, linewidth=2)
    left.plot(100 * table.difference, places[1:], "o")
    left.set_yticks(places, names)
    left.set_xlabel("test accuracy minus that without augmentation\n[percentage points]")
    left.set_title("mean and 95% interval of paired differences", fontsize="small")
    extent = (0, 1, len(names) - 0.5, -0.5)
    right.imshow(np.vstack(strips), cmap="gray_r", vmin=0, vmax=1, extent=extent, aspect="auto")
    right.tick_params(left=False, bottom=False, labelbottom=False)
    right.set_title("digits as they are trained on", fontsize="small")
    return figure


if __name__ == "__main__":
    jt.cli.script(experiment, report, metric)
