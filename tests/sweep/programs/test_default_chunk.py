"""The shape of a chunk where none is given."""

import pytest

from jaxtune.sweep.programs._chunks import count_chunks
from jaxtune.sweep.programs._default_chunk import default_chunk
from jaxtune.sweep.programs._probe import Probe


def probe(draws, convolves=False):
    return Probe(
        frozenset(), draws, convolves, flops=10**7, work_bytes=10**6, state_bytes=10**6, variable_bytes=1, modes={}
    )


@pytest.mark.parametrize("draws", [True, False])
@pytest.mark.parametrize("convolves", [True, False])
def test_on_a_cpu_it_does_not_depend_on_the_experiment(draws, convolves):
    shape = (1, 1) if convolves else (4, 1) if draws else (1, 4)  # the arms of a seed share its draws
    for arms, seeds, devices in [(1, 1, 1), (500, 3, 2), (7, 100, 64)]:
        assert default_chunk(probe(draws, convolves), "cpu", arms, seeds, devices) == shape


@pytest.mark.parametrize("draws", [True, False])
@pytest.mark.parametrize(
    ("arms", "seeds", "devices"), [(1, 1, 1), (12, 8, 4), (300, 8, 8), (5000, 2, 2), (1025, 1, 1), (1500, 1, 1)]
)
def test_on_an_accelerator_every_device_gets_one_wide_chunk(draws, arms, seeds, devices):
    shape = default_chunk(probe(draws), "gpu", arms, seeds, devices)
    assert shape.lanes <= 1024 and shape.lanes >= min(1024, arms * seeds / devices) / 2
    assert not draws or shape.arms <= arms
    assert arms * seeds / (count_chunks(arms, seeds, shape) * shape.lanes) > 0.85  # full
