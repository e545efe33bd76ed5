"""Which of the course's optimizers is best on digits, and how much does its learning rate matter?

Command:  python experiments/optimizers.py --out runs/optimizers    (or: jaxtune run experiments/optimizers.py)
Runtime:  about a minute on 2 CPU cores.
Answer:   each optimizer at its best learning rate, chosen on validation, against momentum at its own, paired over 4 seeds;
          and the validation loss over all learning rates. All 192 trials are lanes of one program.
"""

# %% The question
from pathlib import Path

import jaxtune as jt

data = jt.data.load("digits")

kinds = {
    "gradient descent": jt.optim.gd_kind(),
    "momentum": jt.optim.momentum_kind(0.9),
    "Nesterov": jt.optim.nesterov_kind(0.9),
    "RMSprop": jt.optim.rmsprop_kind(0.9),
    "Adam": jt.optim.adam_kind(),
    "AdamW": jt.optim.adamw_kind(weight_decay=0.1),
}
rates = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1]


def recipe(hp):
    """A network of two hidden layers; the optimizer's coefficients are hyperparameters like any other."""
    return jt.Recipe(
        jt.models.MLP((64, 64), hp.run.outputs),
        optimizer=jt.optim.from_kind(hp.optimizer, hp.lr),
        batch_size=64,
    )


experiment = jt.Experiment(recipe, jt.grid(optimizer=kinds, lr=rates), data, steps=600, seeds=4, eval_every=50)
metric = "valid_loss"


# %% The answer
def report(result, out):
    """Says what was found, and draws it."""
    best = result.best(metric, per="optimizer")
    losses = result.dataset[metric].isel(step=-1)
    at_best = {name: losses.sel(optimizer=name, lr=best.loc[name, "lr"]).values for name in kinds}
    print(f"\n{'at its best learning rate':26s} {'lr':>6s}  validation loss minus momentum's, paired over seeds")
    for name in kinds:
        difference = jt.results.t_interval(at_best[name] - at_best["momentum"])
        against = f"{difference.mean:+.4f} nats [{difference.low:+.4f}, {difference.high:+.4f}]"
        print(f"{name:26s} {best.loc[name, 'lr']:6g}  {'the baseline' if name == 'momentum' else against}")
    near = {name: int((losses.sel(optimizer=name).mean("seed") < 2 * at_best[name].mean()).sum()) for name in kinds}
    print(
        f"Of {len(rates)} learning rates these many come within twice an optimizer's best loss: "
        + ", ".join(f"{name} {count}" for name, count in near.items())
        + "."
    )
    if out is not None:
        figure = jt.plots.response(result, metric, axis="lr")
        figure.axes[0].set_yscale("log")
        figure.axes[0].set_ylim(bottom=0.4 * float(losses.min()))  # intervals of few seeds may reach far down
        figure.savefig(Path(out) / "learning_rates.png", dpi=150)
        print(f"Figure: {Path(out) / 'learning_rates.png'}")


if __name__ == "__main__":
    jt.cli.script(experiment, report, metric)
