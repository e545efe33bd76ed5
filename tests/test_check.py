"""Checks look at numbers and let tracers pass."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtune import _check
from jaxtune._errors import JaxtuneError

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("value", [0, 1, 0.5, np.float32(0.25), np.int64(1), np.array(0.5), jnp.float32(0.5)])
def test_numbers_pass_as_they_came(value):
    assert _check.number("rate", value, low=0.0, high=1.0) is value


@pytest.mark.parametrize("value", [np.array([5.0, -1.0]), jnp.array([[NAN]])])
def test_arrays_pass_unseen(value):
    assert _check.number("rate", value, low=0.0, high=1.0) is value


@pytest.mark.parametrize("transform", [jax.jit, jax.vmap, jax.grad])
def test_tracers_pass_unseen(transform):
    seen = []

    def fn(x):
        seen.append(_check.number("rate", x, low=0.0, high=1.0) is x)
        return x * 1.0

    transform(fn)(jnp.array([5.0, NAN]) if transform is jax.vmap else 5.0)
    assert seen == [True]


@pytest.mark.parametrize(
    "value, bounds, message",
    [
        (1.5, dict(low=0.0, high=1.0), "`x` is 1.5: it has to be between 0 and 1. Pass a number between 0 and 1."),
        (-1, dict(low=0.0), "`x` is -1: it has to be at least 0. Pass a number of at least 0."),
        (NAN, dict(low=0.0), "`x` is nan: NaN is no setting. Pass a number of at least 0."),
        (INF, dict(low=0.0), '`x` is inf: infinity does not mean "off" here. Pass a finite number of at least 0.'),
        (-INF, dict(), '`x` is -inf: infinity does not mean "off" here.'),
        (-INF, dict(infinity="never stops"), '`x` is -inf: infinity does not mean "off" here.'),
        (np.array(2.0), dict(high=1.0), "`x` is array(2.): it has to be"),
        (jnp.float32(2), dict(low=0.0, high=1.0), "it has to be between 0 and 1"),
        (2.0, dict(high=1.0, cure="Halve it."), "Halve it."),
    ],
)
def test_bad_numbers(value, bounds, message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        _check.number("x", value, **bounds)
    assert isinstance(error.value, JaxtuneError)


@pytest.mark.parametrize(
    "value",
    [True, np.bool_(True), jnp.array(True), np.array(True), "1", np.array("1"), None, 1j, np.complex64(1), [1.0], {}],
)
def test_other_types(value):
    with pytest.raises(
        TypeError, match="`x` is .*: a real number is needed. Pass a float, or a traced scalar."
    ) as error:
        _check.number("x", value)
    assert isinstance(error.value, JaxtuneError)


def test_long_values_are_cut():
    with pytest.raises(TypeError) as error:
        _check.number("x", "a" * 1000)
    assert len(str(error.value)) < 400 and "aaa..." in str(error.value)


@pytest.mark.parametrize("value", [1, 7, np.int32(3)])
def test_counts(value):
    got = _check.count("n", value)
    assert type(got) is int and got == value


@pytest.mark.parametrize("value, low, message", [(0, 1, "at least 1"), (-3, 0, "at least 0"), (1, 2, "at least 2")])
def test_small_counts(value, low, message):
    with pytest.raises(ValueError, match=f"`n` is {value}: it has to be {message}. Pass an int of {message}."):
        _check.count("n", value, low=low)
    assert _check.count("n", low, low=low) == low


@pytest.mark.parametrize("value", [1.0, True, np.bool_(True), "1", None, np.float32(1)])
def test_counts_of_a_wrong_type(value):
    with pytest.raises(TypeError, match="`n` is .*: a whole number is needed. Pass an int of at least 1."):
        _check.count("n", value)


def test_a_count_cannot_be_traced():
    with pytest.raises(TypeError, match=r"`n` is traced: it shapes the program.*jt\.static\(\[\.\.\.\]\)"):
        jax.jit(lambda n: _check.count("n", n))(3)


def test_infinities_that_mean_something_are_noted():
    with _check.collect_infinities() as noted:
        assert _check.number("patience", INF, low=0.0, infinity="never stops") == INF
        with _check.collect_infinities() as inner:
            _check.number("patience", 3.0, infinity="never stops")
            _check.note_infinity("inner")
    assert noted == [INF] and inner == ["inner"]
    assert _check.number("patience", INF, infinity="never stops") == INF  # nobody listens
    assert noted == [INF]


def test_refused_infinities_are_not_noted():
    with _check.collect_infinities() as noted, pytest.raises(ValueError, match="infinity"):
        _check.number("strength", INF)
    assert noted == []
