"""Softmax cross-entropy or another loss: which gives the best accuracy, and which the best calibrated probabilities?

Command:  python experiments/losses.py --out runs/losses    (or: jaxtune run experiments/losses.py)
Runtime:  under a minute on 2 CPU cores.
Answer:   test accuracy and calibration error of each loss minus those of softmax cross-entropy, paired over 8 seeds, at
          the learning rate of the best validation accuracy; and the calibration error after temperature scaling (Guo
          et al., "On calibration of modern neural networks", 2017). All 168 trials are lanes of one program, in which
          traced numbers say which loss counts. Sources are in the docstrings of `jt.losses`
          and `jt.penalties`.
"""

# %% The question
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxtune as jt

data = jt.data.load("digits", fractions=(0.15, 0.4, 0.45))  # 270 training images

off = dict(softmax=0.0, smoothing=0.0, confidence=0.0, focal=0.0, squared=0.0, hinge=0.0, sigmoid=0.0)
losses = {
    "softmax": off | dict(softmax=1.0),
    "label smoothing": off | dict(softmax=1.0, smoothing=0.1),
    "confidence penalty": off | dict(softmax=1.0, confidence=0.1),
    "focal": off | dict(focal=1.0),
    "squared error": off | dict(squared=1.0),
    "hinge": off | dict(hinge=1.0),
    "one against all": off | dict(sigmoid=1.0),
}


calibration = jt.metrics.calibration_error()


def logits(kind, outputs):
    """Returns what a softmax turns into the loss's own probabilities.

    Outputs of the squared error are estimates of probabilities themselves, those of one against all logits of sigmoids.
    """
    estimates, sigmoids = jnp.log(jnp.clip(outputs, 1e-6, 1.0)), jax.nn.log_sigmoid(outputs)
    return jnp.where(kind["squared"], estimates, jnp.where(kind["sigmoid"], sigmoids, outputs))


def recipe(hp):
    """A network of two hidden layers that is trained by a weighted sum of all losses."""
    kind = hp.loss

    def loss(outputs, y):
        targets = jax.nn.one_hot(y, outputs.shape[-1])
        softmax = jt.losses.label_smoothing(kind["smoothing"])
        return (
            kind["softmax"] * softmax(outputs, y)
            + kind["focal"] * jt.losses.focal(2.0)(outputs, y)
            + kind["squared"] * jt.losses.squared_error(outputs, targets)
            + kind["hinge"] * jt.losses.hinge(outputs, y)
            + kind["sigmoid"] * jt.losses.sigmoid_cross_entropy(outputs, targets)
        )

    def update(state, outputs, y, weight):
        return calibration.update(state, logits(kind, outputs), y, weight)

    return jt.Recipe(
        jt.models.MLP((64, 64), hp.run.outputs),
        optimizer=optax.adam(hp.lr),
        batch_size=32,
        loss=loss,
        penalty=jt.penalties.confidence(kind["confidence"]),
        metrics={"calibration_error": calibration._replace(update=update)},
    )


space = jt.grid(loss=losses, lr=[1e-3, 3e-3, 1e-2])
experiment = jt.Experiment(recipe, space, data, steps=600, seeds=8, eval_every=60)
metric = "valid_accuracy"


# %% The answer
def after_scaling(result, name, lr):
    """Returns the test calibration error of each seed, with the temperature that is likeliest on validation."""
    temperatures, errors = jnp.geomspace(0.05, 20.0, 121), []
    for seed in result.dataset["seed"].values.tolist():
        trial = dict(loss=name, lr=lr, seed=seed)
        valid, test = (logits(losses[name], result.predict(split.x, **trial)) for split in (data.valid, data.test))
        surprise = jax.vmap(lambda t, z: jt.losses.softmax_cross_entropy(z / t, data.valid.y).mean(), (0, None))
        scaled = test / temperatures[jnp.argmin(surprise(temperatures, valid))]
        state = calibration.update(calibration.init(), scaled, data.test.y, jnp.ones(len(data.test)))
        errors.append(float(calibration.compute(state)))
    return errors


def report(result, out):
    """Says what was found, and draws it."""
    table = result.best(metric, per="loss")[["lr"]]
    settings = list(table["lr"].items())
    trials = [result.dataset.sel(loss=name, lr=lr) for name, lr in settings]
    scores = {
        "accuracy": np.stack([trial.test_accuracy for trial in trials]),
        "calibration error": np.stack([trial.test_calibration_error for trial in trials]),
        "error after scaling": np.array([after_scaling(result, *setting) for setting in settings]),
    }
    differ = []
    for title, values in scores.items():
        differences = values[1:] - values[0]
        p = jt.results.holm([jt.results.paired_p(d) for d in differences])
        ends = [jt.results.t_interval(d) for d in differences]
        cells = [f"{d.mean:+.4f} [{d.low:+.4f}, {d.high:+.4f}] {q:6.1g}" for d, q in zip(ends, p, strict=True)]
        table[f"{title}       p"] = [f"{values[0].mean():.4f}{'':28s}", *cells]
        differ.append(f"in {title}: {', '.join(table.index[1:][p < 0.05]) or 'none'}")
    print("\nOn the test split: softmax, and the others minus softmax, paired by seed; p by Holm for each column")
    print(table.to_string())

    def mean(score):
        return result.summary(score)["mean"].loc[settings]

    accurate, calibrated = mean(metric).idxmax(), mean("valid_calibration_error").idxmin()
    print(
        f"Validation finds {accurate[0]} most accurate, with {mean('test_accuracy')[accurate]:.1%} on test, and "
        f"{calibrated[0]} best calibrated, with an error of {mean('test_calibration_error')[calibrated]:.3f} on test.\n"
        f"On test these differ from softmax (p < 0.05), {'; '.join(differ)}."
    )
    if out is not None:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8, 4.5), layout="constrained")
        ax = figure.subplots()
        for i, name in enumerate(losses):
            x, trained, scaled = (jt.results.t_interval(values[i]) for values in scores.values())
            ax.plot([x.low, x.high], [trained.mean] * 2, color=f"C{i}")
            ax.plot([x.mean] * 2, [trained.mean, scaled.mean], color=f"C{i}", linestyle=":")
            for y, face, label in ((trained, f"C{i}", name), (scaled, "white", None)):
                ax.plot([x.mean] * 2, [y.low, y.high], color=f"C{i}")
                ax.plot(x.mean, y.mean, "o", color=f"C{i}", markerfacecolor=face, label=label)
        ax.set_yscale("log")
        ax.set_yticks([0.01, 0.02, 0.05, 0.1, 0.2, 0.5])
        ax.yaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_major_formatter(lambda x, _: f"{x:.1%}")
        ax.set_xlabel("test accuracy")
        ax.set_ylabel("test calibration error")
        ax.set_title("mean and 95% interval over seeds; hollow: after temperature scaling", fontsize="small")
        figure.legend(loc="outside right upper", fontsize="small")
        figure.savefig(Path(out) / "losses.png", dpi=150)
        print(f"Figure: {Path(out) / 'losses.png'}")


if __name__ == "__main__":
    jt.cli.script(experiment, report, metric)
