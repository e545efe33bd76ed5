"""Which regularizer helps a small network on few digits?

Command:  python experiments/regularization.py --out runs/regularization    (or: jaxtune run experiments/regularization.py)
Runtime:  under a minute on 2 CPU cores.
Answer:   the paired difference of each arm's validation loss from the unregularized network's, over 8 seeds. The loss
          and not the accuracy, for what overfits first is the confidence. A regularizer helps if the interval of its
          difference lies below 0 and its corrected p is below 0.05.
"""

# %% The question
from pathlib import Path

import optax

import jaxtune as jt

OFF = float("inf")

data = jt.data.load("digits", fractions=(0.06, 0.47, 0.47))  # 108 training images: few enough to overfit


def recipe(hp):
    """A network of two hidden layers with every regularizer at hand."""
    return jt.Recipe(
        jt.models.MLP((128, 128), hp.run.outputs, dropout=hp.dropout, batch_norm=hp.batch_norm),
        optimizer=optax.adam(1e-3),
        batch_size=32,
        penalty=jt.penalties.elastic_net(hp.l1, hp.l2),
        early_stopping=jt.EarlyStopping(hp.patience),
    )


none = dict(l1=0.0, l2=0.0, dropout=0.0, patience=OFF, batch_norm=False)
arms = {
    "L1": dict(l1=1e-4),
    "L2": dict(l2=1e-3),
    "elastic net": dict(l1=5e-5, l2=5e-4),
    "dropout": dict(dropout=0.5),
    "early stopping": dict(patience=5.0),
    "batch norm": dict(batch_norm=True),
    "all": dict(l1=5e-5, l2=5e-4, dropout=0.5, patience=5.0, batch_norm=True),
}
experiment = jt.Experiment(recipe, jt.arms(none, arms), data, steps=900, seeds=8, eval_every=30)
metric = "valid_loss"


# %% The answer
def report(result, out):
    """Says what was found, and draws it."""
    table = result.compare(metric)
    helped = table[(table.high < 0) & (table.p_holm < 0.05)].sort_values("difference")
    harmed = table[(table.low > 0) & (table.p_holm < 0.05)]
    best = result.best(metric)
    accuracy = result.summary("test_accuracy").loc[best.arm["arm"]]

    def names(rows):
        return ", ".join(f"{arm} ({difference:+.3f} nats)" for arm, difference in rows.difference.items()) or "none"

    print(
        f"\nOn {len(data.train)} training digits these lower the validation loss: {names(helped)}; these raise it: {names(harmed)}."
        f"\nValidation chooses {best.arm['arm']}, with a test loss of {best.test.mean:.3f} [{best.test.low:.3f}, {best.test.high:.3f}] "
        f"and a test accuracy of {accuracy['mean']:.1%} [{accuracy.low:.1%}, {accuracy.high:.1%}] over {best.test.n} seeds."
    )
    if out is not None:
        jt.plots.learning_curves(result, metric).savefig(Path(out) / "learning_curves.png", dpi=150)
        jt.plots.response(result, metric, axis="arm").savefig(Path(out) / "response.png", dpi=150)
        print(f"Figures: {Path(out) / 'learning_curves.png'}, {Path(out) / 'response.png'}")


if __name__ == "__main__":
    jt.cli.script(experiment, report, metric)
