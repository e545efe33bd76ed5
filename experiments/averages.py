"""Does averaging the weights help, and for which learning rates?

Command:  python experiments/averages.py --out runs/averages    (or: jaxtune run experiments/averages.py)
Runtime:  under a minute on 2 CPU cores.
Answer:   the paired difference between the test losses of averaged and of last weights, over 16 seeds, at each constant
          learning rate; then each set of weights at its best rate, chosen on validation, against a cosine rate at
          its own. All averages are taken of the same runs, and all runs are lanes of one program.

Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992.
Izmailov et al., "Averaging weights leads to wider optima and better generalization", 2018.
"""

# %% The question
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import optax

import jaxtune as jt

data = jt.data.load("digits", fractions=(0.5, 0.25, 0.25))

decays = {"ema_9": 0.9, "ema_99": 0.99, "ema_997": 0.997}
kinds = {"": "last weights", **{f"_{name}": f"EMA {decay:g}" for name, decay in decays.items()}, "_swa": "SWA"}
rates = [0.005, 0.01, 0.02, 0.04, 0.08, 0.16]


def recipe(hp):
    """A network with batch norm, whose statistics are estimated anew for each set of weights."""
    falling = jt.optim.schedules.cosine(1.0, hp.run.steps)
    averages = {name: jt.optim.ema(decay) for name, decay in decays.items()}
    return jt.Recipe(
        jt.models.MLP((64, 64), hp.run.outputs, batch_norm=True),
        optimizer=optax.sgd(lambda step: hp.lr * jnp.where(hp.cosine > 0, falling(step), 1.0), momentum=0.9),
        batch_size=16,
        weight_average={**averages, "swa": jt.optim.swa(hp.run.steps / 2)},
        reestimate=True,
    )


space = jt.grid(cosine=[0.0, 1.0], lr=rates)
experiment = jt.Experiment(recipe, space, data, steps=600, seeds=16, eval_every=60)
metric = "valid_loss"


# %% The answer
def report(result, out):
    """Says what was found, and draws it."""
    test = {kind: result.dataset[f"test_loss{kind}"] for kind in kinds}
    averages = [kind for kind in kinds if kind]
    gains = {(kind, lr): (test[kind] - test[""]).sel(cosine=0.0, lr=lr).values for kind in averages for lr in rates}
    p = with_holm(gains)
    print("\nTest loss of averaged minus last weights at a constant learning rate, in nats, paired over seeds")
    print(f"with the half width of the 95% interval; * is p < 0.05 by Holm over the {len(gains)} differences\n")
    print(f"{'rate':10s}" + "".join(f"{lr:>19g}" for lr in rates))
    for kind in averages:
        cells = [(jt.results.t_interval(gains[kind, lr]), p[kind, lr]) for lr in rates]
        shown = [f"{d.mean:+.4f} ± {d.high - d.mean:.4f}{'*' if corrected < 0.05 else ' '}" for d, corrected in cells]
        print(f"{kinds[kind]:10s}" + "".join(f"{cell:>19s}" for cell in shown))

    best = {kind: result.best(f"valid_loss{kind}", per="cosine") for kind in kinds}
    chosen = {kind: float(best[kind].loc[0.0, "lr"]) for kind in kinds}
    lr = float(best[""].loc[1.0, "lr"])
    cosine = test[""].sel(cosine=1.0, lr=lr).values
    against = {kind: test[kind].sel(cosine=0.0, lr=chosen[kind]).values - cosine for kind in kinds}
    p_cosine = with_holm(against)
    print(f"\n{'at its best learning rate':26s} {'lr':>5s}  {'test loss':>9s}  minus the cosine rate's, paired")
    print(f"{'cosine rate, last weights':26s} {lr:5g}  {cosine.mean():9.4f}  the baseline")
    for kind, name in kinds.items():
        d = jt.results.t_interval(against[kind])
        difference = f"{d.mean:+.4f} nats [{d.low:+.4f}, {d.high:+.4f}], p {p_cosine[kind]:.2g}"
        print(f"{name:26s} {chosen[kind]:5g}  {best[kind].loc[0.0, 'test_mean']:9.4f}  {difference}")

    def found(p, sign, values, label):
        names = [label(key) for key in values if p[key] < 0.05 and sign * values[key].mean() > 0]
        return ", ".join(names) or "none"

    print()
    for kind in averages:
        own = {lr: gains[kind, lr] for lr in rates}
        corrected = {lr: p[kind, lr] for lr in rates}
        lower, higher = (found(corrected, sign, own, "{:g}".format) for sign in (-1, 1))
        print(f"{kinds[kind]} lowers the test loss at the learning rates: {lower}; raises it at: {higher}.")
    lower, higher = (found(p_cosine, sign, against, kinds.get) for sign in (-1, 1))
    print(f"At its best constant rate a test loss lower than a cosine rate's has: {lower}; a higher one: {higher}.")
    if out is not None:
        draw(result, lr=chosen["_swa"]).savefig(Path(out) / "averages.png", dpi=150)
        print(f"Figure: {Path(out) / 'averages.png'}")


def with_holm(differences):
    """Returns the p values of paired differences, corrected for their number."""
    p = jt.results.holm([jt.results.paired_p(values) for values in differences.values()])
    return dict(zip(differences, p, strict=True))


def draw(result, lr):
    """Returns the figure: the loss over the learning rate, and through training at one of them."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    figure = Figure(figsize=(11, 4.3), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    lines = {f"constant rate, {name}": (f"valid_loss{kind}", 0.0) for kind, name in kinds.items()}
    for i, (name, (loss, cosine)) in enumerate({**lines, "cosine rate, last weights": (metric, 1.0)}.items()):
        style = {"color": f"C{i - 1}" if i else "black", "linestyle": "--" if cosine else "-"}
        table = result.summary(loss).loc[cosine]
        ends = [table["mean"] - table.low, table.high - table["mean"]]
        aside = 1.02 ** (i - 2)  # so that intervals do not cover each other
        left.errorbar(np.array(rates) * aside, table["mean"], ends, marker="o", markersize=4, label=name, **style)
        curve = result.dataset[loss].sel(cosine=cosine, lr=lr).mean("seed")
        right.plot(curve.step, curve, **style)
    left.set(xscale="log", yscale="log", xlabel="learning rate", ylabel="validation loss (nats)")
    left.minorticks_off()
    left.set_xticks(rates, [f"{rate:g}" for rate in rates])
    left.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    left.yaxis.set_major_formatter("{x:g}")
    left.set_title(f"mean and 95% interval over {result.dataset.sizes['seed']} seeds", fontsize="small")
    right.set(xlabel="updates")
    right.set_title(f"learning rate {lr:g}; SWA begins after half of the updates", fontsize="small")
    figure.legend(*left.get_legend_handles_labels(), loc="outside right center", fontsize="small")
    return figure


if __name__ == "__main__":
    jt.cli.script(experiment, report, metric)
