"""Numbers and times as Prometheus prints them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerwatch.query.gotext import (
    format_duration_ms,
    format_plain,
    format_sample,
    parse_duration_ms,
    quote,
    unquote,
)
from peerwatch.query.render import spell_values


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (1.0, "1"),
        (-0.0, "-0"),
        (0.1, "0.1"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (1.5e-6, "0.0000015"),
        (9.9e-7, "9.9e-07"),
        (-1.25e300, "-1.25e+300"),
        (5e-324, "5e-324"),
        (123456789.125, "123456789.125"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (math.nan, "NaN"),
    ],
)
def test_a_sample_prints_as_go_prints_it(value: float, printed: str) -> None:
    """Shortest digits; an exponent below 1e-6 and from 1e21 on."""
    assert format_sample(value) == printed


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats() | st.integers(-(10**18), 10**18).map(float), max_size=20))
def test_the_fast_way_of_printing_gives_the_same_texts(values: list[float]) -> None:
    """A whole row at once is spelled as each value on its own, and reads back exactly."""
    spelled = [text.decode() for text in spell_values(np.array(values, np.float64))]
    assert spelled == [format_sample(value) for value in values]
    for text, value in zip(spelled, values, strict=True):
        assert math.isnan(float(text)) if math.isnan(value) else float(text) == value


@settings(max_examples=200, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_plain_digits_read_back(value: float) -> None:
    """No exponent, no loss."""
    assert "e" not in format_plain(value)
    assert float(format_plain(value)) == value


@settings(max_examples=200, deadline=None)
@given(st.text() | st.binary(max_size=8).map(lambda raw: raw.decode("utf-8", "surrogateescape")))
def test_a_quoted_string_reads_back(value: str) -> None:
    """Also bytes that are not UTF-8."""
    assert unquote(quote(value)) == value


@given(st.integers(1, 10**12))
def test_a_duration_reads_back(duration_ms: int) -> None:
    """To the millisecond."""
    assert parse_duration_ms(format_duration_ms(duration_ms)) == duration_ms
