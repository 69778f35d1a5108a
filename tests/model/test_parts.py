"""Parts: histograms and start timestamps come out of plain series of numbers as they went in."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from peerwatch.model import CUSTOM_SCHEMA, KEY_BIAS, STALE, STALE_BITS, Labels, SeriesSet
from peerwatch.model.assembly import assemble
from peerwatch.model.parts import names_of, part_of, split
from tests.model.native import MARKER, NATIVES, Native, bits, column, series_set, stored, told

LABELS = [Labels.of(__name__=name, a=a) for name in ("h", "m") for a in ("", "1", "2")]
TIMES = st.one_of(st.integers(0, 20), st.integers(0, 20).map(lambda t: 1_700_000_000_000 + 15_000 * t))
STARTS = st.one_of(st.just(0), st.integers(1, 1 << 42), st.just(-5))
NUMBERS = st.one_of(st.floats(), st.just(float(STALE)))
PLACES = st.tuples(st.sampled_from(LABELS), TIMES)
A = Labels.of(__name__="h", a="1")


@given(st.dictionaries(PLACES, st.tuples(st.one_of(NATIVES, NATIVES, NUMBERS), STARTS), max_size=40))
def test_what_is_split_comes_together_again(story: dict[tuple[Labels, int], tuple[float | Native, int]]) -> None:
    """Any layouts and schemas, ragged, changing; stale markers; numbers and histograms in one series; starts."""
    flat = [(labels, time_ms, sample, start) for (labels, time_ms), (sample, start) in story.items()]
    expected: dict[Labels, dict[int, tuple[object, int]]] = {}
    for labels, time_ms, sample, start in flat:
        one = sample.told if isinstance(sample, Native) else bits(sample)
        expected.setdefault(labels, {})[time_ms] = (one, start)
    assert told(assemble(series_set(stored(flat)))) == expected


@given(st.lists(st.tuples(PLACES, NATIVES, NUMBERS), max_size=10))
def test_at_one_time_the_histogram_counts(rows: list[tuple[tuple[Labels, int], Native, float]]) -> None:
    """A number of the same series and time is left out."""
    one_each = {place: (native, number) for place, native, number in rows}
    flat = [(*place, sample, 0) for place, both in one_each.items() for sample in both]
    found = told(assemble(series_set(stored(flat))))
    assert {(labels, time_ms): one for labels, own in found.items() for time_ms, (one, _) in own.items()} == {
        place: native.told for place, (native, _) in one_each.items()
    }


def test_a_set_without_parts_is_handed_on() -> None:
    """The very same object: what has no histograms pays nothing."""
    plain = series_set(stored([(A, 1, 2.0, 0)]))
    assert assemble(plain) is plain
    empty = SeriesSet([], np.empty(0, np.int64), np.empty(0), np.zeros(1, np.int64))
    assert assemble(empty) is empty


def test_values_at_histograms_are_their_counts() -> None:
    """And the stale NaN at a stale marker, so that who looks for markers finds both kinds."""
    found = assemble(series_set(stored([(A, 1, Native(count=7.0), 0), (A, 2, MARKER, 0)])))
    assert found.values.view(np.uint64).tolist() == [bits(7.0), STALE_BITS]
    assert found.histograms is not None
    assert found.histograms.column.stale.tolist() == [False, True]
    assert found.histograms.column.counts.tolist() == [7.0, 0.0]


def test_a_marker_is_one_number() -> None:
    """Nothing else of it is written; a count that has a marker's bits by chance is no marker."""
    pieces = split(column([MARKER, Native(count=float(STALE), sum=1.0)]), np.zeros(2, np.int64))
    assert [names_of(shape) for shape in pieces.shapes] == [["count"], ["count", "sum", "form"]]
    assert pieces.values.view(np.uint64).tolist()[0] == STALE_BITS
    assert pieces.values.view(np.uint64).tolist()[1] != STALE_BITS


def test_names_and_values_of_parts() -> None:
    """As docs/formats/histograms.md has them: what is 0 is left out, but for custom bounds."""
    exponential = Native(3, 2, 10.0, 5.5, 1.0, 0.25, ((-KEY_BIAS - 4, 2.0), (KEY_BIAS - 7, 3.0), (KEY_BIAS, 4.0)))
    custom = Native(CUSTOM_SCHEMA, 3, 4.0, 1.0, buckets=((KEY_BIAS + 1, 4.0),), bounds=(-0.5, 1e22))
    pieces = split(column([exponential, custom]), np.array([1234, 0]))
    named = [
        dict(zip(names_of(shape), pieces.values[start:end].tolist(), strict=True))
        for shape, start, end in zip(pieces.shapes, pieces.offsets[:-1], pieces.offsets[1:], strict=True)
    ]
    form = (3 + 64) * 4 + 2
    first = {"count": 10.0, "sum": 5.5, "form": form, "zero": 1.0, "width": 0.25, "start": 1234.0}
    assert named[0] == {**first, "n4@3": 2.0, "p-7@3": 3.0, "p0@3": 4.0}
    assert named[1] == {"count": 4.0, "sum": 1.0, "form": 47.0, "b-0.5": 0.0, "b1e+22": 4.0, "b+Inf": 0.0}


def test_buckets_of_another_schema_are_not_a_histogram_s_own() -> None:
    """Two writers, one series and millisecond: what the form names counts."""
    coarse, fine = Native(0, count=3.0, buckets=((KEY_BIAS, 3.0),)), Native(1, count=4.0, buckets=((KEY_BIAS, 4.0),))
    found = told(assemble(series_set(stored([(A, 1, coarse, 0), (A, 1, fine, 0)]))))
    assert found == {A: {1: (fine.told, 0)}}


def test_what_has_no_count_or_no_form_is_left_out() -> None:
    """Parts of which the rest is still on its way."""
    cells = stored([(A, 1, Native(count=3.0, buckets=((KEY_BIAS, 3.0),)), 9), (A, 2, Native(count=4.0), 0)])
    del cells[part_of(A, "count")][1]
    del cells[part_of(A, "form")][2]
    assert told(assemble(series_set(cells))) == {}
    cells[A] = {2: bits(5.0)}
    assert told(assemble(series_set(cells))) == {A: {2: (bits(5.0), 0)}}


@example(["q1@1", "b", "bx", "p1", "p@1", "p1@", "new"])
@given(st.lists(st.text(max_size=5).filter(lambda name: name[:1] not in "bcfnpswz")))
def test_parts_of_a_later_version_are_left_out(names: list[str]) -> None:
    """What a name that is not known means, nobody knows."""
    cells = stored([(A, 1, Native(count=3.0), 0)])
    for name in names:
        cells[part_of(A, name)] = {1: bits(1.0)}
    assert told(assemble(series_set(cells))) == {A: {1: (Native(count=3.0).told, 0)}}


def test_times_of_any_size() -> None:
    """Series and time do not fit into one number: still found."""
    far = 1 << 59
    flat = [(labels, at, Native(count=1.0), 5) for labels in LABELS for at in (-far, 0, far)]
    found = told(assemble(series_set(stored(flat))))
    assert found == {labels: {at: (Native(count=1.0).told, 5) for at in (-far, 0, far)} for labels in LABELS}
