"""How good is a small convolutional network after one epoch of MNIST, and how sure is that?

Command:  python experiments/mnist.py --out runs/mnist (or: jaxtune run experiments/mnist.py)
Runtime:  under two minutes on 2 CPU cores.
Answer:   the accuracy on the 10,000 test images over 8 seeds, as lanes of one program, with the interval of the mean over seeds
          and, next to it, what the finite number of test images adds to it (LeCun, Bottou, Bengio, Haffner,
          "Gradient-based learning applied to document recognition", 1998).

It reads the set that `tfds.load("mnist")` leaves in `~/tensorflow_datasets`, or in the folder that `TFDS_DATA_DIR` names.
"""

# %% The question
from pathlib import Path

import numpy as np
import optax

import jaxtune as jt

data = jt.data.load("mnist")


def recipe(hp):
    """Two blocks of convolution and pooling, Adam with a rate that falls to zero along a cosine."""
    rate = jt.optim.schedules.cosine(hp.lr, hp.run.steps)
    return jt.Recipe(jt.models.CNN((16, 32), hp.run.outputs), optimizer=optax.adam(rate), batch_size=64)


experiment = jt.Experiment(recipe, jt.grid(lr=[2e-3]), data, steps=844, seeds=8, eval_every=422)  # one epoch
metric = "valid_accuracy"


# %% The answer
def report(result, out):
    """Says what was found, and draws what the networks get wrong."""
    seeds = result.dataset["seed"].values.tolist()
    scores = np.stack([result.predict(data.test.x, seed=seed) for seed in seeds])
    right = scores.argmax(-1) == data.test.y
    over_seeds = jt.results.t_interval(right.mean(1))
    over_images = jt.results.t_interval(right.mean(0))
    print(
        f"After {result.dataset['step'].values[-1]} updates {over_seeds.mean:.2%} of the test images are right: "
        f"[{over_seeds.low:.2%}, {over_seeds.high:.2%}] is the interval of the mean over {len(seeds)} seeds, and "
        f"[{over_images.low:.2%}, {over_images.high:.2%}] that of these networks over other test images."
    )
    never = np.flatnonzero(~right.any(0))
    together = (scores.mean(0).argmax(-1) == data.test.y).mean()
    print(
        f"{len(never)} of {right.shape[1]} images are wrong with every seed, {np.sum(~right.all(0))} with some; "
        f"the mean of all {len(seeds)} networks' logits is right on {together:.2%}."
    )
    if out is not None and len(never):
        from matplotlib.figure import Figure

        shown = never[:16]
        figure = Figure(figsize=(8, 1.3 * -(-len(shown) // 8) + 0.4), layout="constrained")
        axes = figure.subplots(-(-len(shown) // 8), 8, squeeze=False).ravel()
        for ax in axes:
            ax.axis("off")
        for ax, i in zip(axes, shown, strict=False):
            ax.imshow(data.test.x[i, ..., 0], cmap="gray_r")
            ax.set_title(
                f"{data.test.y[i]}, taken for {np.bincount(scores[:, i].argmax(-1)).argmax()}", fontsize="small"
            )
        figure.suptitle("test images that are wrong with every seed", fontsize="medium")
        figure.savefig(Path(out) / "wrong.png", dpi=150)
        print(f"Figure: {Path(out) / 'wrong.png'}")


if __name__ == "__main__":
    jt.cli.script(experiment, report, metric)
