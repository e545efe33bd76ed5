"""Calls of a program end at evaluations and, where batches are streamed, in between."""

import jax
import numpy as np

from jaxtune.data.batches._table import Batch
from jaxtune.training._turns import fed_shapes, turns_of


def test_calls_end_at_evaluations_and_in_between():
    turns = turns_of(np.array([4, 11, 12]), most=3)
    assert turns.ends.tolist() == [2, 4, 6, 8, 11, 12]
    assert turns.measured.tolist() == [False, True, False, False, True, True]
    assert [turns.start(t) for t in range(6)] == [0, 2, 4, 6, 8, 11] and turns.longest == 3
    plain = turns_of(np.array([4, 11, 12]))
    assert plain.ends.tolist() == [4, 11, 12] and plain.measured.all() and plain.longest == 7


def test_what_is_sent_is_as_long_as_the_longest_call():
    example = Batch(jax.ShapeDtypeStruct((4, 2), np.float32), jax.ShapeDtypeStruct((4,), np.int32), None)
    fed = fed_shapes(example, turns_of(np.array([4, 11, 12]), most=3))
    assert fed.batches.x.shape == (3, 4, 2) and fed.batches.y.shape == (3, 4) and fed.batches.weight is None
    assert fed.batches.y.dtype == np.int32 and fed.measured.shape == ()
