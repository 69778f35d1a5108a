"""Native histograms in columns: the same as one by one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from peerwatch.model import CUSTOM_SCHEMA, KEY_BIAS, HistogramCells, Histograms, SystemClock
from peerwatch.query.limits import Budget, Limits
from peerwatch.query.native.arithmetic import combined, same
from peerwatch.query.native.bounds import bucket_bounds
from peerwatch.query.native.bundle import Bundle
from peerwatch.query.native.bundle import added as bundled
from peerwatch.query.native.rank import fractions, quantiles
from peerwatch.query.native.reset import was_reset
from peerwatch.query.native.text import described, rendered
from peerwatch.query.native.trim import trimmed
from tests.promql.runner.compare import same_sample
from tests.promql.runner.histogram import Literal, column_of, literals_of, parse_literal
from tests.query import native_naive as naive

_INDEX = st.integers(-6, 6)
_COUNT = st.integers(0, 5).map(float)
_WIDTHS = st.sampled_from([0.0, 0.0, 0.001, 0.25, 0.5, 1.0, 1.5])


@st.composite
def exponential(draw: st.DrawFn) -> Literal:
    """Buckets on both sides, a few of them empty."""
    positive = draw(st.dictionaries(_INDEX, _COUNT, max_size=4))
    negative = draw(st.dictionaries(_INDEX, _COUNT, max_size=3))
    schema, width = draw(st.integers(-2, 3)), draw(_WIDTHS)
    buckets = {-(at + KEY_BIAS): count for at, count in negative.items()}
    buckets |= {at + KEY_BIAS: count for at, count in positive.items()}
    bare = Literal(
        schema, zero_width=width, buckets=dict(sorted(buckets.items())), hint=draw(st.sampled_from([0, 0, 1, 2]))
    )
    inside = [key for key in bare.buckets if max(map(abs, naive.limits(key, bare))) <= width]
    kept = {key: count for key, count in bare.buckets.items() if key not in inside}
    zero = draw(_COUNT)
    total = sum(kept.values()) + zero
    return Literal(schema, total, draw(st.integers(-9, 9).map(float)), zero, width, kept, hint=bare.hint)


@st.composite
def custom(draw: st.DrawFn) -> Literal:
    """Some of a few bounds."""
    bounds = tuple(sorted(draw(st.sets(st.sampled_from([-1.0, 0.5, 2.0, 3.0, 10.0]), max_size=4))))
    buckets = draw(st.dictionaries(st.integers(0, len(bounds)), _COUNT, max_size=4))
    kept = {at + KEY_BIAS: count for at, count in sorted(buckets.items())}
    return Literal(CUSTOM_SCHEMA, sum(kept.values()), 1.0, 0.0, 0.0, kept, bounds, hint=0)


def pairs() -> st.SearchStrategy[list[tuple[Literal, Literal]]]:
    """Histograms that can be combined, several pairs in one column."""
    return st.lists(st.tuples(exponential(), exponential()) | st.tuples(custom(), custom()), min_size=1, max_size=6)


def budget() -> Budget:
    """Plenty."""
    return Budget.start(Limits(), SystemClock())


def alike(expected: Literal, found: Literal) -> bool:
    """The same but for the hint, and the last bit of a bound."""
    close = math.isclose(expected.zero_width, found.zero_width, rel_tol=1e-12)
    return close and same_sample(replace(expected, hint=None, zero_width=found.zero_width), found)


def columns(found: Sequence[tuple[Literal, Literal]]) -> tuple[Histograms, Histograms]:
    """Left and right sides."""
    return column_of([left for left, _ in found]), column_of([right for _, right in found])


@given(pairs(), st.booleans())
def test_pairs_add_up_as_one_by_one(found: list[tuple[Literal, Literal]], subtract: bool) -> None:
    """Whatever resolutions, zero buckets and bounds meet."""
    got = literals_of(combined(*columns(found), subtract=subtract).found)
    for (left, right), one in zip(found, got, strict=True):
        expected = naive.added(left, right, -1.0 if subtract else 1.0)
        assert alike(expected, one), (left, right)


@given(st.lists(st.tuples(exponential() | custom(), exponential() | custom()), min_size=1, max_size=6))
def test_resets_are_seen_as_one_by_one(found: list[tuple[Literal, Literal]]) -> None:
    """In counts and in every bucket."""
    expected = [naive.was_reset(current, previous) for current, previous in found]
    assert was_reset(*columns(found)).tolist() == expected


@given(st.lists(st.lists(exponential(), min_size=1, max_size=4), min_size=1, max_size=4))
def test_sums_of_bundles(found: list[list[Literal]]) -> None:
    """Each bundle by itself, however many members it has."""
    flat = [one for bundle in found for one in bundle]
    counts = np.array([len(bundle) for bundle in found])
    starts = np.cumsum(counts) - counts
    got, _ = bundled(column_of(flat), Bundle(starts, counts, np.arange(len(flat))), average=False)
    for bundle, one in zip(found, literals_of(got), strict=True):
        expected = bundle[0]
        for more in bundle[1:]:
            expected = naive.added(expected, more)
        assert alike(expected, one)


@given(st.lists(exponential() | custom(), min_size=1, max_size=5), st.floats(0, 1))
def test_a_quantile_lies_where_its_rank_does(found: list[Literal], wanted: float) -> None:
    """Within the bucket that holds the wanted share of the observations."""
    values = quantiles(column_of(found), np.full(len(found), wanted), budget()).values
    for one, value in zip(found, values.tolist(), strict=True):
        if one.count == 0:
            assert math.isnan(value)
            continue
        buckets = naive.ascending(one)
        slack = 1e-9 * one.count
        below = sum(count for _, upper, count in buckets if upper < value - 1e-9 * abs(value))
        until = sum(count for lower, _, count in buckets if lower <= value + 1e-9 * abs(value))
        if one.schema != CUSTOM_SCHEMA:  # those with open ends answer with a bound
            assert below <= wanted * one.count + slack and until >= wanted * one.count - slack, (one, value)


@given(st.lists(exponential(), min_size=1, max_size=5), st.floats(-20, 20), st.floats(-20, 20))
def test_fractions_add_up(found: list[Literal], one: float, other: float) -> None:
    """What lies below, between and above two values is everything."""
    column, size = column_of(found), len(found)
    low, high = min(one, other), max(one, other)
    edges = [-math.inf, low, high, math.inf]
    parts = [fractions(column, np.full(size, start), np.full(size, end), budget())[0] for start, end in pairwise(edges)]
    total = sum(parts)
    assert np.allclose(total[column.counts > 0], 1.0)


@given(st.lists(exponential() | custom(), min_size=1, max_size=5), st.floats(-20, 20))
def test_trimming_keeps_what_lies_on_one_side(found: list[Literal], edge: float) -> None:
    """Buckets on the kept side stay whole, those on the other go, and both sides together are no more than all."""
    column = column_of(found)
    below, above = (literals_of(trimmed(column, np.full(len(found), edge), keep_below=side)) for side in (True, False))
    for one, low, high in zip(found, below, above, strict=True):
        for key, count in one.populated.items():
            start, end = naive.limits(key, one)
            kept = low.populated.get(key, 0.0), high.populated.get(key, 0.0)
            if end <= edge:
                assert kept == (count, 0.0)
            elif start >= edge:
                assert kept == (0.0, count)
            elif not math.isinf(start) and not math.isinf(end):
                assert math.isclose(sum(kept), count, abs_tol=1e-9)


@given(st.lists(exponential() | custom(), max_size=6))
def test_columns_are_taken_apart_as_they_were_put_together(found: list[Literal]) -> None:
    """Any order, any repetition."""
    column = column_of(found)
    rows = np.array([*range(len(found)), *range(len(found))], np.int64)[::-1].copy()
    assert [one.buckets for one in literals_of(column.take(rows))] == [found[row].buckets for row in rows.tolist()]
    joined = Histograms.concat([column, column.take(rows)])
    assert same(joined.take(np.arange(len(found))), column).all()
    assert [one.bounds for one in literals_of(joined)][: len(found)] == [one.bounds for one in found]


def test_bounds_are_those_of_prometheus() -> None:
    """To the bit: 2^(1/2) / 2 is one unit less in its table than the nearest double."""
    column = column_of([parse_literal("schema:1 buckets:[1 1 1]"), parse_literal("schema:-4 offset:64 buckets:[1 1]")])
    lower, upper = bucket_bounds(column)
    assert upper.tolist() == [1.0, 1.414213562373095, 2.0, 1.7976931348623157e308, math.inf]
    assert lower.tolist()[:3] == [0.7071067811865475, 1.0, 1.414213562373095]


def test_texts() -> None:
    """As `count_values` and the API show them."""
    column = column_of([parse_literal("sum:-1.5 count:4 z_bucket:1 z_bucket_w:0.001 buckets:[2 0] n_buckets:[1]")])
    assert described(column) == ["{count:4, sum:-1.5, [-1,-0.5):1, [-0.001,0.001]:1, (0.5,1]:2}"]
    buckets = b'[[1,"-1","-0.5","1"],[3,"-0.001","0.001","1"],[0,"0.5","1","2"]]'
    assert rendered(column) == [b'{"count":"4","sum":"-1.5","buckets":' + buckets + b"}"]


def test_cells_are_put_back_in_order() -> None:
    """A column has no more than its cells need."""
    column = column_of([parse_literal(f"count:{count}") for count in (1, 2, 3)])
    cells = HistogramCells.at(np.array([[True, False], [True, True]]), column)
    assert cells.of(np.array([[False, False], [True, True]])).counts.tolist() == [2.0, 3.0]
    only = cells.only(np.array([[False, True], [False, True]]))
    assert only is not None and only.compact().column.counts.tolist() == [3.0]
    assert cells.only(np.zeros((2, 2), np.bool_)) is None
