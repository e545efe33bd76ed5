"""What a refusal of bad input looks like, and input that several tests share."""

import atexit
import pathlib
import re
import shutil
import tempfile

import jax
import numpy as np
import optax
from problems import digits, linear

import jaxtune as jt
from jaxtune._errors import JaxtuneError

FORM = re.compile(r"`.+?` is .+?[:,] .+?\. .+[.?]", re.DOTALL)
NAN, INF = float("nan"), float("inf")
HUGE, UNPRINTABLE = 10**400, 10**5000  # over the largest float; over the longest int that Python writes
DATA = digits()
X, Y = np.arange(120, dtype=np.float32).reshape(40, 3), np.arange(40) % 4
IMAGES = np.ones((2, 8, 8, 3), np.float32)
FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="jaxtune-bad-input-"))
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)


def flaw(error):
    """Returns what is wrong with how input was refused, or None."""
    if error is None:
        return "it was not refused"
    if not isinstance(error, JaxtuneError) or not isinstance(error, (ValueError, TypeError)):
        return f"{type(error).__name__} is none of jaxtune's errors: {error}"
    return None if FORM.fullmatch(str(error)) else f"not of the form `name` is VALUE: reason. Cure.: {error}"


def written(name, content):
    """Returns the path of a file with this content, text or bytes."""
    file = FOLDER / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def experiment(space=None, data=DATA, recipe=linear, **fields):
    return jt.Experiment(recipe, space or jt.grid(lr=[0.1]), data, **{"steps": 4, "seeds": 2, **fields})


def recipe(**fields):
    given = {"model": jt.models.MLP((), 4), "optimizer": optax.sgd(0.1), "batch_size": 16, **fields}
    return jt.Recipe(given.pop("model"), **given)


def planned(**fields):
    return jt.plan(experiment(recipe=lambda hp: recipe(**{"model": jt.models.MLP((), 10), **fields}), space=jt.grid()))


def arrays(**changes):
    return jt.data.from_arrays(**{"x": X, "y": Y, **changes})


def key():
    return jax.random.key(0)
