"""Batch, mini-batch or stochastic gradient?

Command:  python experiments/minibatch.py --out runs/minibatch    (or: jaxtune run experiments/minibatch.py)
Runtime:  under a minute on 2 CPU cores.
Answer:   the test loss of each batch size minus the full batch's, paired over 8 seeds, after equally many updates and
          after equally many examples, each at its best learning rate for that budget, chosen on validation; and how
          that rate grows with the batch (Shallue et al., "Measuring the effects of data parallelism on neural network
          training", JMLR 2019). Batch sizes are traced: all 320 trials are lanes of one program.
"""

# %% The question
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import optax

import jaxtune as jt

data = jt.data.load("digits", fractions=(0.1425, 0.2, 0.6575))  # 256 training images
full = len(data.train)
sizes = [1, 4, 16, 64, full]
rates = [0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56]


def recipe(hp):
    """A network of one hidden layer and plain gradient descent.

    The penalty keeps the training loss above 0: where all examples are fitted, their gradients vanish, and so does the
    noise of a batch. The average stops moving when a trial has seen as many examples as batches of 1 will have seen in
    the end, and so keeps the parameters of that moment.
    """
    enough = jnp.maximum(hp.run.steps // hp.batch_size, 1)
    return jt.Recipe(
        jt.models.MLP((32,), hp.run.outputs, activation=jnp.tanh),  # ReLUs would die at high rates
        optimizer=optax.sgd(hp.lr),
        batch_size=hp.batch_size,
        penalty=jt.penalties.l2(3e-3),
        weight_average={"examples": jt.optim.ema(jnp.where(hp.step < enough, 0.0, 1.0))},
    )


space = jt.grid(batch_size=jt.traced(sizes), lr=rates)
experiment = jt.Experiment(recipe, space, data, steps=1024, seeds=8, eval_every=4)
metric = "valid_loss"
budgets = {"updates": "", "examples": "_examples"}  # what is equal, and how the names of its metrics end


# %% The answer
def report(result, out):
    """Says what was found, and draws it."""
    best = {}
    for budget, ending in budgets.items():
        losses = result.dataset[metric + ending].isel(step=-1)
        best[budget] = losses.mean("seed", skipna=False).idxmin("lr").to_series()
        compare(result, budget, best[budget])
        by_seed = losses.fillna(np.inf).idxmin("lr").transpose("batch_size", "seed")
        power = jt.results.t_interval(np.polyfit(np.log(sizes), np.log(by_seed.values), deg=1)[0])
        edge = [n for n in sizes if best[budget][n] in (rates[0], rates[-1])]
        print(
            f"The best rate grows like the batch to the power {power.mean:.2f} [{power.low:.2f}, {power.high:.2f}], where "
            f"1 would be in proportion.\nThe best rate is the smallest or largest that was tried for: {shown(edge)}."
        )
    if out is not None:
        draw(result, best).savefig(Path(out) / "minibatch.png", dpi=150)
        print(f"Figure: {Path(out) / 'minibatch.png'}")


def compare(result, budget, best):
    """Prints each batch size at its best rate against the full batch at its own, on test."""
    loss, accuracy = (
        {n: result.dataset[f"test_{name}{budgets[budget]}"].sel(batch_size=n, lr=best[n]).values for n in sizes}
        for name in ("loss", "accuracy")
    )
    gains = {n: loss[n] - loss[full] for n in sizes[:-1]}
    corrected = jt.results.holm([jt.results.paired_p(gain) for gain in gains.values()])
    p = dict(zip(gains, corrected, strict=True))
    amount = int(result.dataset["step"][-1])
    print(f"\nAfter {amount} {budget}: test loss and accuracy at the best rate; loss minus the full batch's, paired")
    print("batch  epochs  rate   loss  accuracy")
    for n in sizes:
        against = "the baseline"
        if n in gains:
            gain = jt.results.t_interval(gains[n])
            against = f"{gain.mean:+.3f} nats [{gain.low:+.3f}, {gain.high:+.3f}], p {p[n]:.2g}"
        epochs = n * (amount if budget == "updates" else max(amount // n, 1)) / full
        print(f"{n:5d}  {epochs:6.4g}  {best[n]:4g}  {loss[n].mean():.3f}  {accuracy[n].mean():8.1%}  {against}")
    lower, higher = ([n for n in gains if p[n] < 0.05 and sign * gains[n].mean() > 0] for sign in (-1, 1))
    near = [n for n in sizes if loss[n].mean() <= 1.1 * min(each.mean() for each in loss.values())]
    print(f"Batches with a test loss lower than the full batch's: {shown(lower)}; with a higher one: {shown(higher)}.")
    print(f"Batches with a test loss within 10% of the lowest: {shown(near)}.")


def shown(batches):
    """Returns batch sizes as text."""
    return ", ".join(map(str, batches)) or "none"


def draw(result, best):
    """Returns the figure: the loss over updates, and over epochs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.3), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    steps = result.dataset["step"].values
    some = np.unique(np.geomspace(1, len(steps), 17).astype(int)) - 1  # evenly spread over a logarithmic axis
    for ax, budget in zip(axes, budgets, strict=True):
        for n in sizes:
            curves = result.dataset[metric].sel(batch_size=n, lr=best[budget][n]).transpose("step", "seed").values[some]
            mean, low, high, _ = np.array([jt.results.t_interval(at) for at in curves]).T
            x = steps[some] * (1 if budget == "updates" else n / full)
            (line,) = ax.plot(x, mean, "o-", markersize=3, label=f"{n} (rate {best[budget][n]:g})")
            ax.fill_between(x, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
        ax.set(xscale="log", yscale="log")
        ax.xaxis.set_major_formatter("{x:g}")
        ax.legend(title="batch size", fontsize="small", title_fontsize="small")
    axes[1].axvline(steps[-1] / full, color="gray", linestyle=":", zorder=0)
    axes[0].set(xlabel="updates", ylabel="validation loss [nats]")
    axes[0].set_ylim(0.2, 3)
    axes[0].set_yticks([], minor=True)
    axes[0].set_yticks(ticks := [0.2, 0.3, 0.5, 1, 2, 3], ticks)
    axes[1].set_xlabel("epochs (dotted: where all have seen equally many examples)")
    note = f"mean and 95% interval over {result.dataset.sizes['seed']} seeds, at the best rate for equally many"
    axes[0].set_title(f"{note} updates", fontsize="small")
    axes[1].set_title(f"{note} examples", fontsize="small")
    return figure


if __name__ == "__main__":
    jt.cli.script(experiment, report, metric)
