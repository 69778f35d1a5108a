"""Remote write requests as senders make them, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import cramjam

from peerwatch.model import KEY_BIAS, Labels, MetricType
from peerwatch.wire import remote_pb2 as pb
from tests.model.native import Native

Sent = tuple[Labels, Sequence[tuple[int, float]]]
"""A series and its samples (time in ms, value)."""

SentNative = tuple[Labels, Native, int]
"""A histogram of a series, and its time in ms."""


def snappy(message: pb.WriteV1 | pb.WriteV2 | pb.ReadRequest) -> bytes:
    """The message as a body."""
    return bytes(cramjam.snappy.compress_raw(message.SerializeToString()))


def series_v1(labels: Labels, samples: Sequence[tuple[int, float]], **more: list[bytes]) -> pb.SeriesV1:
    """One TimeSeries of 1.0."""
    return pb.SeriesV1(
        labels=[pb.LabelPair(name=name, value=value).SerializeToString() for name, value in labels],
        samples=[pb.Sample(timestamp_ms=time_ms, value=value) for time_ms, value in samples],
        exemplars=more.get("exemplars", []),
        histograms=more.get("histograms", []),
    )


def histogram(native: Native, time_ms: int, *, start_ms: int = 0, whole: bool = False) -> pb.Histogram:
    """A native histogram as senders make it. whole: counts are whole numbers, buckets are told by their differences."""
    made = pb.Histogram(
        sum=native.sum,
        schema=native.schema,
        zero_threshold=native.width,
        reset_hint=native.hint,
        timestamp_ms=time_ms,
        custom_values=native.bounds or (),
        start_ms=start_ms,
    )
    if whole:
        made.count_int, made.zero_count_int = int(native.count), int(native.zero)
    else:
        made.count_float, made.zero_count_float = native.count, native.zero
    for sign, spans, deltas, counts in (
        (-1, made.negative_spans, made.negative_deltas, made.negative_counts),
        (1, made.positive_spans, made.positive_deltas, made.positive_counts),
    ):
        side = sorted((abs(key) - KEY_BIAS, count) for key, count in native.buckets if key * sign > 0)
        end = 0
        for index, _ in side:
            if spans and index == end:
                spans[-1].length += 1
            else:
                spans.add(offset=index - end, length=1)
            end = index + 1
        if whole:
            numbers = [0, *(int(count) for _, count in side)]
            deltas.extend(after - before for before, after in pairwise(numbers))
        else:
            counts.extend(count for _, count in side)
    return made


def series_v2(refs: Sequence[int], histograms: Sequence[pb.Histogram], **more: Any) -> pb.SeriesV2:
    """One TimeSeries of 2.0 with native histograms."""
    raws = [one.SerializeToString() for one in histograms]
    return pb.SeriesV2(labels_refs=refs, histograms=raws, **more)


def request_v1(
    *sent: Sent, families: dict[str, tuple[MetricType, str, str]] | None = None, natives: Sequence[SentNative] = ()
) -> bytes:
    """A WriteRequest of 1.0."""
    series = [series_v1(*one) for one in sent]
    for labels, native, time_ms in natives:
        series.append(series_v1(labels, [], histograms=[histogram(native, time_ms).SerializeToString()]))
    return snappy(
        pb.WriteV1(
            timeseries=[one.SerializeToString() for one in series],
            metadata=[
                pb.FamilyMeaning(family=name, type=kind, help=help_, unit=unit)
                for name, (kind, help_, unit) in (families or {}).items()
            ],
        )
    )


def request_v2(
    *sent: Sent,
    meaning: tuple[MetricType, str, str] | None = None,
    natives: Sequence[SentNative] = (),
    start_ms: int = 0,
) -> bytes:
    """A Request of 2.0; `meaning` is sent with every series, an empty one where it is None, as Prometheus does.

    start_ms: since when all histograms count.
    """
    symbols: dict[str, int] = {"": 0}

    def ref(word: str) -> int:
        return symbols.setdefault(word, len(symbols))

    kind, help_, unit = meaning or (MetricType.UNKNOWN, "", "")
    series = [
        pb.SeriesV2(
            labels_refs=[ref(word) for pair in labels for word in pair],
            samples=[pb.Sample(timestamp_ms=time_ms, value=value) for time_ms, value in samples],
            metadata=pb.SeriesMeaning(type=kind, help_ref=ref(help_), unit_ref=ref(unit)),
        ).SerializeToString()
        for labels, samples in sent
    ]
    for labels, native, time_ms in natives:
        refs = [ref(word) for pair in labels for word in pair]
        series.append(series_v2(refs, [histogram(native, time_ms, start_ms=start_ms)]).SerializeToString())
    return snappy(pb.WriteV2(symbols=list(symbols), timeseries=series))
