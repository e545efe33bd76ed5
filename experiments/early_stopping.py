"""When should training stop?

Command:  python experiments/early_stopping.py --out runs/early_stopping (or: jaxtune run experiments/early_stopping.py)
Runtime:  under a minute on 2 CPU cores.
Answer:   the test loss with each stopping criterion minus that of training to the end, paired over 16 seeds, and the
          updates that it took. The criteria are patience, patience with a smallest improvement, and the generalization
          loss GL and the quotient PQ of Prechelt, "Early stopping, but when?", 1998; all keep the parameters of their
          best evaluation. To tell stopping from keeping, one arm trains to the end and keeps the best.
"""

# %% The question
from pathlib import Path

import optax

import jaxtune as jt

OFF, NEVER = float("inf"), 1e6  # a patience that never ends still keeps the best

data = jt.data.load("digits", fractions=(0.06, 0.2, 0.74))  # 108 training images: few enough to overfit


def recipe(hp):
    """A network of two hidden layers, evaluated every ten updates."""
    criteria = dict(generalization_loss=hp.gl, progress_quotient=hp.pq)
    return jt.Recipe(
        jt.models.MLP((64, 64), hp.run.outputs),
        optimizer=optax.adam(1e-3),
        batch_size=32,
        early_stopping=jt.EarlyStopping(hp.patience, hp.min_delta, **criteria),
    )


families = {
    "patience": {f"patience {n}": dict(patience=float(n)) for n in (1, 2, 5, 20)},
    "patience 5, min_delta": {f"patience 5, min_delta {d:g}": dict(patience=5.0, min_delta=d) for d in (0.003, 0.01)},
    "GL": {f"GL {limit:g}": dict(gl=limit) for limit in (1.0, 2.0, 5.0)},
    "PQ": {f"PQ {limit:g}": dict(pq=limit) for limit in (0.03, 0.1, 0.3)},
}
criteria = {name: change for family in families.values() for name, change in family.items()}
to_the_end = dict(patience=OFF, min_delta=0.0, gl=OFF, pq=OFF)
space = jt.arms(to_the_end, {"best kept": dict(patience=NEVER)} | criteria)
experiment = jt.Experiment(recipe, space, data, steps=2000, seeds=16, eval_every=10)
metric = "valid_loss"


# %% The answer
def report(result, out):
    """Says what was found, and draws it."""
    curves, tests = result.dataset[metric], result.dataset["test_loss"]
    last = curves.notnull().sum("step") - 1
    updates = curves["step"][last].mean("seed").to_series()
    at_stop, kept = curves.isel(step=last).mean("seed").to_series(), result.summary(metric)["mean"]
    gains = result.compare("test_loss")
    print("\nValidation loss at the stop and kept; test loss kept minus that of training to the end, paired; p by Holm")
    print(f"{'':27s} updates   stop   kept  test loss                   p")
    print(f"{'default':27s} {updates['default']:7.0f}  {at_stop['default']:.3f}")
    for name, gain in gains.iterrows():
        difference = f"{gain.difference:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"
        print(
            f"{name:27s} {updates[name]:7.0f}  {at_stop[name]:.3f}  {kept[name]:.3f}  {difference}  {gain.p_holm:.1g}"
        )

    near = [name for name in criteria if kept[name] <= 1.01 * kept["best kept"]]
    best = gains.loc["best kept"]
    print(
        f"Training to the end has a test loss of {float(tests.sel(arm='default').mean()):.3f} nats; keeping the best "
        f"parameters on the way changes it by {best.difference:+.3f} [{best.low:+.3f}, {best.high:+.3f}]."
    )
    if near:
        first = min(near, key=updates.get)
        cost = jt.results.t_interval((tests.sel(arm=first) - tests.sel(arm="best kept")).values)
        print(
            f"Of the criteria that come within 1% of that on validation, {first} stops first: it takes "
            f"{updates[first] / updates['default']:.0%} of the updates, and changes the test loss by {cost.mean:+.4f} "
            f"[{cost.low:+.4f}, {cost.high:+.4f}]."
        )
    else:
        print("No criterion comes within 1% of that on validation.")
    if out is not None:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 4.3), layout="constrained")
        ax = figure.subplots()
        ax.axhline(0, color="black", label="to the end")
        ax.axhline(best.difference, color="gray", linestyle=":", label="to the end, best kept")
        for (family, members), below in zip(families.items(), (True, False, False, True), strict=True):
            rows, at = gains.loc[list(members)], updates[list(members)]
            (line,) = ax.plot(at, rows.difference, "o-", label=family)
            ax.vlines(at, rows.low, rows.high, color=line.get_color())
            for name, x, y in zip(members, at, rows.difference, strict=True):
                place = dict(xytext=(5, -11 if below else 6), textcoords="offset points", fontsize="small")
                box = dict(facecolor="white", edgecolor="none", pad=0.4)
                ax.annotate(name.split()[-1], (x, y), **place, color=line.get_color(), bbox=box)
        ax.set_xlim(0, 1.08 * updates[list(criteria)].max())
        ax.set_xlabel("updates until the stop, mean over seeds")
        ax.set_ylabel("test loss minus that of training to the end [nats]")
        ax.set_title(f"mean and 95% interval of paired differences over {tests.sizes['seed']} seeds", fontsize="small")
        ax.legend(fontsize="small")
        figure.savefig(Path(out) / "stops.png", dpi=150)
        print(f"Figure: {Path(out) / 'stops.png'}")


if __name__ == "__main__":
    jt.cli.script(experiment, report, metric)
