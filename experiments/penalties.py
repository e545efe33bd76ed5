"""Which penalty helps a network with few examples, and how much of it?

Command:  python experiments/penalties.py --out runs/penalties    (or: jaxtune run experiments/penalties.py)
Runtime:  under a minute on 2 CPU cores.
Answer:   each penalty at its best strength, chosen on validation, against no penalty: differences of the validation and
          the test loss, paired over 8 seeds, with p values corrected for the number of penalties; and the validation
          loss over all strengths. All 336 trials are lanes of one program, for a strength of 0 is no penalty. Sources
          are in the docstrings of `jt.penalties`.
"""

# %% The question
from pathlib import Path

import optax

import jaxtune as jt

data = jt.data.load("digits", fractions=(0.06, 0.47, 0.47))  # 108 training images: few enough to overfit

off = dict(l1=0.0, l2=0.0, group_lasso=0.0, orthogonality=0.0, spectral_norm=0.0)
penalties = {
    "L1": off | dict(l1=1.0),
    "L2": off | dict(l2=1.0),
    "elastic net": off | dict(l1=0.5, l2=0.5),
    "group lasso": off | dict(group_lasso=1.0),
    "orthogonality": off | dict(orthogonality=1.0),
    "spectral norm": off | dict(spectral_norm=1.0),
}
strengths = [0.0, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2]


def recipe(hp):
    """A network of two hidden layers with every penalty at hand.

    Momentum and not Adam, which divides by the size of the gradient: a weight that only the penalty moves, such as one
    that leaves a blank pixel, would be moved as fast by a weak penalty as by a strong one.
    """
    of = {name: hp.strength * share for name, share in hp.penalty.items()}
    return jt.Recipe(
        jt.models.MLP((64, 64), hp.run.outputs),
        optimizer=optax.sgd(0.05, momentum=0.9),
        batch_size=32,
        penalty=(
            jt.penalties.elastic_net(of["l1"], of["l2"]),
            jt.penalties.group_lasso(of["group_lasso"], groups="inputs"),  # the weights of a pixel are a group
            jt.penalties.orthogonality(of["orthogonality"]),
            jt.penalties.spectral_norm(of["spectral_norm"], iterations=5),
        ),
    )


space = jt.grid(penalty=penalties, strength=strengths)
experiment = jt.Experiment(recipe, space, data, steps=500, seeds=8, eval_every=50)
metric = "valid_loss"


# %% The answer
def report(result, out):
    """Says what was found, and draws it."""
    table = result.best(metric, per="penalty")[["strength"]]
    gains = {}
    for split, losses in (("validation", result.dataset.valid_loss.isel(step=-1)), ("test", result.dataset.test_loss)):
        difference = losses - losses.sel(strength=0.0)
        gains[split] = [difference.sel(penalty=n, strength=s).values for n, s in table["strength"].items()]
        ends = [jt.results.t_interval(gain) for gain in gains[split]]
        table[f"{split} loss"] = [f"{d.mean:+.3f} [{d.low:+.3f}, {d.high:+.3f}]" for d in ends]
    p = jt.results.holm([jt.results.paired_p(gain) for gain in gains["test"]])
    table["p"] = [f"{q:.1g}" for q in p]
    print("\nNats at the best strength minus those without a penalty, paired by seed; p of the test loss, by Holm")
    print(table.to_string())

    means = [gain.mean() for gain in gains["test"]]
    helped = [name for mean, q, name in sorted(zip(means, p, table.index, strict=True)) if mean < 0 and q < 0.05]
    print(f"On {len(data.train)} training digits these lower the test loss, most first: {', '.join(helped) or 'none'}.")
    first, strength = result.best(metric).arm.values()
    loss, accuracy = (result.summary(score)["mean"][first] for score in ("test_loss", "test_accuracy"))
    chosen = f"{first} at a strength of {strength:g}" if strength else "no penalty"
    print(
        f"Validation chooses {chosen}: the test loss is {loss[strength]:.3f} nats and the test accuracy "
        f"{accuracy[strength]:.1%}; without a penalty they are {loss[0.0]:.3f} and {accuracy[0.0]:.1%}."
    )
    if out is not None:
        figure = jt.plots.response(result, metric, axis="strength")
        (ax,) = figure.axes
        without = float(result.dataset[metric].isel(step=-1).sel(strength=0.0).mean())
        ax.axhline(without, color="gray", linestyle=":", zorder=0)
        ax.set_yscale("log")
        ax.set_ylim(top=3 * without)  # too much of a penalty leaves nothing but guessing
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter("{x:g}")
        ax.set_xticks(strengths, [f"{s:g}" for s in strengths])
        ax.set_xlabel("strength (dotted: without a penalty)")
        ax.set_ylabel("validation loss [nats]")
        figure.savefig(Path(out) / "strengths.png", dpi=150)
        print(f"Figure: {Path(out) / 'strengths.png'}")


if __name__ == "__main__":
    jt.cli.script(experiment, report, metric)
