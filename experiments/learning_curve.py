"""How much would more data help, and which model needs it?

Command:  python experiments/learning_curve.py --out runs/learning_curve    (or: jaxtune run experiments/learning_curve.py)
Runtime:  under a minute on 2 CPU cores.
Answer:   a linear model and a network over the number of training examples, with and without an L2 penalty, at the
          strength that validation chooses for each number, 0 among them: what the penalty is worth on test, paired over
          16 seeds; and a power law of the test error, fitted to all numbers but the largest, which it then predicts.
          Each seed draws its own examples. Numbers and strengths are lanes of one program per model.
"""

# %% The question
from pathlib import Path

import numpy as np
import optax

import jaxtune as jt

data = jt.data.load("digits", fractions=(0.5565, 0.2, 0.2435))  # 1,000 training images
sizes = [30, 60, 120, 250, 500, len(data.train)]
strengths = [0.0, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2]
models = {"linear model": (), "network": (64, 64)}  # widths of the hidden layers


def recipe(hp):
    """A model that sees some of the examples, in as many updates whatever their number."""
    return jt.Recipe(
        jt.models.MLP(hp.model, hp.run.outputs),
        optimizer=optax.sgd(0.05, momentum=0.9),
        batch_size=30,
        subset=jt.data.first(hp.size),
        penalty=jt.penalties.l2(hp.l2),
    )


space = jt.grid(model=jt.static(models), size=jt.traced(sizes), l2=strengths)
experiment = jt.Experiment(recipe, space, data, steps=800, seeds=16, eval_every=800)
metric = "valid_loss"


# %% The answer
def report(result, out):
    """Says what was found, and draws it."""
    last = result.dataset[[metric, "train_loss", "test_loss", "test_accuracy"]].isel(step=-1)
    chosen = last[metric].mean("seed", skipna=False).idxmin("l2")
    of = {(m, way): last.sel(l2=l2).sel(model=m) for m in models for way, l2 in (("plain", 0.0), ("L2", chosen))}
    gains = {m: (of[m, "L2"] - of[m, "plain"]).test_loss.values for m in models}
    p = corrected(np.concatenate(list(gains.values()))).reshape(len(models), -1)
    print("\nTest loss with L2 minus that without, paired; p by Holm; and the gap from training to test loss")
    print("model         examples      L2  difference [nats]               p   gap: plain     L2")
    for m, q in zip(models, p, strict=True):
        gaps = [(of[m, way].test_loss - of[m, way].train_loss).mean("seed").values for way in ("plain", "L2")]
        for n, gain, at, plain, penalized in zip(sizes, gains[m], q, *gaps, strict=True):
            row = f"{m:13s} {n:8d}  {float(chosen.sel(model=m, size=n)):6g}  {text(gain, '+.3f'):24s} {at:7.1g}"
            print(f"{row}        {plain:5.3f}  {penalized:5.3f}")
    for m, q in zip(models, p, strict=True):
        print(f"L2 lowers the test loss of the {m} with these numbers of examples: {sure(gains[m], q, -1)}.")

    error = {key: np.maximum(1 - scores.test_accuracy, 0.5 / len(data.test)).values for key, scores in of.items()}
    power, fitted = {}, {}
    print(
        f"\nTest error as b n^-c, fitted seed by seed to fewer than {sizes[-1]} examples, and what that predicts for them"
    )
    print("model                c                  predicted          seen               seen minus predicted")
    for (m, way), seen in error.items():
        power[m, way], fitted[m, way] = law(seen)
        columns = text(power[m, way], ".2f"), text(fitted[m, way][-1], ".1%"), text(seen[-1], ".1%")
        print(f"{m:13s} {way:5s}  {'  '.join(columns)}  {text(seen[-1] - fitted[m, way][-1], '+.1%')}")
    for m in models:
        _, low, high, _ = jt.results.t_interval(error[m, "L2"][-1] - fitted[m, "L2"][-1])
        met = "is more than" if low > 0 else "is less than" if high < 0 else "cannot be told apart from what"
        factor = text(2 ** -power[m, "L2"], ".2f")
        print(f"With L2, twice the examples multiply the test error of the {m} by {factor}; with {sizes[-1]} it {met} "
              "this predicts.")  # fmt: skip
    lead = error["network", "L2"] - error["linear model", "L2"]
    q = corrected(lead)
    print(
        f"With L2, the network's test error minus the linear model's is {text(lead[0], '+.1%')} with {sizes[0]} examples "
        f"and {text(lead[-1], '+.1%')} with {sizes[-1]}.\nIt is higher with {sure(lead, q, 1)}, lower with {sure(lead, q, -1)}."
    )
    if out is not None:
        draw(of, error, fitted).savefig(Path(out) / "learning_curve.png", dpi=150)
        print(f"Figure: {Path(out) / 'learning_curve.png'}")


