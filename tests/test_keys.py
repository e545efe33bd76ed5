"""Keys are functions of seed, stream and step."""

import zlib

import jax
import jax.numpy as jnp
import numpy as np

from jaxtune._keys import MODEL_STREAMS, key_for, stream_key

ROOT = jax.random.key(11)


def data(key):
    return tuple(np.asarray(jax.random.key_data(key)).tolist())


def test_keys_are_folded_in():
    for stream in (*MODEL_STREAMS, "init", "batches", "Größe"):
        expected = jax.random.fold_in(ROOT, np.uint32(zlib.crc32(stream.encode("utf-8"))))
        assert data(stream_key(ROOT, stream)) == data(expected)
        assert data(key_for(ROOT, stream, 7)) == data(jax.random.fold_in(expected, 7))
        assert jnp.issubdtype(key_for(ROOT, stream, 7).dtype, jax.dtypes.prng_key)


def test_keys_are_stable():
    # Numbers of record: a change of them changes every result.
    assert zlib.crc32(b"dropout") == 0x9289EFC9
    assert data(key_for(jax.random.key(0), "dropout", 0)) == (244916945, 3858068630)


def test_seeds_streams_and_steps_give_different_keys():
    keys = [
        key_for(jax.random.key(seed), stream, step)
        for seed in range(3)
        for stream in ("init", "batches", *MODEL_STREAMS)
        for step in range(4)
    ]
    assert len({data(key) for key in keys}) == len(keys) == 60


def test_a_traced_step_gives_the_same_key():
    steps = jnp.arange(5)
    lanes = jax.jit(jax.vmap(lambda step: jax.random.key_data(key_for(ROOT, "step", step))))(steps)
    np.testing.assert_array_equal(lanes, [data(key_for(ROOT, "step", int(step))) for step in steps])
