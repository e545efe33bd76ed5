"""Dense or convolutional, at equal parameters?

Command:  python experiments/dense_vs_conv.py --out runs/dense_vs_conv    (or: jaxtune run experiments/dense_vs_conv.py)
Runtime:  about a minute on 2 CPU cores.
Answer:   the test accuracy of a convolutional network minus that of a dense one with as many layers and parameters,
          paired over 16 seeds, for few and many training examples; with the pixels in place, with those of all images
          permuted alike, so that neighbours are neighbours no more, and with test images shifted by a pixel. Each is at
          its best learning rate, chosen on validation. One program for each of the four networks.
"""

# %% The question
import itertools
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np
import optax

import jaxtune as jt

data = jt.data.load("digits", fractions=(0.5565, 0.15, 0.2935))  # 1,000 training images
sizes = [60, 250, len(data.train)]
networks = {
    "small": {"dense": jt.models.MLP((20, 20), data.outputs), "conv": jt.models.CNN((8, 16), data.outputs)},
    "large": {"dense": jt.models.MLP((49, 49), data.outputs), "conv": jt.models.CNN((16, 32), data.outputs)},
}
models = ["dense", "conv"]
in_place = np.eye(data.train.x[0].size)
pixels = {"in place": in_place, "permuted": np.random.default_rng(0).permutation(in_place)}
views = [*pixels, "shifted"]


class Arranged(nn.Module):
    """A network that sees its images' pixels in the order that a permutation matrix brings them into."""

    network: nn.Module
    matrix: jax.Array

    @nn.compact
    def __call__(self, x):
        """Returns the logits."""
        return self.network((x.reshape(x.shape[0], -1) @ self.matrix).reshape(x.shape))


def recipe(hp):
    """One of the networks, on some of the examples."""
    return jt.Recipe(
        Arranged(networks[hp.budget][hp.model], hp.pixels),
        optimizer=optax.adam(hp.lr),
        batch_size=30,
        subset=jt.data.first(hp.size),
    )


space = jt.grid(budget=list(networks), model=models, pixels=pixels, size=jt.traced(sizes), lr=[2e-3, 8e-3, 3e-2])
experiment = jt.Experiment(recipe, space, data, steps=300, seeds=16, eval_every=300)
metric = "valid_accuracy"


# %% The answer
def report(result, out):
    """Says what was found, and draws it."""
    best = result.dataset[metric].isel(step=-1).mean("seed", skipna=False).idxmax("lr")
    test = 100 * result.dataset["test_accuracy"].sel(lr=best)
    accuracy = {}
    for b, m in itertools.product(networks, models):
        accuracy |= {(b, m, p, n): test.sel(budget=b, model=m, pixels=p, size=n).values for p in pixels for n in sizes}
        accuracy[b, m, "shifted", sizes[-1]] = shifted(result, best, b, m)
    gains = {(b, p, n): accuracy[b, "conv", p, n] - dense for (b, m, p, n), dense in accuracy.items() if m == "dense"}
    corrected = dict(zip(gains, jt.results.holm([jt.results.paired_p(gain) for gain in gains.values()]), strict=True))
    print("\nTest accuracy [%] at the best learning rate; conv minus dense, paired; p by Holm")
    print("budget  pixels    examples  dense  conv  conv minus dense        p")
    for (b, p, n), gain in gains.items():
        dense, conv = (accuracy[b, m, p, n].mean() for m in models)
        print(f"{b:7s} {p:9s} {n:8d}   {dense:4.1f}  {conv:4.1f}  {text(gain):21s} {corrected[b, p, n]:6.1g}")
    print(f"\nTest accuracy [%] with {sizes[-1]} examples minus that with the pixels in place, paired, not corrected")
    print("budget  model  parameters  permuted             shifted by a pixel")
    for b, m in itertools.product(networks, models):
        costs = [accuracy[b, m, p, sizes[-1]] - accuracy[b, m, "in place", sizes[-1]] for p in ("permuted", "shifted")]
        print(f"{b:7s} {m:5s}  {parameters(b, m):10d}  {text(costs[0]):19s}  {text(costs[1])}")

    def names(p, sign):
        sure = [k for k in gains if k[1] == p and corrected[k] < 0.05 and sign * gains[k].mean() > 0]
        return ", ".join(f"{b} {n}" for b, _, n in sure) or "none"

    for p in views:
        print(f"Pixels {p}: budgets and examples with which conv is ahead: {names(p, 1)}; behind: {names(p, -1)}.")
    if out is not None:
        draw(accuracy).savefig(Path(out) / "dense_vs_conv.png", dpi=150)
        print(f"Figure: {Path(out) / 'dense_vs_conv.png'}")


def shifted(result, best, budget, model):
    """Returns the test accuracy of each seed [%] on images shifted by a pixel, in four directions."""
    padded = np.pad(data.test.x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    x = np.concatenate([padded[:, i : i + 8, j : j + 8] for i, j in ((0, 1), (2, 1), (1, 0), (1, 2))])
    at = dict(budget=budget, model=model, pixels="in place", size=sizes[-1])
    outputs = [result.predict(x, **at, lr=best.sel(at).item(), seed=seed) for seed in result.dataset["seed"].values]
    return np.array([100 * np.mean(np.argmax(each, axis=1) == np.tile(data.test.y, 4)) for each in outputs])


def parameters(budget, model):
    """Returns the number of parameters of a network."""
    shapes = jax.eval_shape(networks[budget][model].init, jax.random.key(0), data.train.x[:1])
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


def text(values):
    """Returns a mean and its interval as text."""
    mean, low, high, _ = jt.results.t_interval(values)
    return f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]"


def draw(accuracy):
    """Returns the figure: accuracy over the number of examples, and on permuted and shifted pixels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.3), layout="constrained")
    *left, right = figure.subplots(1, 3)
    for ax, b, marker in zip(left, networks, "so", strict=True):
        for i, m in enumerate(models):
            style = dict(color=f"C{i}", marker=marker)
            for p, line, aside in (("in place", "-", 0.98), ("permuted", "--", 1.02)):  # intervals side by side
                values = [accuracy[b, m, p, n] for n in sizes]
                intervals(ax, aside * np.array(sizes), values, label=f"{m}, pixels {p}", linestyle=line, **style)
            at = np.arange(len(views)) + 0.1 * i + (0.15 if b == "large" else -0.25)
            values = [accuracy[b, m, p, sizes[-1]] for p in views]
            intervals(right, at, values, label=f"{b}, {m}", linestyle="none", **style)
        ax.set_title(f"{b}: {parameters(b, 'dense')} and {parameters(b, 'conv')} parameters", fontsize="small")
        ax.set(xscale="log", xlabel="training examples", ylabel="test accuracy [%]", ylim=(70, 100))
        ax.minorticks_off()
        ax.set_xticks(sizes, sizes)
    right.set_title(f"{sizes[-1]} training examples", fontsize="small")
    right.set(xlabel="pixels", ylabel="test accuracy [%]", ylim=(0, 100))
    right.set_xticks(range(len(views)), views)
    left[0].legend(fontsize="small", loc="lower right")
    right.legend(fontsize="small", loc="lower left")
    figure.suptitle(f"mean and 95% interval over {len(values[0])} seeds", fontsize="small")
    return figure


def intervals(ax, x, values, **style):
    """Draws means over seeds with their intervals."""
    mean, low, high, _ = np.array([jt.results.t_interval(row) for row in values]).T
    ax.errorbar(x, mean, [mean - low, high - mean], markersize=5, linewidth=1.2, **style)


if __name__ == "__main__":
    jt.cli.script(experiment, report, metric)
