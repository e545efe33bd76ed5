"""Which member of the dropout family helps, and at which rate?

Command:  python experiments/dropout.py --out runs/dropout    (or: jaxtune run experiments/dropout.py)
Runtime:  about a minute on 2 CPU cores.
Answer:   each member at the best of its rates, chosen on validation, against the same network without it: the paired
          difference of their test losses over 10 seeds, with p by Holm over the members; and the validation loss over
          all rates. All members sit in one network, where a rate of 0 is off: all trials are lanes of one program.
"""

# %% The question
from collections.abc import Mapping
from pathlib import Path

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import optax

import jaxtune as jt
from jaxtune.nn import linen as layers

data = jt.data.load("digits", fractions=(0.06, 0.47, 0.47))  # 108 training images: few enough to overfit

members = ["dropout", "Gaussian dropout", "alpha dropout", "DropConnect", "spatial dropout", "DropBlock", "DropPath"]
rates = [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97]


class Net(nn.Module):
    """A small residual network, with each member of the family in the place that its paper (see `jt.nn`) has in mind.

    Attributes:
      outputs: number of outputs.
      rates: the rate of each member.
      selu: 1.0 for SELU units, which alpha dropout is made for, 0.0 for ReLU units.
    """

    outputs: int
    rates: Mapping[str, float]
    selu: float

    @nn.compact
    def __call__(self, x, train):
        """Returns the logits."""
        rate, off = self.rates, not train

        def activation(x):
            return jnp.where(self.selu > 0, nn.selu(x), nn.relu(x))

        def drop_units(x):
            x = layers.Dropout(rate["dropout"], deterministic=off)(x)
            x = layers.GaussianDropout(rate["Gaussian dropout"], off)(x)
            return layers.AlphaDropout(rate["alpha dropout"], off)(x)

        x = activation(nn.Conv(8, (3, 3), strides=2)(x))
        for _ in range(2):
            branch = activation(nn.Conv(8, (3, 3))(x))
            branch = layers.SpatialDropout(rate["spatial dropout"], off)(branch)
            branch = layers.DropBlock(rate["DropBlock"], 2, off)(branch)
            x = x + layers.DropPath(rate["DropPath"], off)(branch)
        x = drop_units(x.reshape(x.shape[0], -1))
        x = activation(layers.DropConnectDense(64, rate["DropConnect"], deterministic=off)(x))
        return nn.Dense(self.outputs)(drop_units(x))


def recipe(hp):
    """A member is a one-hot vector, so that all rates are 0 but its own."""
    rate = dict(zip(members, hp.rate * hp.member, strict=True))
    selu = hp.member[members.index("alpha dropout")]
    return jt.Recipe(Net(hp.run.outputs, rate, selu), optimizer=optax.adam(3e-3), batch_size=16)


one_hot = dict(zip(members, np.eye(len(members)), strict=True))
experiment = jt.Experiment(recipe, jt.grid(member=one_hot, rate=rates), data, steps=250, seeds=10, eval_every=250)
metric = "valid_loss"


# %% The answer
def report(result, out):
    """Says what was found, and draws it."""
    valid, test = result.dataset[metric].isel(step=-1), result.dataset["test_loss"]
    means = valid.mean("seed", skipna=False).sel(rate=rates[1:])
    best = {m: float(means.sel(member=m).idxmin("rate")) for m in members}

    def at(member, rate):
        return test.sel(member=member, rate=rate).values

    gains = {m: at(m, best[m]) - at(m, 0.0) for m in members}
    corrected = jt.results.holm([jt.results.paired_p(gain) for gain in gains.values()])
    p = dict(zip(members, corrected, strict=True))
    print(f"\n{'at its best rate above 0':24s} {'rate':>4s}  {'test loss':>9s}  minus that without it, paired")
    for m in members:
        difference = jt.results.t_interval(gains[m])
        against = f"{difference.mean:+.3f} nats [{difference.low:+.3f}, {difference.high:+.3f}], p {p[m]:.2g}"
        print(f"{m:24s} {best[m]:4g}  {at(m, best[m]).mean():9.3f}  {against}")

    def names(sign):
        return ", ".join(m for m in members if p[m] < 0.05 and sign * gains[m].mean() > 0) or "none"

    first, second = sorted(members, key=lambda m: float(means.sel(member=m).min()))[:2]
    lead = jt.results.t_interval(at(first, best[first]) - at(second, best[second]))
    unclear = ", which these seeds cannot tell from 0" if lead.low < 0 < lead.high else ""
    edge = [m for m in members if best[m] == rates[-1]]
    print(
        f"On {len(data.train)} training digits these lower the test loss: {names(-1)}; these raise it: {names(1)}.\n"
        f"The best rate is the largest that was tried for: {', '.join(edge) or 'none'}.\n"
        f"Validation prefers {first} ({best[first]:g}), then {second} ({best[second]:g}).\n"
        f"The test loss of the former minus that of the latter is {lead.mean:+.3f} nats "
        f"[{lead.low:+.3f}, {lead.high:+.3f}]{unclear}."
    )
    if out is not None:
        draw(result).savefig(Path(out) / "rates.png", dpi=150)
        print(f"Figure: {Path(out) / 'rates.png'}")


def draw(result):
    """Returns the figure: the loss over the rate."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    figure = Figure(figsize=(8.5, 4.3), layout="constrained")
    ax = figure.subplots()
    table = result.summary(metric)
    for i, m in enumerate(members):
        aside = 0.005 * (i - len(members) // 2)  # so that intervals do not cover each other
        t = table.loc[m]
        ends = [t["mean"] - t.low, t.high - t["mean"]]
        ax.errorbar(np.array(rates) + aside, t["mean"], ends, marker="o", markersize=4, label=m)
    ax.set(yscale="log", xlabel="rate", ylabel="validation loss (nats)")
    ax.minorticks_off()
    ax.set_xticks(rates, [f"{rate:g}" for rate in rates])
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 4, 5, 6, 8)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.set_title(f"mean and 95% interval over {result.dataset.sizes['seed']} seeds", fontsize="small")
    figure.legend(loc="outside right center", fontsize="small")
    return figure


if __name__ == "__main__":
    jt.cli.script(experiment, report, metric)
