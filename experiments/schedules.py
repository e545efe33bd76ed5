"""Does a learning-rate schedule help, and does the best peak rate depend on it?

Command:  python experiments/schedules.py --out runs/schedules    (or: jaxtune run experiments/schedules.py)
Runtime:  under a minute on 2 CPU cores.
Answer:   each schedule at its best peak rate, chosen on validation, against a constant rate at its own: the paired
          difference of their test losses over 16 seeds, with p by Holm over the schedules; and the validation loss over
          all peak rates. A schedule is a traced one-hot vector, so that all 864 trials are lanes of one program.
"""

# %% The question
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxtune as jt

data = jt.data.load("digits", fractions=(0.5, 0.25, 0.25))

s = jt.optim.schedules
shapes = {  # of the number of updates: the share of the peak rate at each of them
    "constant": lambda steps: s.constant(1.0),
    "step": lambda steps: s.step_decay(1.0, 0.1, steps / 3),
    "exponential": lambda steps: s.exponential(1.0, 0.01, steps),
    "inverse time": lambda steps: s.inverse_time(1.0, 10.0, steps=steps),
    "linear": lambda steps: s.linear(1.0, 0.0, steps),
    "cosine": lambda steps: s.cosine(1.0, steps),
    "warm restarts": lambda steps: s.warm_restarts(1.0, steps / 7),  # cycles of 1, 2 and 4 sevenths
    "warm-up cosine": lambda steps: s.warm_up_cosine(0.0, 1.0, steps / 10, steps),
    "one-cycle": lambda steps: s.one_cycle(1.0, steps),
}
schedules = dict(zip(shapes, np.eye(len(shapes)), strict=True))
peaks = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32]


def recipe(hp):
    """A network of two hidden layers, trained by momentum with small and so noisy batches."""

    def rate(step):
        return hp.peak * hp.schedule @ jnp.stack([shape(hp.run.steps)(step) for shape in shapes.values()])

    return jt.Recipe(
        jt.models.MLP((64, 64), hp.run.outputs),
        optimizer=optax.sgd(rate, momentum=0.9),
        batch_size=16,
    )


experiment = jt.Experiment(recipe, jt.grid(schedule=schedules, peak=peaks), data, steps=600, seeds=16, eval_every=60)
metric = "valid_loss"


# %% The answer
def report(result, out):
    """Says what was found, and draws it."""
    best = result.best(metric, per="schedule")
    test = result.dataset["test_loss"]

    def at(name, peak):
        return test.sel(schedule=name, peak=peak).values

    gains = {n: at(n, best.loc[n, "peak"]) - at("constant", best.loc["constant", "peak"]) for n in list(shapes)[1:]}
    corrected = jt.results.holm([jt.results.paired_p(gain) for gain in gains.values()])
    p = dict(zip(gains, corrected, strict=True))
    print(f"\n{'at its best peak rate':22s} {'peak':>5s}  {'test loss':>9s}  minus the constant rate's, paired")
    for n in shapes:
        against = "the baseline"
        if n in gains:
            difference = jt.results.t_interval(gains[n])
            against = f"{difference.mean:+.4f} nats [{difference.low:+.4f}, {difference.high:+.4f}], p {p[n]:.2g}"
        print(f"{n:22s} {best.loc[n, 'peak']:5g}  {best.loc[n, 'test_mean']:9.4f}  {against}")

    for word, sign in (("lower", -1), ("higher", 1)):
        found = [n for n in gains if p[n] < 0.05 and sign * gains[n].mean() > 0]
        print(f"A test loss {word} than that of the best constant rate: {', '.join(found) or 'none'}.")
    constant = best.loc["constant", "peak"]
    moved = [f"{n} ({best.loc[n, 'peak']:g})" for n in gains if best.loc[n, "peak"] != constant]
    own = jt.results.t_interval(np.mean(list(gains.values()), axis=0))
    same = jt.results.t_interval(np.mean([at(n, constant) - at("constant", constant) for n in gains], axis=0))
    print(
        f"A best peak other than the best constant rate, {constant:g}: {', '.join(moved) or 'none'}.\n"
        f"On average over the {len(gains)} schedules the test loss changes by\n"
        f"  {same.mean:+.3f} nats [{same.low:+.3f}, {same.high:+.3f}] if the peak is the best constant rate,\n"
        f"  {own.mean:+.3f} nats [{own.low:+.3f}, {own.high:+.3f}] if each schedule has its own best peak."
    )
    if out is not None:
        figure = draw(result, best)
        figure.savefig(Path(out) / "schedules.png", dpi=150)
        print(f"Figure: {Path(out) / 'schedules.png'}")


def draw(result, best):
    """Returns the figure: the loss over the peak rate, and the schedules."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    figure = Figure(figsize=(11, 4.3), layout="constrained")
    left, right = figure.subplots(1, 2)
    means = result.dataset[metric].isel(step=-1).mean("seed")
    time = np.arange(1000.0)
    for i, n in enumerate(shapes):
        style = {"color": f"C{i - 1}" if i else "black", "linewidth": 1.2 if i else 2}
        aside = 1.015 ** (i - len(shapes) // 2)
        left.plot(np.array(peaks) * aside, means.sel(schedule=n), label=n, **style)
        b = best.loc[n]
        ends = [[b.valid_mean - b.valid_low], [b.valid_high - b.valid_mean]]
        left.errorbar(b.peak * aside, b.valid_mean, ends, marker="o", markersize=5, **style)
        right.plot(time / 1000, jax.vmap(shapes[n](1000))(time), **style)
    left.axhline(np.log(data.classes), color="gray", linestyle=":", linewidth=1)
    left.set(xscale="log", yscale="log", xlabel="peak learning rate", ylabel="validation loss (nats)")
    left.minorticks_off()
    left.set_xticks(peaks, [f"{peak:g}" for peak in peaks])
    left.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    left.yaxis.set_major_formatter("{x:g}")
    note = f"mean over {result.dataset.sizes['seed']} seeds; at the best peak a dot and the 95% interval\n"
    left.set_title(note + "lines are set apart sideways a little; dotted: guessing", fontsize="small")
    right.set(xlabel="share of the updates done", ylabel="learning rate / peak")
    figure.legend(*left.get_legend_handles_labels(), loc="outside right center", title="schedule", fontsize="small")
    return figure


if __name__ == "__main__":
    jt.cli.script(experiment, report, metric)
