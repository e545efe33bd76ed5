"""Permutations of traced length: every entry once, and all orders alike."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from jaxtune.data.batches._permutation import permuted

KEY = jax.random.key(0)


def test_every_entry_appears_once_whatever_the_length():
    sizes = jnp.array([*range(1, 20), 31, 32, 33, 63, 64, 65, 100])
    found = jax.jit(jax.vmap(lambda n: permuted(KEY, n, jnp.minimum(jnp.arange(100), n - 1))))(sizes)
    for n, entries in zip(sizes.tolist(), found, strict=True):
        assert sorted(entries[:n].tolist()) == list(range(n))


def test_entries_do_not_depend_on_which_others_are_asked_for():
    whole = permuted(KEY, 50, jnp.arange(50))
    np.testing.assert_array_equal(permuted(KEY, jnp.int32(50), jnp.array([7, 3, 49])), whole[jnp.array([7, 3, 49])])


def test_all_places_and_neighbours_are_alike():
    keys = jax.random.split(KEY, 6000)
    for n in (5, 12):
        found = np.asarray(jax.jit(jax.vmap(lambda key, n=n: permuted(key, n, jnp.arange(n))))(keys))
        counts = np.array([np.bincount(found[:, place], minlength=n) for place in range(n)])
        assert stats.chisquare(counts, 6000 / n, axis=1).pvalue.min() > 1e-4 / n
        pairs = np.bincount(found[:, 0] * n + found[:, 1], minlength=n * n).reshape(n, n)[~np.eye(n, dtype=bool)]
        assert stats.chisquare(pairs).pvalue > 1e-4
        assert abs((np.diff(found, axis=1) > 0).mean() - 0.5) < 0.01
