"""Native histograms of remote write come out as they were sent; what is none is left out, with words."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerwatch.errors import DecodeError
from peerwatch.model import CUSTOM_SCHEMA, KEY_BIAS, STALE, Labels
from peerwatch.wire import remote_pb2 as pb
from peerwatch.wire.limits import WireLimits
from peerwatch.wire.remote_histograms import WrittenHistograms
from peerwatch.wire.remote_write import decode_write_v1, decode_write_v2
from tests.model.native import MARKER, NATIVES, Native, natives
from tests.wire.remote_kit import histogram, series_v1, series_v2, snappy

NOW = 1_700_000_000_000
LABELS = Labels.of(__name__="h")
SYMBOLS = ["", "__name__", "h"]
WHOLE = st.integers(0, 1 << 45)
SIDES = st.tuples(st.integers(-30, 30), st.sampled_from((1, -1))).map(lambda one: one[1] * (one[0] + KEY_BIAS))


def read_v1(*sent: pb.Histogram, limits: WireLimits | None = None) -> WrittenHistograms:
    series = series_v1(LABELS, [], histograms=[one.SerializeToString() for one in sent])
    return decode_write_v1(
        snappy(pb.WriteV1(timeseries=[series.SerializeToString()])), limits or WireLimits()
    ).histograms


def read_v2(*sent: pb.Histogram, limits: WireLimits | None = None) -> WrittenHistograms:
    series = series_v2([1, 2], sent).SerializeToString()
    return decode_write_v2(snappy(pb.WriteV2(symbols=SYMBOLS, timeseries=[series])), limits or WireLimits()).histograms


Read = Callable[..., WrittenHistograms]


@st.composite
def counted(draw: st.DrawFn) -> Native:
    """A histogram of whole numbers that add up."""
    buckets = tuple(sorted(draw(st.dictionaries(SIDES, WHOLE, max_size=8)).items()))
    zero, total = draw(WHOLE), draw(st.floats(allow_nan=False))
    count = float(zero + sum(count for _, count in buckets))
    real = tuple((key, float(number)) for key, number in buckets)
    return Native(draw(st.integers(-4, 8)), draw(st.integers(0, 3)), count, total, float(zero), 0.5, real)


@pytest.mark.parametrize("read", [read_v1, read_v2])
@given(sent=st.lists(NATIVES, max_size=6))
def test_float_histograms_come_out_bit_for_bit(read: Read, sent: list[Native]) -> None:
    """Any schema, custom bounds, both sides, gaps, stale markers."""
    found = read(*(histogram(one, NOW + at) for at, one in enumerate(sent)))
    assert [one.told for one in natives(found.column)] == [one.told for one in sent]
    assert found.times_ms.tolist() == [NOW + at for at in range(len(sent))]
    assert (found.refused, found.why) == (0, "")


@pytest.mark.parametrize("read", [read_v1, read_v2])
@given(sent=st.lists(counted(), max_size=6))
def test_whole_histograms_come_out_as_counts(read: Read, sent: list[Native]) -> None:
    """Differences become absolute counts."""
    found = read(*(histogram(one, NOW, whole=True) for one in sent))
    assert [one.told for one in natives(found.column)] == [one.told for one in sent]


def test_whole_and_float_ones_beside_each_other() -> None:
    """Each of its own series; empty spans change nothing."""
    one, other = Native(count=3.0, buckets=((KEY_BIAS, 3.0),)), Native(count=0.5, buckets=((KEY_BIAS + 2, 0.5),))
    first, second = histogram(one, NOW, whole=True), histogram(other, NOW)
    first.positive_spans.add(offset=7)
    series = [
        series_v1(Labels.of(__name__=name), [], histograms=[sent.SerializeToString()])
        for name, sent in (("a", first), ("b", second), ("c", first))
    ]
    found = decode_write_v1(snappy(pb.WriteV1(timeseries=[row.SerializeToString() for row in series]))).histograms
    assert natives(found.column) == [one, other, one]
    assert found.rows.tolist() == [0, 1, 2]


def test_finer_schemas_are_reduced_to_the_finest() -> None:
    """As Prometheus does: buckets are put together, on both sides."""
    keys = (-3 - KEY_BIAS, KEY_BIAS + 1, KEY_BIAS + 2, KEY_BIAS + 4, KEY_BIAS + 5)
    sent = Native(10, count=15.0, buckets=tuple((key, float(at + 1)) for at, key in enumerate(keys)))
    merged = ((-1 - KEY_BIAS, 1.0), (KEY_BIAS + 1, 9.0), (KEY_BIAS + 2, 5.0))
    for whole in (False, True):
        assert natives(read_v2(histogram(sent, NOW, whole=whole)).column) == [Native(8, count=15.0, buckets=merged)]


def test_a_start_is_the_sample_s_own_or_that_of_its_series() -> None:
    """Newer senders of 2.0 say it with each sample, older ones with the series."""
    old, new = histogram(MARKER, NOW), histogram(MARKER, NOW, start_ms=7)
    samples = [pb.Sample(timestamp_ms=NOW, value=1.0, start_ms=9), pb.Sample(timestamp_ms=NOW + 1, value=2.0)]
    series = [series_v2([1, 2], [old, new], created_ms=5), series_v2([1, 2], [], samples=samples, created_ms=5)]
    usual = series_v2([1, 2], [], samples=[pb.Sample(timestamp_ms=NOW, value=1.0)])
    raws = [one.SerializeToString() for one in (*series, usual)]
    written = decode_write_v2(snappy(pb.WriteV2(symbols=SYMBOLS, timeseries=raws)))
    assert written.histograms.starts_ms.tolist() == [5, 7]
    assert written.starts_ms is not None
    told = sorted(zip(written.rows.tolist(), written.values.tolist(), written.starts_ms.tolist(), strict=True))
    assert told == [(1, 1.0, 9), (1, 2.0, 5), (2, 1.0, 0)]
    assert decode_write_v2(snappy(pb.WriteV2(symbols=SYMBOLS, timeseries=raws[2:]))).starts_ms is None


def _bad(**fields: object) -> pb.Histogram:
    return pb.Histogram(timestamp_ms=NOW, **fields)  # type: ignore[arg-type]


SPAN, TWO = pb.BucketSpan(offset=0, length=1), pb.BucketSpan(offset=0, length=2)
BACK = pb.BucketSpan(offset=-1, length=1)
CUSTOM = {"schema": CUSTOM_SCHEMA, "count_float": 1.0}


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (_bad(schema=-5), "its schema is not -4 to 8, nor -53"),
        (_bad(schema=53), "its schema is not -4 to 8, nor -53"),
        (_bad(positive_spans=[TWO], positive_deltas=[1], count_int=1), "spans and buckets do not agree in number"),
        (_bad(negative_spans=[SPAN], negative_counts=[1.0, 2.0], count_float=3.0), "spans and buckets do not agree"),
        (_bad(positive_spans=[pb.BucketSpan(length=4_000_000_000)] * 9, count_int=1), "spans and buckets do not agree"),
        (_bad(positive_spans=[TWO, BACK], positive_deltas=[1, 0, 0], count_int=3), "a span with a negative offset"),
        (_bad(custom_values=[1.0]), "custom bounds with an exponential schema"),
        (_bad(**CUSTOM, zero_count_float=1.0), "custom bounds with a zero bucket or negative ones"),
        (_bad(**CUSTOM, zero_threshold=1.0), "custom bounds with a zero bucket or negative ones"),
        (_bad(**CUSTOM, negative_spans=[SPAN], negative_counts=[1.0]), "custom bounds with a zero bucket"),
        (_bad(**CUSTOM, positive_spans=[BACK], positive_counts=[1.0]), "a span with a negative offset"),
        (_bad(**CUSTOM, positive_spans=[TWO], positive_counts=[1.0, 0.0]), "buckets beyond the custom bounds"),
        (_bad(**CUSTOM, custom_values=[1.0, 1.0]), "custom bounds must be finite and rise"),
        (_bad(**CUSTOM, custom_values=[1.0, np.inf]), "custom bounds must be finite and rise"),
        (_bad(**CUSTOM, custom_values=[np.nan]), "custom bounds must be finite and rise"),
        (_bad(positive_spans=[TWO], positive_deltas=[1, -2], count_int=1), "a count is negative"),
        (_bad(positive_spans=[SPAN], positive_counts=[-1.0], count_float=1.0), "a count is negative"),
        (_bad(count_float=-1.0), "a count is negative"),
        (_bad(count_float=1.0, zero_count_float=-1.0), "a count is negative"),
        (_bad(count_int=2, positive_spans=[SPAN], positive_deltas=[1]), "its count is not that of its buckets"),
        (_bad(count_int=2, zero_count_int=1), "its count is not that of its buckets"),
        (_bad(count_int=1, zero_count_int=2, sum=np.nan), "its count is not that of its buckets"),
        (
            _bad(count_int=1, positive_spans=[pb.BucketSpan(offset=1 << 20, length=1)], positive_deltas=[1]),
            "a bucket is beyond all numbers",
        ),
        (
            _bad(count_int=9, positive_spans=[pb.BucketSpan(length=9)], positive_deltas=[1] + [0] * 8),
            "more buckets than 8, the limit",
        ),
        (_bad(**CUSTOM, custom_values=list(map(float, range(9)))), "more buckets than 8, the limit"),
    ],
)
def test_what_is_no_histogram_is_left_out_and_the_others_stay(sent: pb.Histogram, why: str) -> None:
    """Prometheus refuses the same; and we those that are too large."""
    good = histogram(Native(count=2.0, zero=2.0), NOW + 1, whole=True)
    for read in (read_v1, read_v2):
        found = read(good, sent, good, limits=WireLimits(max_buckets=8))
        assert natives(found.column) == [Native(count=2.0, zero=2.0)] * 2
        assert found.times_ms.tolist() == [NOW + 1] * 2
        assert (found.refused, why in found.why) == (1, True), found.why


def test_what_is_odd_and_no_mistake() -> None:
    """Observations of NaN are counted and in no bucket; hints of later versions say nothing; no count is 0."""
    nan = _bad(count_int=2, zero_count_int=1, sum=np.nan)
    found = read_v1(nan, _bad(reset_hint=4), _bad(sum=float(STALE)))
    assert found.refused == 0
    assert [one.hint for one in natives(found.column)] == [0, 0, 0]
    assert found.column.counts.tolist() == [2.0, 0.0, 0.0]
    assert found.column.stale.tolist() == [False, False, True]


def test_a_request_of_too_many_buckets_is_refused_as_a_whole() -> None:
    """Before they are expanded: spans and bounds count, and each histogram for four."""
    sent = histogram(Native(count=1.0, buckets=((KEY_BIAS, 1.0),)), NOW)
    read_v1(sent, sent, limits=WireLimits(max_cells=12))
    with pytest.raises(DecodeError, match="request of 12 buckets and spans or more, limit 11"):
        read_v1(sent, sent, limits=WireLimits(max_cells=11))


@given(NATIVES, st.binary(max_size=60), st.data())
def test_bytes_are_read_or_refused(native: Native, anything: bytes, data: st.DataObject) -> None:
    """Nothing else than a DecodeError, whatever a histogram holds; any byte of a good one may be another."""
    damaged = bytearray(histogram(native, NOW).SerializeToString())
    damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    for raw in (bytes(damaged), anything):
        series = series_v1(LABELS, [], histograms=[raw]).SerializeToString()
        with suppress(DecodeError):
            decode_write_v1(snappy(pb.WriteV1(timeseries=[series])))
