"""Permutations of ranges whose length is traced, one entry at a time."""

import jax
import jax.numpy as jnp

from jaxtune._types import Array, Count, Int, Key

_ROUNDS = 40


def permuted(key: Key, size: Count | int, places: Int[Array, " k"]) -> Int[Array, " k"]:
    """Returns entries of a random permutation of `range(size)`: a function of the key, without the others' being made.

    It is the swap-or-not shuffle: in each round x is paired with K - x modulo the size, for a random K, and a random bit of
    the pair decides whether the two change places.

    Args:
      key: random key, consumed.
      size: length of the range, at least 1; may be traced.
      places: which entries, in the range.

    References:
      Hoang, Morris, Rogaway, "An enciphering scheme based on a card shuffle", CRYPTO 2012.
    """
    pairing, coins = jax.random.bits(key, (2, _ROUNDS), jnp.uint32)
    n = jnp.asarray(size).astype(jnp.uint32)
    pairing = pairing % n
    x = places.astype(jnp.uint32)
    for i in range(_ROUNDS):
        partner = pairing[i] + jnp.where(pairing[i] < x, n, 0) - x
        x = jnp.where(_mixed(jnp.maximum(x, partner) ^ coins[i]) & 1 == 1, partner, x)
    return x.astype(jnp.int32)


def _mixed(value: Array) -> Array:
    """Returns bits each of which depends on all bits of a number (the finalizer of MurmurHash3)."""
    value = (value ^ (value >> 16)) * jnp.uint32(0x85EBCA6B)
    value = (value ^ (value >> 13)) * jnp.uint32(0xC2B2AE35)
    return value ^ (value >> 16)