def corrected(differences):
    """Returns the p values of rows of paired differences, by Holm."""
    return jt.results.holm([jt.results.paired_p(row) for row in differences])


def sure(differences, p, sign):
    """Returns the numbers of examples with differences of this sign, as text."""
    found = [str(n) for n, d, q in zip(sizes, differences, p, strict=True) if q < 0.05 and sign * d.mean() > 0]
    return ", ".join(found) or "none"


def text(values, form):
    """Returns a mean and its interval as text."""
    mean, low, high, _ = jt.results.t_interval(values)
    return f"{mean:{form}} [{low:{form}}, {high:{form}}]"


def law(errors):
    """Returns the power of each seed, fitted to the logarithms of all errors but the last, and the errors it gives."""
    slope, level = np.polyfit(np.log(sizes[:-1]), np.log(errors[:-1]), deg=1)
    return -slope, np.exp(level + np.outer(np.log(sizes), slope))


def draw(of, error, fitted):
    """Returns the figure: the test error with its law, and the losses of each model."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.3), layout="constrained")
    left, *right = figure.subplots(1, 3)
    styles = {"plain": dict(linestyle="--", markerfacecolor="white"), "L2": dict(linestyle="-")}
    for i, ((m, way), errors) in enumerate(error.items()):
        aside = np.array(sizes) * 1.05 ** (i - 1.5)  # so that intervals do not cover each other
        intervals(left, aside, errors, label=f"{m}, {way}", color=f"C{i // 2}", **styles[way] | dict(linestyle="none"))
        left.plot(sizes, fitted[m, way].mean(axis=1), color=f"C{i // 2}", linewidth=1, zorder=0, **styles[way])
    left.set_title(f"mean and 95% interval over {errors.shape[1]} seeds; lines: the law", fontsize="small")
    for ax, m in zip(right, models, strict=True):
        for way, style in styles.items():
            for split, color in (("test", "C3"), ("train", "C2")):
                losses = of[m, way][f"{split}_loss"].values
                intervals(
                    ax, sizes, losses, label=f"{'training' if split == 'train' else split}, {way}", color=color, **style
                )
        ax.set_title(m, fontsize="small")
        ax.set(ylabel="loss [nats]", ylim=(2e-4, 4))
    for ax in (left, *right):
        ax.set(xscale="log", yscale="log", xlabel="training examples")
        ax.minorticks_off()
        ax.set_xticks(sizes, sizes)
        ax.yaxis.set_major_formatter("{x:g}")
        ax.legend(fontsize="small")
    left.set_ylabel("test error")
    left.set_yticks(ticks := [0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5], [f"{tick:.0%}" for tick in ticks])
    return figure


def intervals(ax, x, values, **style):
    """Draws means over seeds with their intervals."""
    mean, low, high, _ = np.array([jt.results.t_interval(row) for row in values]).T
    ax.errorbar(x, mean, [mean - low, high - mean], marker="o", markersize=4, linewidth=1.2, **style)


if __name__ == "__main__":
    jt.cli.script(experiment, report, metric)
