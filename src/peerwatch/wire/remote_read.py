"""Remote read: requests in, sampled responses out. Samples are written by numpy, none becomes an object."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, repeat

import numpy as np
from numpy.typing import NDArray

from peerwatch.errors import DecodeError, QueryError
from peerwatch.model import HistogramCells, Int64Array, Labels, Matcher, MatchOp, SeriesSet
from peerwatch.model.histograms import offsets_of
from peerwatch.wire import remote_pb2 as pb
from peerwatch.wire import snappy
from peerwatch.wire.remote_histograms import encode_histogram
from peerwatch.wire.signed import parse_message

MAX_READ_REQUEST_BYTES = 1 << 20
CONTENT_TYPE = "application/x-protobuf"

_MAX_QUERIES = 100
_OPS = (MatchOp.EQUAL, MatchOp.NOT_EQUAL, MatchOp.REGEX, MatchOp.NOT_REGEX)
_SAMPLE_BYTES, _TIME_BYTES = 18, 6
_MIN_TIME_MS, _MAX_TIME_MS = 1 << 35, (1 << 42) - 1  # times whose varint has 6 bytes: 1971 to 2109


Bytes = bytes | memoryview


@dataclass(frozen=True, slots=True)
class ReadQuery:
    """Series and samples in [start_ms, end_ms]."""

    start_ms: int
    end_ms: int
    matchers: tuple[Matcher, ...]


def decode_read_request(body: bytes) -> list[ReadQuery]:
    """The queries of a compressed prometheus.ReadRequest. Raises DecodeError for anything else.

    Which kinds of response a client accepts is not looked at: all get samples, as from a Prometheus before 2.13.
    """
    message = parse_message(pb.ReadRequest, snappy.expand(body, MAX_READ_REQUEST_BYTES))
    if len(message.queries) > _MAX_QUERIES:
        raise DecodeError(f"{len(message.queries)} queries in one request, limit {_MAX_QUERIES}")
    return [
        ReadQuery(one.start_ms, one.end_ms, tuple(_matcher(matcher) for matcher in one.matchers))
        for one in message.queries
    ]


def _matcher(matcher: pb.ReadMatcher) -> Matcher:
    if matcher.type >= len(_OPS):
        raise DecodeError(f"matcher type {matcher.type} is unknown")
    try:
        return Matcher(matcher.name, _OPS[matcher.type], matcher.value)
    except QueryError as error:
        raise DecodeError(f"matcher of {matcher.name[:100]!r}: {error}") from error


def encode_read_response(results: Sequence[SeriesSet]) -> bytes:
    """A compressed prometheus.ReadResponse. Series without a sample are left out; histograms have float counts."""
    pieces: list[Bytes] = []
    for found in results:
        inner = _result(found)
        pieces.append(_head(0x0A, sum(map(len, inner))))
        pieces += inner
    return snappy.compress(b"".join(pieces))


def _result(found: SeriesSet) -> list[Bytes]:
    """In pieces, so that the samples of a large answer are copied once."""
    numbers = found if found.histograms is None else _numbers(found, found.histograms)
    samples = _plain_samples(numbers) if _has_odd_times(numbers) else _packed_samples(numbers)
    natives: Iterable[bytes] = repeat(b"", len(found.labels))
    if found.histograms is not None:
        natives = _natives(found, found.histograms)
    pieces: list[Bytes] = []
    for labels, own, native in zip(found.labels, samples, natives, strict=True):
        if own or native:
            head = _labels(labels)
            pieces += (_head(0x0A, len(head) + len(own) + len(native)), head, own, native)
    return pieces


def _numbers(found: SeriesSet, cells: HistogramCells) -> SeriesSet:
    """The samples that are no histograms."""
    kept = ~cells.mask
    return SeriesSet(
        found.labels, found.times_ms[kept], found.values[kept], offsets_of(kept.astype(np.int64))[found.offsets]
    )


def _natives(found: SeriesSet, cells: HistogramCells) -> Iterator[bytes]:
    """The histograms of each series, as fields of its message."""
    bounds = found.offsets.tolist()
    for start, end in pairwise(bounds):
        at = np.flatnonzero(cells.which[start:end] >= 0) + start
        series = pb.SeriesV1()
        for place, time_ms in zip(cells.which[at].tolist(), found.times_ms[at].tolist(), strict=True):
            series.histograms.append(encode_histogram(cells.column, place, time_ms).SerializeToString())
        yield series.SerializeToString()


def _has_odd_times(found: SeriesSet) -> bool:
    times = found.times_ms
    return len(times) > 0 and (int(times.min()) < _MIN_TIME_MS or int(times.max()) > _MAX_TIME_MS)


def _packed_samples(found: SeriesSet) -> Iterator[Bytes]:
    """The samples of each series, as fields of its message."""
    samples = _samples(found).reshape(-1).data
    offsets = (found.offsets * _SAMPLE_BYTES).tolist()
    return (samples[start:end] for start, end in pairwise(offsets))


def _samples(found: SeriesSet) -> NDArray[np.uint8]:
    rows = np.empty((len(found.values), _SAMPLE_BYTES), np.uint8)
    rows[:, 0:3] = (0x12, _SAMPLE_BYTES - 2, 0x09)
    rows[:, 3:11] = np.ascontiguousarray(found.values, "<f8").view(np.uint8).reshape(-1, 8)
    rows[:, 11] = 0x10
    rows[:, 12:] = _varints(found.times_ms)
    return rows


def _varints(times_ms: Int64Array) -> NDArray[np.uint8]:
    digits = (times_ms[:, None] >> (7 * np.arange(_TIME_BYTES)) & 0x7F).astype(np.uint8)
    digits[:, :-1] |= 0x80
    return digits


def _plain_samples(found: SeriesSet) -> Iterator[Bytes]:
    """The same for times of any size, sample by sample."""
    for start, end in pairwise(found.offsets.tolist()):
        part = slice(start, end)
        samples = [
            pb.Sample(value=value, timestamp_ms=time_ms)
            for time_ms, value in zip(found.times_ms[part].tolist(), found.values[part].tolist(), strict=True)
        ]
        yield pb.SeriesV1(samples=samples).SerializeToString()


def _labels(labels: Labels) -> bytes:
    return pb.LabelSet(labels=[pb.LabelPair(name=name, value=value) for name, value in labels]).SerializeToString()


def _head(tag: int, size: int) -> bytes:
    """What stands before a field of so many bytes."""
    head = bytearray((tag,))
    while size > 0x7F:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    head.append(size)
    return bytes(head)
