"""How many weights can go before accuracy does, and which way of thinning a network is best?

Command:  python experiments/sparsity.py --out runs/sparsity    (or: jaxtune run experiments/sparsity.py)
Runtime:  one to two minutes on 2 CPU cores.
Answer:   accuracy against the share of weights that are not exactly zero, for the L1 penalty by its gradient, for its
          proximal step, for that of the group lasso, which removes whole units, and for sparse variational dropout; and for
          each the sparsest setting that is within 0.01 of the dense network's validation accuracy, paired over 4 seeds.
          (Tibshirani 1996; Wen et al., "Learning structured sparsity", 2016; Molchanov, Ashukha, Vetrov, "Variational
          dropout sparsifies deep neural networks", 2017.)
"""

# %% The question
from pathlib import Path

import flax.linen as nn
import numpy as np
import optax

import jaxtune as jt

data = jt.data.load("digits")
LR = 5e-3
WAYS = {
    "L1 by its gradient": [3e-5, 1e-4, 3e-4, 1e-3],
    "L1 by proximal steps": [0.03, 0.1, 0.15, 0.2, 0.3],
    "group lasso by proximal steps": [0.02, 0.04, 0.06, 0.1, 0.2],
    "variational dropout": [0.3, 0.6, 1.0, 2.0, 3.0],  # prices of the divergence; 1 is the evidence lower bound
}


class Variational(nn.Module):
    """The same network, each of whose weights has noise of a learned variance."""

    outputs: int

    @nn.compact
    def __call__(self, x, train=False):
        x = x.reshape(x.shape[0], -1)
        for width in (64, 64):
            x = nn.relu(jt.nn.linen.GaussianVariationalDense(width, log_alpha=-3.0)(x, deterministic=not train))
        return jt.nn.linen.GaussianVariationalDense(self.outputs, log_alpha=-3.0)(x, deterministic=not train)


def recipe(hp):
    """One network for the three penalties, all traced, and one for variational dropout, with the price warmed up."""
    rate = jt.optim.schedules.cosine(LR, hp.run.steps)
    if hp.noisy:
        price = hp.variational / len(data.train) * jt.optim.schedules.linear(0.0, 1.0, hp.run.steps / 2)(hp.step)
        penalty = jt.penalties.variational_kl(price)
        return jt.Recipe(
            Variational(hp.run.outputs), optimizer=optax.adam(2 * rate(hp.step)), batch_size=64, penalty=penalty
        )
    steps = rate(hp.step)  # a proximal step is the learning rate times the strength
    optimizer = optax.chain(
        optax.adam(rate), jt.optim.prox_l1(steps * hp.prox), jt.optim.prox_group_lasso(steps * hp.group)
    )
    model = jt.models.MLP((64, 64), hp.run.outputs)
    return jt.Recipe(model, optimizer=optimizer, batch_size=64, penalty=jt.penalties.l1(hp.l1))


none = dict(noisy=False, l1=0.0, prox=0.0, group=0.0, variational=0.0)
changes = dict(zip(WAYS, ("l1", "prox", "group", "variational"), strict=True))
arms = {
    f"{way}, {s:g}": {changes[way]: s} | ({"noisy": True} if way == "variational dropout" else {})
    for way, strengths in WAYS.items()
    for s in strengths
}
experiment = jt.Experiment(recipe, jt.arms(none, arms), data, steps=2000, seeds=4, eval_every=200)
metric = "valid_accuracy"


def share_left(params):
    """Returns the share of weights of a network that are not zero, or not noise alone."""
    kept = total = 0
    for layer in params.values():
        w = np.asarray(layer["kernel"])
        alive = layer["log_alpha"] <= 3.0 if "log_alpha" in layer else w != 0
        kept, total = kept + int((alive & (w != 0)).sum()), total + w.size
    return kept / total


# %% The answer
def report(result, out):
    """Says what was found, and draws it."""
    seeds = result.dataset["seed"].values
    left = {
        arm: np.array([share_left(result.variables(arm=arm, seed=s).params) for s in seeds])
        for arm in ("default", *arms)
    }
    accuracy = {arm: result.dataset[metric].isel(step=-1).sel(arm=arm).values for arm in left}
    tests = {arm: result.dataset["test_accuracy"].sel(arm=arm).values for arm in left}
    print(f"\n{'the sparsest within 0.01 of dense':36s} {'weights left':>12s}  test accuracy minus the dense network's")
    sparsest = {}
    for way, strengths in WAYS.items():
        own = [f"{way}, {s:g}" for s in strengths]
        fine = [arm for arm in own if (accuracy["default"] - accuracy[arm]).mean() <= 0.01]
        if not fine:
            print(f"{way:36s} none of its strengths is")
            continue
        chosen = min(fine, key=lambda arm: left[arm].mean())
        sparsest[way] = left[chosen].mean()
        gap = jt.results.t_interval(tests[chosen] - tests["default"])
        print(f"{chosen:36s} {left[chosen].mean():12.1%}  {gap.mean:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]")
    if sparsest:
        way = min(sparsest, key=sparsest.get)
        print(
            f"The fewest weights within 0.01 of the dense network's validation accuracy has {way}: {sparsest[way]:.1%}."
        )
    if out is not None:
        import matplotlib.pyplot as plt

        figure, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
        for way, strengths in WAYS.items():
            own = [f"{way}, {s:g}" for s in strengths]
            ax.plot([left[a].mean() for a in own], [accuracy[a].mean() for a in own], marker="o", label=way)
        ax.axhline(accuracy["default"].mean(), color="grey", linewidth=1, label="dense")
        ax.set(xlabel="share of weights that are left", ylabel="validation accuracy", xlim=(0, 1.03), ylim=(0.9, None))
        ax.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
        ax.legend()
        figure.savefig(Path(out) / "sparsity.png", dpi=150)
        print(f"Figure: {Path(out) / 'sparsity.png'}")


if __name__ == "__main__":
    jt.cli.script(experiment, report, metric)
