"""What does normalization buy: deeper networks, higher learning rates, or neither?

Command:  python experiments/normalization.py --out runs/normalization    (or: jaxtune run experiments/normalization.py)
Runtime:  about a minute on 2 CPU cores.
Answer:   the training loss after a fixed number of updates over depths and learning rates, for pixels as they come (0 to
          16), for standardized inputs, and for batch or layer normalization of hidden units besides; each at its best
          rate against standardized inputs alone at theirs, paired over 8 seeds, and how many rates come near the best.
          (Ioffe and Szegedy, "Batch normalization", 2015; Ba, Kiros, Hinton, "Layer normalization", 2016.)
"""

# %% The question
from pathlib import Path

import flax.linen as nn
import optax

import jaxtune as jt

digits = jt.data.load("digits")
data = jt.data.Splits(*(jt.data.Arrays(16 * part.x, part.y) for part in (digits.train, digits.valid, digits.test)))
DEPTHS = [2, 12]
RATES = [1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0]
KINDS = ["raw inputs", "standardized", "batch norm", "layer norm"]  # the last two standardize the inputs, too


class Deep(nn.Module):
    """Hidden layers of 32 units, each of them normalized or not."""

    depth: int
    kind: str
    outputs: int

    @nn.compact
    def __call__(self, x, train=False):
        x = x.reshape(x.shape[0], -1)
        for _ in range(self.depth):
            x = nn.Dense(32, kernel_init=jt.nn.initializers.he())(x)
            if self.kind == "batch norm":
                x = jt.nn.linen.BatchNorm(use_running_average=not train)(x)
            elif self.kind == "layer norm":
                x = jt.nn.linen.LayerNorm()(x)
            x = nn.relu(x)
        return nn.Dense(self.outputs)(x)


def recipe(hp):
    """Stochastic gradient descent; depth and normalization are programs, learning rates their lanes."""
    return jt.Recipe(
        Deep(hp.depth, hp.kind, hp.run.outputs),
        optimizer=optax.sgd(hp.lr),
        batch_size=64,
        normalize=None if hp.kind == "raw inputs" else jt.data.standardize(),
    )


space = jt.grid(depth=DEPTHS, kind=KINDS, lr=RATES)
experiment = jt.Experiment(recipe, space, data, steps=200, seeds=8, eval_every=200)
metric = "train_loss"  # how far training gets, not how well it generalizes


# %% The answer
def report(result, out):
    """Says what was found, and draws it."""
    losses = result.dataset[metric].isel(step=-1)  # NaN where a trial diverged
    steps = int(losses["step"])
    means = losses.where(losses.notnull().all("seed")).mean("seed", skipna=False)
    best = means.idxmin("lr")
    print(
        f"\n{'depth':>5s}  {'':14s} {'best rate':>9s} {'loss':>7s}  minus standardized inputs, at its best rate  rates within 0.1 of the best"
    )
    gains = []
    for depth in DEPTHS:
        at_best = {
            kind: losses.sel(depth=depth, kind=kind, lr=best.sel(depth=depth, kind=kind)).values for kind in KINDS
        }
        for kind in KINDS:
            gap = jt.results.t_interval(at_best[kind] - at_best["standardized"])
            near = int((means.sel(depth=depth, kind=kind) < at_best[kind].mean() + 0.1).sum())
            shown = "the baseline" if kind == KINDS[1] else f"{gap.mean:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]"
            rate = float(best.sel(depth=depth, kind=kind))
            print(f"{depth:5d}  {kind:14s} {rate:9g} {at_best[kind].mean():7.4f}  {shown:44s} {near} of {len(RATES)}")
            if gap.high < 0 and kind != KINDS[1]:
                gains.append(f"{kind} at depth {depth}")
    print(f"Trains further than standardized inputs alone (loss in nats, after {steps} updates): "
          f"{', '.join(gains) or 'nothing'}.")  # fmt: skip
    if out is not None:
        import matplotlib.pyplot as plt

        figure, axes = plt.subplots(1, len(DEPTHS), figsize=(9, 4), layout="constrained", sharey=True)
        for ax, depth in zip(axes, DEPTHS, strict=True):
            for kind in KINDS:
                line = means.sel(depth=depth, kind=kind)
                ax.plot(RATES, line, marker="o", label=kind)
            ax.set(title=f"{depth} hidden layers", xscale="log", yscale="log", xlabel="learning rate")
            ax.axhline(2.3026, color="grey", linewidth=1, linestyle=":")
        axes[0].set_ylabel(f"training loss after {steps} updates (nats)")
        axes[0].yaxis.set_major_formatter("{x:g}")
        axes[0].text(0.03, 2.45, "chance", fontsize="small", color="grey")
        axes[0].legend(fontsize="small")
        figure.savefig(Path(out) / "normalization.png", dpi=150)
        print(f"Figure: {Path(out) / 'normalization.png'}; a line ends where a trial diverged.")


if __name__ == "__main__":
    jt.cli.script(experiment, report, "valid_loss")
