"""A run that is killed again and again: early stopping, batch norm, dropout, averages, diverging lanes, two programs.

python job.py OUT [SECONDS]     trains into a folder, with a checkpoint every so many seconds
"""

import sys
import warnings

import optax

import jaxtune as jt

OFF = float("inf")


def recipe(hp):
    model = jt.models.MLP((hp.width,), 10, dropout=hp.dropout, batch_norm=True)
    return jt.Recipe(
        model,
        optimizer=optax.chain(optax.add_noise(1e-3, 0.5, jax_key()), optax.sgd(hp.lr, momentum=0.9)),
        batch_size=24,
        early_stopping=jt.EarlyStopping(hp.patience),
        weight_average={"ema": jt.optim.ema(0.9)},
    )


def jax_key():
    import jax

    return jax.random.key(1)


def experiment(steps=1200):
    n = 1797
    data = jt.data.load("digits", fractions=(300 / n, 48 / n, 48 / n))
    space = jt.grid(width=[8, 12], lr=[0.05, 1e30], dropout=[0.0, 0.3], patience=[3.0, OFF])
    return jt.Experiment(recipe, space, data, steps=steps, seeds=3, eval_every=40)


def main():
    out, every = sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
    warnings.simplefilter("ignore")
    print("ready", flush=True)
    jt.run(experiment(), out=out, save_every=every, progress=False)
    print("done", flush=True)


if __name__ == "__main__":
    main()
