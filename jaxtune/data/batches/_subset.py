"""Which of the training examples a trial sees, how often and with which labels: as indices into the one shared table."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxtune import _check
from jaxtune._errors import InputError, InputTypeError
from jaxtune._keys import key_for, stream_key
from jaxtune._types import Array, Count, Int, Key, ScalarLike
from jaxtune.data._validate import check_groups
from jaxtune.data.batches._table import Span


class Subset(NamedTuple):
    """A choice among the training examples, made on the device for each trial.

    Attributes:
      train: `train(key, y) -> Span`: those to train on, from the key of the trial's seed and the labels of the training
        split.
      valid: `valid(key, y) -> Span`: those to validate on in place of the validation split, or None.
      labels: `labels(key, y) -> y`: the labels of the training split that a trial sees in training, or None. What it
        validates on keeps its own.
      classes: number of classes that it was made for, or None.
    """

    train: Callable[[Key, Array], Span]
    valid: Callable[[Key, Array], Span] | None = None
    labels: Callable[[Key, Array], Array] | None = None
    classes: int | None = None


def fold(which: ScalarLike, *, of: int, seed: int = 0, groups: Any = ...) -> Subset:
    """Returns one of k folds: a trial trains on the others, and what it calls validation is this one.

    The training split is dealt to k folds of equal size, stratified by label; at most k - 1 examples, which would make
    folds unequal, are left out of all. The validation split is not used.

    With groups, no group is in two folds: groups are dealt, the largest first, to the fold with the fewest examples. Folds
    then differ in size, and labels are not looked at.

    Args:
      which: which fold is held out, from 0; may be traced: `fold=jt.traced(range(5))` is an axis of one program.
      of: k, the number of folds, at least 2.
      seed: fixes the folds, which are the same for all seeds of an experiment.
      groups: the group of each training example, shape (n,), such as `data.train.groups`. What is fitted to the inputs
        (`normalize`, `reestimate`) then needs `which` static. Left out, folds are stratified by label.

    Raises:
      ValueError: a number out of range; fewer examples or groups than folds; not one group per example.

    References:
      Stone, "Cross-validatory choice and assessment of statistical predictions", JRSS B 1974.
    """
    of, seed = _check.count("of", of, low=2), _check.seed("seed", seed)
    _check.number("which", which, low=0, high=of - 1)
    if groups is not ...:
        return _fold_of_groups(which, of, seed, np.asarray(groups))

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

    Raises:
      ValueError: more examples than there are; or `within` is of traced size, or balanced.
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

    return _like(within, train)


def bootstrap(resample: ScalarLike, *, within: Subset | None = None) -> Subset:
    """Returns a bootstrap resample: as many examples as the training split has, drawn from it with replacement.

    Args:
      resample: its number, at least 0, which fixes it for all seeds of an experiment; may be traced.
      within: what is drawn from; None: the whole training split.

    Raises:
      ValueError: a negative number; or `within` is of traced size, or balanced.

    References:
      Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 1979.
    """
    _check.number("resample", resample, low=0.0)

    def train(key: Key, y: Array) -> Span:
        whole = _whole(within, key, y)
        own = key_for(jax.random.key(0), "resamples", jnp.asarray(resample).astype(jnp.int32))
        drawn = jax.random.randint(own, (whole.size,), 0, whole.size, jnp.int32)
        return Span(0, whole.size, drawn if whole.rows is None else whole.rows[drawn])

    return _like(within, train)


def balanced(classes: int, power: ScalarLike = 0.0, *, within: Subset | None = None) -> Subset:
    """Returns the training split with its classes drawn at other rates, with replacement: `p_c ~ n_c ** power`.

    Each batch holds the classes in these shares, up to one example; which examples of a class is drawn anew for each
    update. Evaluations see every example once, as ever.

    Args:
      classes: number of classes, at least 2, that of the data.
      power: at least 0; 0 draws all classes alike, 1 as often as they are, 1/2 is the square-root rule; may be traced.
      within: what is drawn from; None: the whole training split. Where it corrupts labels, these are what is evened out.

    Raises:
      ValueError: a number out of range, targets in place of labels; or `within` is of traced size, or balanced itself.

    References:
      Kang, Xie, Rohrbach, Yan, Gordo, Feng, Kalantidis, "Decoupling representation and classifier for long-tailed recognition",
      ICLR 2020.
    """
    classes = _check.count("classes", classes, low=2)
    _check.number("power", power, low=0.0)

    def train(key: Key, y: Array) -> Span:
        whole = _whole(within, key, y)
        seen = y if within is None or within.labels is None else within.labels(key, y)
        labels = _integers(seen if whole.rows is None else seen[whole.rows])
        order = jnp.argsort(labels, stable=True).astype(jnp.int32)
        counts = jnp.bincount(labels, length=classes)
        starts = jnp.cumsum(counts) - counts
        ends = jnp.cumsum(jnp.where(counts > 0, counts.astype(jnp.float32) ** power, 0.0))

        def draw(key: Key, padded: int, size: ScalarLike) -> Int[Array, " padded"]:
            which, what = jax.random.split(key)
            slot = jnp.arange(padded) % size
            even = jnp.minimum((slot + jax.random.uniform(which)) / size, 1 - 2.0**-24)
            label = jnp.searchsorted(ends / ends[-1], even, side="right")
            member = jnp.floor(jax.random.uniform(what, (padded,))[slot] * counts[label]).astype(jnp.int32)
            return starts[label] + jnp.minimum(member, counts[label] - 1)

        return Span(0, whole.size, order if whole.rows is None else whole.rows[order], draw)

    return _like(within, train)._replace(classes=classes)


def corrupt_labels(rate: ScalarLike, classes: int, *, within: Subset | None = None) -> Subset:
    """Returns the training split with some labels wrong, the same throughout training: drawn evenly from all classes.

    The training metrics are those of the labels that a trial sees; validation and test keep the true ones. For a seed, the
    labels that are replaced at a lower rate are among those of a higher. For labels that change from update to update there is
    `jt.data.augment.label_noise`.

    Args:
      rate: probability that a label is replaced, in [0, 1], be it by itself; may be traced.
      classes: number of classes, at least 2, that of the data.
      within: which examples are trained on; None: the whole training split.

    Raises:
      ValueError: a number out of range, or targets in place of labels.

    References:
      Zhang, Bengio, Hardt, Recht, Vinyals, "Understanding deep learning requires rethinking generalization", ICLR 2017.
    """
    _check.number("rate", rate, low=0.0, high=1.0)
    classes = _check.count("classes", classes, low=2)

    def train(key: Key, y: Array) -> Span:
        return Span(0, y.shape[0]) if within is None else within.train(key, y)

    def labels(key: Key, y: Array) -> Array:
        y = y if within is None or within.labels is None else within.labels(key, y)
        which, what = jax.random.split(stream_key(key, "labels"))
        new = jax.random.randint(what, y.shape, 0, classes, _integers(y).dtype)
        return jnp.where(jax.random.uniform(which, y.shape) < rate, new, y)

    return _like(within, train)._replace(labels=labels, classes=classes)


def _like(within: Subset | None, train: Callable[[Key, Array], Span]) -> Subset:
    """Returns a choice among the training examples of another, with its validation examples and labels."""
    if within is None:
        return Subset(train)
    if not isinstance(within, Subset):
        raise InputTypeError("within", within, "it is no subset", "Pass jt.data.fold(hp.fold, of=5), say, or None.")
    return within._replace(train=train)


def _integers(y: Array) -> Array:
    if not jnp.issubdtype(y.dtype, jnp.integer):
        raise InputError("y", y.dtype, "there are no classes", "Use this for integer labels.")
    return y


def _fold_of_groups(which: ScalarLike, of: int, seed: int, groups: np.ndarray) -> Subset:
    """Returns one of k folds of which no two share a group."""
    check_groups(groups, len(groups) if groups.ndim else 0)
    names, number, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(names) < of:
        reason = f"there are {len(names)} groups in an array of shape {groups.shape}"
        raise InputError("groups", f"{of} folds", reason, "Pass one group per training example, and fewer folds.")
    shuffled = np.random.default_rng(_check.seed("seed", seed)).permutation(len(names))
    dealt, counts = np.zeros(len(names), int), np.zeros(of, int)
    for group in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        dealt[group] = np.argmin(counts)
        counts[dealt[group]] += sizes[group]
    of_example = dealt[number.reshape(-1)].astype(np.int32)

    def span(y: Array, held: bool) -> Span:
        if y.shape[0] != len(of_example):
            reason = f"there are {y.shape[0]} training examples"
            raise InputError("groups", f"an array of shape {groups.shape}", reason, "Pass data.train.groups, say.")
        inside = (jnp.asarray(of_example) == jnp.asarray(which).astype(jnp.int32)) == held
        size = counts if held else len(of_example) - counts
        chosen = jnp.asarray(size)[which] if isinstance(which, jax.core.Tracer) else int(size[int(which)])
        return Span(0, chosen, jnp.argsort(~inside, stable=True).astype(jnp.int32))

    return Subset(lambda key, y: span(y, False), lambda key, y: span(y, True))


class _Whole(NamedTuple):
    size: int
    rows: Array | None


def _whole(within: Subset | None, key: Key, y: Array) -> _Whole:
    """Returns what a subset is a part of.

    Raises:
      ValueError: its size is traced, or its batches are drawn by a rule.
    """
    if within is None:
        return _Whole(y.shape[0], None)
    span = within.train(key, y)
    if not isinstance(span.size, int):
        raise InputError("within", "a subset", "its size is traced", "Take the part of traced size last.")
    if span.draw is not None:
        raise InputError("within", "a balanced subset", "its batches are drawn by its own rule", "Balance last.")
    return _Whole(span.size, span.rows)
