"""Readings of several sources become one tick; ticks become one matrix."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from peerwatch.agent.source import Reading
from peerwatch.agent.tick import Tick, TickMerger, stack_ticks
from peerwatch.model import METRIC_NAME, Labels, MetricType, Series
from tests.agent.shapes import gauge, reading, shown, tick

A, B, C, D = gauge("a"), gauge("b"), gauge("c"), gauge("d")
LEFT, RIGHT = (A, B), (C,)


def merge(merger: TickMerger, *readings: Reading | None) -> Tick:
    return merger.merge(1000, 1000, readings)


def test_sources_are_joined_in_order_and_the_tuple_is_reused() -> None:
    """The same shapes give the identical tuple; full ticks have no presence mask."""
    merger = TickMerger(2)
    first = merge(merger, reading(LEFT, 1, 2), reading(RIGHT, 3))
    second = merge(merger, reading(LEFT, 4, 5), reading(RIGHT, 6))
    assert first.series == (A, B, C) and second.series is first.series
    assert second.values.tolist() == [4, 5, 6] and second.presence is None


def test_a_source_that_fails_is_absent_then_ended_once() -> None:
    """Two failures leave its rows absent; the third gives each one stale marker; after that they are gone."""
    merger = TickMerger(2)
    merge(merger, reading(LEFT, 1, 2), reading(RIGHT, 3))
    for _ in range(2):
        absent = merge(merger, None, reading(RIGHT, 3))
        assert absent.series == (A, B, C) and shown(absent) == {"c": 3}
    assert shown(merge(merger, None, reading(RIGHT, 3))) == {"c": 3, "a": "stale", "b": "stale"}
    gone = merge(merger, None, reading(RIGHT, 4))
    assert gone.series == (C,) and shown(gone) == {"c": 4}
    assert shown(merge(merger, reading(LEFT, 1, 2), reading(RIGHT, 4))) == {"a": 1, "b": 2, "c": 4}


def test_a_series_that_vanishes_gets_one_marker() -> None:
    """A device that is gone ends at once: the source works, it just does not name it any more."""
    merger = TickMerger(1)
    merge(merger, reading(LEFT, 1, 2))
    assert shown(merge(merger, reading((A,), 5))) == {"a": 5, "b": "stale"}
    assert shown(merge(merger, reading((A,), 6))) == {"a": 6}


def test_a_marker_comes_even_while_another_source_fails() -> None:
    """Presence and markers go together."""
    merger = TickMerger(2)
    merge(merger, reading(LEFT, 1, 2), reading(RIGHT, 3))
    assert shown(merge(merger, reading((A,), 5), None)) == {"a": 5, "b": "stale"}


def test_what_two_sources_name_counts_once() -> None:
    """The earlier source wins, also against another type for the same labels; nothing ends because of it."""
    merger = TickMerger(3)
    other_type = Series(Labels.of({METRIC_NAME: "a"}), MetricType.COUNTER)
    found = merge(merger, reading(LEFT, 1, 2), reading((B, D), 8, 9), reading((other_type,), 7))
    assert found.series == (A, B, D) and found.values.tolist() == [1, 2, 9]
    assert shown(merge(merger, reading(LEFT, 1, 2), reading((D,), 9), reading((other_type,), 7))) == {
        "a": 1,
        "b": 2,
        "d": 9,
    }


cells = st.dictionaries(st.sampled_from([A, B, C, D]), st.one_of(st.none(), st.floats(-5, 5)))


@given(st.lists(cells, min_size=1, max_size=6))
def test_a_stack_holds_exactly_what_its_ticks_held(content: list[dict[Series, float | None]]) -> None:
    """Whatever series come and go inside, each cell of the matrix is its tick's cell or absent."""
    ticks = [tick(1000 * (at + 1), values) for at, values in enumerate(content)]
    series, matrix = stack_ticks(ticks)
    assert set(series) == {one for values in content for one in values} and len(set(series)) == len(series)
    assert matrix.times_ms.tolist() == [one.time_ms for one in ticks]
    assert matrix.values.flags.c_contiguous
    there = np.ones(matrix.values.shape, dtype=np.bool_) if matrix.presence is None else matrix.presence
    for column, values in enumerate(content):
        kept = {one: float(matrix.values[row, column]) for row, one in enumerate(series) if there[row, column]}
        assert kept == {one: value for one, value in values.items() if value is not None}
    if all(list(values) == list(content[0]) and None not in values.values() for values in content):
        assert matrix.presence is None
