"""Is noise a penalty in disguise: on inputs, on hidden units, on weights, on targets?

Command:  python experiments/noise.py --out runs/noise    (or: jaxtune run experiments/noise.py)
Runtime:  under a minute on 2 CPU cores.
Answer:   for the squared error and a model that is linear in what it learns, the mean loss under noise of scale s is that
          without noise plus a penalty: `s^2 ||w||^2` for noise on what the weights multiply (inputs, or fixed hidden
          units), a constant for noise on weights and on targets. Each is trained beside its penalty, and what the penalty
          leaves unexplained is paired over 8 seeds. The last case is beyond that theory: a network whose first layer
          learns, too. (Bishop, "Training with noise is equivalent to Tikhonov regularization", 1995.)
"""

# %% The question
from pathlib import Path

import flax.linen as nn
import optax
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import scale as standardized

import jaxtune as jt

x, y = load_diabetes(return_X_y=True)
data = jt.data.from_arrays(standardized(x), standardized(y), fractions=(0.2, 0.4, 0.4))  # 88 patients to train on
SCALES = [0.1, 0.2, 0.4, 0.8]
CASES = {  # (model, where the noise is, whether the theory has a penalty for it)
    "inputs": ("linear", "inputs", True),
    "fixed hidden units": ("fixed", "hidden", True),
    "weights": ("linear", "weights", False),
    "targets": ("linear", "targets", False),
    "learned hidden units": ("learned", "hidden", True),
}


class Net(nn.Module):
    """A linear output of the inputs, or of a hidden layer of ReLUs, with noise in between."""

    hidden: bool
    noise: float

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.relu(nn.Dense(64, name="first")(x)) if self.hidden else x
        return nn.Dense(1, name="last")(jt.nn.linen.Noise(self.noise, deterministic=not train)(x))


def is_last(path, leaf):
    """Returns whether a parameter is what the theory is about."""
    return path == "last/kernel"


def recipe(hp):
    """Noise in four places and the penalty; a scale or strength of 0 is none."""
    optimizer = optax.adam(jt.optim.schedules.cosine(1e-2, hp.run.steps))
    if hp.model == "fixed":
        optimizer = jt.optim.freeze(optimizer, lambda path, leaf: path.startswith("first"))
    return jt.Recipe(
        jt.models.with_weight_noise(Net(hp.model != "linear", hp.hidden), hp.weights, where=is_last),
        optimizer=optimizer,
        batch_size=88,
        augment=jt.data.augment.compose(jt.data.augment.noise(hp.inputs), jt.data.augment.target_noise(hp.targets)),
        penalty=jt.penalties.l2(hp.l2, where=is_last),
    )


none = dict(model="linear", inputs=0.0, hidden=0.0, weights=0.0, targets=0.0, l2=0.0)
arms = {model: dict(model=model) for model in ("fixed", "learned")}
for model, place, penalized in CASES.values():
    arms |= {f"{model}, {place} {s:g}": {"model": model, place: s} for s in SCALES}
    arms |= {f"{model}, L2 {s:g}^2": {"model": model, "l2": s**2} for s in SCALES if penalized}
experiment = jt.Experiment(recipe, jt.arms(none, arms), data, steps=2000, seeds=8, eval_every=200)
metric = "valid_loss"


# %% The answer
def report(result, out):
    """Says what was found, and draws it."""
    losses = {arm: result.dataset[metric].isel(step=-1).sel(arm=arm).values for arm in result.dataset["arm"].values}
    losses["linear"] = losses["default"]
    print(f"\n{'noise on':20s} {'scale':>5s}  {'its effect':28s}  what its penalty leaves of it")
    agree = {case: 0 for case in CASES}
    for case, (model, place, penalized) in CASES.items():
        for s in SCALES:
            noisy = losses[f"{model}, {place} {s:g}"]
            effect = jt.results.t_interval(noisy - losses[model])
            left = jt.results.t_interval(noisy - losses[f"{model}, L2 {s:g}^2" if penalized else model])
            agree[case] += left.low <= 0.01 and left.high >= -0.01
            shown = [f"{i.mean:+.4f} [{i.low:+.4f}, {i.high:+.4f}]" for i in (effect, left)]
            print(f"{case:20s} {s:5g}  {shown[0]:28s}  {shown[1]}")
    counts = ", ".join(f"{case} {n} of {len(SCALES)}" for case, n in agree.items())
    print(f"Scales at which what is left may lie within 0.01 variances of the target: {counts}.")
    if out is not None:
        import matplotlib.pyplot as plt

        figure, axes = plt.subplots(1, len(CASES), figsize=(14, 3.4), layout="constrained")
        for ax, (case, (model, place, penalized)) in zip(axes, CASES.items(), strict=True):
            curves = {"noise": (f"{model}, {place} {{:g}}", "o-")}
            curves |= {"its penalty": (f"{model}, L2 {{:g}}^2", "s--")} if penalized else {}
            for label, (arm, style) in curves.items():
                ways = [jt.results.t_interval(losses[arm.format(s)]) for s in SCALES]
                (line,) = ax.plot(SCALES, [w.mean for w in ways], style, label=label)
                low, high = [w.low for w in ways], [w.high for w in ways]
                ax.fill_between(SCALES, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
            ax.axhline(losses[model].mean(), color="grey", linewidth=1, label="neither")
            ax.set(title=f"noise on\n{case}", xlabel="scale of the noise", xscale="log")
            ax.set_xticks(SCALES, [f"{s:g}" for s in SCALES])
            ax.minorticks_off()
            low, high = ax.get_ylim()
            ax.set_ylim(min(low, (low + high) / 2 - 0.03), max(high, (low + high) / 2 + 0.03))
        axes[0].set_ylabel("validation loss (variances of the target)")
        axes[0].legend()
        figure.savefig(Path(out) / "noise.png", dpi=150)
        print(f"Figure: {Path(out) / 'noise.png'}")


if __name__ == "__main__":
    jt.cli.script(experiment, report, metric)
