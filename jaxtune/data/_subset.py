"""Which of the training examples a trial sees: folds, resamples and smaller sets, as indices into the one shared table."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxtune import _check
from jaxtune._errors import InputError
from jaxtune._keys import key_for, stream_key
from jaxtune._types import Array, Count, Int, Key, ScalarLike
from jaxtune.data._batches import Span


class Subset(NamedTuple):
    """A choice among the training examples, made on the device for each trial.

    Attributes:
      train: `train(key, y) -> Span`: those to train on, from the key of the trial's seed and the labels of the training
        split.
      valid: `valid(key, y) -> Span`: those to validate on in place of the validation split, or None.
    """

    train: Callable[[Key, Array], Span]
    valid: Callable[[Key, Array], Span] | None = None


def fold(which: ScalarLike, *, of: int, seed: int = 0) -> Subset:
    """Returns one of k folds: a trial trains on the others, and what it calls validation is this one.

    The training split is dealt to k folds of equal size, stratified by label; at most k - 1 examples, which would make
    folds unequal, are left out of all. The validation split is not used.

    Args:
      which: which fold is held out, from 0; may be traced: `fold=jt.traced(range(5))` is an axis of one program.
      of: k, the number of folds, at least 2.
      seed: fixes the folds, which are the same for all seeds of an experiment.

    References:
      Stone, "Cross-validatory choice and assessment of statistical predictions", JRSS B 1974.
    """
    of = _check.count("of", of, low=2)
    _check.number("which", which, low=0, high=of - 1)

    def parts(y: Array) -> tuple[Int[Array, " k size"], int]:
        n = y.shape[0]
        if n < of:
            raise InputError("of", of, f"there are {n} training examples", "Choose fewer folds.")
        order = jax.random.permutation(key_for(jax.random.key(seed), "folds", 0), n)
        if jnp.issubdtype(y.dtype, jnp.integer):
            order = order[jnp.argsort(y[order], stable=True)]  # dealt out in turn, each label evenly
        size = n // of
        return order[: size * of].reshape(size, of).T.astype(jnp.int32), size

    def place(which: ScalarLike) -> Count:
        return jnp.asarray(which).astype(jnp.int32)

    def train(key: Key, y: Array) -> Span:
        del key
        folds, size = parts(y)
        others = jnp.arange(of - 1)
        others = others + (others >= place(which))
        return Span(0, size * (of - 1), folds[others].reshape(-1))

    def valid(key: Key, y: Array) -> Span:
        del key
        folds, size = parts(y)
        return Span(0, size, folds[place(which)])

    return Subset(train, valid)


def first(size: ScalarLike, *, within: Subset | None = None) -> Subset:
    """Returns a random part of the training split: for a seed, a smaller part lies within a larger.

    Args:
      size: number of examples, at least 1 and at most all; may be traced. What is fitted to the inputs
        (`normalize`, `reestimate`) needs it static: `jt.static([...])`.
      within: what it is a part of, such as `jt.data.fold(hp.fold, of=5)`; None: the whole training split.
    """
    _check.number("size", size, low=1.0)

    def train(key: Key, y: Array) -> Span:
        whole = _whole(within, key, y)
        if not isinstance(size, jax.core.Tracer) and size > whole.size:
            raise InputError("size", size, f"there are {whole.size} training examples", "Choose a smaller part.")
        order = jax.random.permutation(stream_key(key, "subset"), whole.size).astype(jnp.int32)
        rows = order if whole.rows is None else whole.rows[order]
        traced = isinstance(size, jax.core.Tracer)
        return Span(0, jnp.clip(jnp.asarray(size).astype(jnp.int32), 1, whole.size) if traced else int(size), rows)

    return Subset(train, None if within is None else within.valid)


def bootstrap(resample: ScalarLike, *, within: Subset | None = None) -> Subset:
    """Returns a bootstrap resample: as many examples as the training split has, drawn from it with replacement.

    Args:
      resample: its number, which fixes it for all seeds of an experiment; may be traced.
      within: what is drawn from; None: the whole training split.

    References:
      Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 1979.
    """
    _check.number("resample", resample, low=0.0)

    def train(key: Key, y: Array) -> Span:
        whole = _whole(within, key, y)
        own = key_for(jax.random.key(0), "resamples", jnp.asarray(resample).astype(jnp.int32))
        drawn = jax.random.randint(own, (whole.size,), 0, whole.size, jnp.int32)
        return Span(0, whole.size, drawn if whole.rows is None else whole.rows[drawn])

    return Subset(train, None if within is None else within.valid)


class _Whole(NamedTuple):
    size: int
    rows: Array | None


def _whole(within: Subset | None, key: Key, y: Array) -> _Whole:
    """Returns what a subset is a part of.

    Raises:
      ValueError: its size is traced.
    """
    if within is None:
        return _Whole(y.shape[0], None)
    span = within.train(key, y)
    if not isinstance(span.size, int):
        raise InputError("within", "a subset", "its size is traced", "Take the part of traced size last.")
    return _Whole(span.size, span.rows)
