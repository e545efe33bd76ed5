"""Linear models as recipes, whose minima are known."""

import jax.numpy as jnp
import numpy as np
import optax

import jaxtune as jt


def linear(outputs=None, transform=None, bias=True):
    """Returns `x w + b` as a plain pair that begins at zero; `transform(key, x)` changes the inputs in training."""

    def init(key, x):
        shape = (x.shape[-1],) if outputs is None else (x.shape[-1], outputs)
        params = {"w": jnp.zeros(shape)}
        return (params | {"b": jnp.zeros(shape[1:])} if bias else params), {}

    def apply(params, state, x, *, key, train):
        x = transform(key, x) if train and transform is not None else x
        y = x @ params["w"]
        return (y + params["b"].reshape((1,) * (y.ndim - 1) + (-1,) * (y.ndim > 1)) if bias else y), state

    return jt.Model(init, apply)


def weights(path, leaf):
    """Returns whether a parameter is the weights, which are penalized."""
    return path == "w"


def full_batch(x, y, classes=None):
    """Returns splits whose training split is all of the data."""
    all_of_it = jt.data.Arrays(np.asarray(x, np.float32), np.asarray(y, np.int32 if classes else np.float32))
    return jt.data.Splits(all_of_it, all_of_it, all_of_it)


def curvature(x):
    """Returns largest and smallest eigenvalue of the mean squared error's second derivative, without the bias."""
    values = np.linalg.eigvalsh(2 * x.T @ x / len(x))
    return values[-1], values[0]


def fitted(recipe, space, data, steps, seeds=1, **settings):
    """Returns a function from an arm to its kept parameters, and the result."""
    experiment = jt.Experiment(recipe, space, data, steps=steps, seeds=seeds, eval_every=steps, **settings)
    result = jt.run(experiment)
    return lambda seed=0, **arm: result.variables(**arm, seed=seed).params, result


def nesterov(smoothness, convexity):
    """Returns Nesterov's method at the rate and momentum that are best for these curvatures."""
    root = np.sqrt(smoothness / convexity)
    return optax.sgd(1 / smoothness, momentum=(root - 1) / (root + 1), nesterov=True)
