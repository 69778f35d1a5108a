"""Native histograms of remote write: messages to columns, checked as Prometheus checks them, all at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peerwatch.errors import DecodeError
from peerwatch.model import CUSTOM_SCHEMA, KEY_BIAS, BoolArray, Float64Array, Histograms, Int64Array
from peerwatch.model.arrays import ranges
from peerwatch.model.histograms import GAUGE, UNKNOWN_RESET, offsets_of
from peerwatch.wire import remote_pb2 as pb
from peerwatch.wire.limits import WireLimits
from peerwatch.wire.signed import parse_message

_COARSEST, _FINEST = -4, 8
_FINEST_TAKEN = 52  # finer than _FINEST: buckets are put together
_MAX_INDEX = 1 << 19
_CELLS_EACH = 4  # a histogram has at least so many parts

Bounds = tuple[float, ...]
Whole = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class WrittenHistograms:
    """Native histograms of one request in columns: histogram i is of series `rows[i]`, at `times_ms[i]`.

    starts_ms: since when each counts, 0 where that is unknown. refused: how many are left out because they cannot be
    histograms; why: what is wrong with the first of them.
    """

    rows: Int64Array
    times_ms: Int64Array
    starts_ms: Int64Array
    column: Histograms
    refused: int = 0
    why: str = ""

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, kept: Int64Array) -> WrittenHistograms:
        """Some of them."""
        return replace(
            self,
            rows=self.rows[kept],
            times_ms=self.times_ms[kept],
            starts_ms=self.starts_ms[kept],
            column=self.column.take(kept),
        )


class HistogramGatherer:
    """Takes the histograms of one request, message by message; `columns` is what becomes of them. Owned by one decode.

    Bounded: more than `limits.max_cells` of buckets and spans in all are a DecodeError. One that has more than
    `limits.max_buckets` is refused as one that is no histogram; the others stay.
    """

    def __init__(self, limits: WireLimits) -> None:
        self._limits = limits
        self._cells = 0
        self._messages: list[pb.Histogram] = []
        self._rows: list[int] = []
        self._starts: list[int] = []

    def add(self, row: int, raws: Iterable[bytes], created_ms: int = 0) -> None:
        """The histograms of a series. created_ms: since when those count that do not say it themselves."""
        for raw in raws:
            one = parse_message(pb.Histogram, raw)
            self._cells += _CELLS_EACH + len(one.custom_values) + len(one.negative_spans) + len(one.positive_spans)
            self._cells += len(one.negative_deltas) + len(one.positive_deltas)
            self._cells += len(one.negative_counts) + len(one.positive_counts)
            if self._cells > self._limits.max_cells:
                raise DecodeError(f"request of {self._cells} buckets and spans or more, limit {self._limits.max_cells}")
            self._messages.append(one)
            self._rows.append(row)
            self._starts.append(one.start_ms or created_ms)

    def columns(self) -> WrittenHistograms:
        """Those that are histograms, and what is wrong with the others."""
        rows, starts = np.array(self._rows, np.int64), np.array(self._starts, np.int64)
        times = np.array([one.timestamp_ms for one in self._messages], np.int64)
        if not self._messages:
            return WrittenHistograms(rows, times, starts, Histograms.none())
        column, wrong = read_histograms(self._messages, self._limits.max_buckets)
        good = np.array([not reason for reason in wrong], np.bool_)
        written = WrittenHistograms(rows, times, starts, column)
        if good.all():
            return written
        bad = int(np.flatnonzero(~good)[0])
        why = f"native histogram at {times[bad]} ms: {wrong[bad]}"
        return replace(written.take(np.flatnonzero(good)), refused=int((~good).sum()), why=why)


def encode_histogram(column: Histograms, at: int, time_ms: int) -> pb.Histogram:
    """One of them as a message with float counts."""
    part = slice(int(column.offsets[at]), int(column.offsets[at + 1]))
    bounds = int(column.bounds_of[at])
    keys, counts = column.keys[part], column.buckets[part]
    positive = int(np.searchsorted(keys, 0))
    return pb.Histogram(
        count_float=column.counts[at],
        sum=column.sums[at],
        schema=column.schemas[at],
        zero_threshold=column.zero_widths[at],
        zero_count_float=column.zero_counts[at],
        negative_spans=_spans(-keys[:positive][::-1] - KEY_BIAS),
        negative_counts=counts[:positive][::-1].tolist(),
        positive_spans=_spans(keys[positive:] - KEY_BIAS),
        positive_counts=counts[positive:].tolist(),
        reset_hint=column.hints[at],
        timestamp_ms=time_ms,
        custom_values=column.bounds[bounds] if bounds >= 0 else (),
    )


def _spans(indexes: Int64Array) -> list[pb.BucketSpan]:
    """One for each run of buckets without a gap. Indexes rise."""
    if not len(indexes):
        return []
    firsts = np.flatnonzero(np.diff(indexes, prepend=indexes[0] - 2) > 1)
    lengths = np.diff(firsts, append=len(indexes))
    offsets = np.diff(indexes[firsts], prepend=0) - np.concatenate(([0], lengths[:-1]))
    return [
        pb.BucketSpan(offset=offset, length=length)
        for offset, length in zip(offsets.tolist(), lengths.tolist(), strict=True)
    ]


def read_histograms(messages: Sequence[pb.Histogram], max_buckets: int) -> tuple[Histograms, list[str]]:
    """(all of them in columns, what is wrong with each, "" for nothing). What is wrong has no buckets."""
    heads = _Heads.of(messages)
    lanes = _Lanes.of(messages, heads.is_float)
    bounds = [tuple(one.custom_values) for one in messages]
    wrong = [""] * len(messages)

    def note(found: BoolArray, reason: str) -> None:
        for at in np.flatnonzero(found).tolist():
            wrong[at] = wrong[at] or reason

    for found, reason in (*_wrong_shapes(heads, lanes, bounds, max_buckets), *_wrong_counts(heads, lanes)):
        note(found, reason)
    indexes, chosen = lanes.indexes(np.array([not reason for reason in wrong], np.bool_))
    owners, negative = lanes.owners[chosen], lanes.negative[chosen]
    finer = np.maximum(heads.schemas[owners] - _FINEST, 0)
    indexes = np.where(finer > 0, ((indexes - 1) >> finer) + 1, indexes)
    far = np.abs(indexes) > _MAX_INDEX
    note(np.bincount(owners[far], minlength=len(wrong)) > 0, "a bucket is beyond all numbers")
    keys = np.where(negative, -1, 1) * (indexes + KEY_BIAS)
    near = np.array([not reason for reason in wrong], np.bool_)[owners]
    return _column(heads, owners[near], keys[near], lanes.counts[chosen][near], bounds), wrong


def _column(
    heads: _Heads, owners: Int64Array, keys: Int64Array, counts: Float64Array, bounds: Sequence[Bounds]
) -> Histograms:
    """Histograms with these buckets, in any order; of one key they are added."""
    order = np.lexsort((keys, owners))
    owners, keys, counts = owners[order], keys[order], counts[order]
    first = np.flatnonzero((np.diff(owners, prepend=-1) != 0) | (np.diff(keys, prepend=0) != 0))
    if len(first) < len(keys):
        owners, keys, counts = owners[first], keys[first], np.add.reduceat(counts, first)
    custom = heads.schemas == CUSTOM_SCHEMA
    known: dict[Bounds, int] = {}
    bounds_of = [known.setdefault(one, len(known)) if own else -1 for one, own in zip(bounds, custom, strict=True)]
    return Histograms(
        np.minimum(heads.schemas, _FINEST),
        heads.hints,
        heads.counts,
        heads.sums,
        heads.zeros,
        heads.widths,
        offsets_of(np.bincount(owners, minlength=len(custom))),
        keys,
        counts,
        np.array(bounds_of, np.int64),
        tuple(known),
    )


def _wrong_shapes(
    heads: _Heads, lanes: _Lanes, bounds: Sequence[Bounds], max_buckets: int
) -> Iterator[tuple[BoolArray, str]]:
    """(which histograms, what is wrong with them) of schemas, spans and bounds."""
    schemas, custom = heads.schemas, heads.schemas == CUSTOM_SCHEMA
    bound_counts = _sizes(bounds)
    yield ~custom & ((schemas < _COARSEST) | (schemas > _FINEST_TAKEN)), "its schema is not -4 to 8, nor -53"
    yield (
        np.maximum(lanes.of_both(lanes.sizes), bound_counts) > max_buckets,
        f"more buckets than {max_buckets}, the limit",
    )
    yield lanes.of_both(lanes.total(lanes.lengths) != lanes.sizes) > 0, "spans and buckets do not agree in number"
    backward = (lanes.offsets < 0) & (~lanes.is_first_span | custom[lanes.lane_of_span // 2])
    yield lanes.of_both(lanes.total(backward)) > 0, "a span with a negative offset"
    yield ~custom & (bound_counts > 0), "custom bounds with an exponential schema"
    has_negative = (lanes.spans + lanes.sizes)[::2] > 0
    yield (
        custom & ((heads.zeros != 0) | (heads.widths != 0) | has_negative),
        "custom bounds with a zero bucket or negative ones",
    )
    reach = lanes.total(lanes.offsets + lanes.lengths)[1::2]
    yield custom & (reach > bound_counts + 1), "buckets beyond the custom bounds"
    yield np.array([not _is_rising(one) for one in bounds], np.bool_), "custom bounds must be finite and rise"


def _wrong_counts(heads: _Heads, lanes: _Lanes) -> Iterator[tuple[BoolArray, str]]:
    """The same of counts."""
    owners = lanes.owners
    with np.errstate(invalid="ignore"):
        below = np.bincount(owners[lanes.counts < 0], minlength=len(heads.counts)) > 0
        yield below | (heads.counts < 0) | (heads.zeros < 0), "a count is negative"
    ends = offsets_of(lanes.of_both(lanes.sizes))
    totals = np.concatenate((np.zeros(1, np.uint64), np.cumsum(lanes.whole.astype(np.uint64), dtype=np.uint64)))
    observed = totals[ends[1:]] - totals[ends[:-1]] + heads.whole_zeros
    # who observes NaN counts it and puts it in no bucket
    unlike = np.where(np.isnan(heads.sums), observed > heads.whole_counts, observed != heads.whole_counts)
    yield ~heads.is_float & unlike, "its count is not that of its buckets"


def _is_rising(bounds: Bounds) -> bool:
    return all(map(isfinite, bounds)) and all(one < other for one, other in pairwise(bounds))


@dataclass(frozen=True, slots=True)
class _Heads:
    """What a histogram has once, of N. Counts as floats, and as whole numbers where they are (0 where not)."""

    schemas: Int64Array
    hints: Int64Array
    sums: Float64Array
    widths: Float64Array
    is_float: BoolArray
    counts: Float64Array
    zeros: Float64Array
    whole_counts: Whole
    whole_zeros: Whole

    @classmethod
    def of(cls, messages: Sequence[pb.Histogram]) -> _Heads:
        """Out of the messages."""
        is_float = np.array([one.WhichOneof("count") == "count_float" for one in messages], np.bool_)
        whole_counts = np.array([one.count_int for one in messages], np.uint64)
        whole_zeros = np.array([one.zero_count_int for one in messages], np.uint64)
        hints = np.array([one.reset_hint for one in messages], np.int64)
        return cls(
            np.array([one.schema for one in messages], np.int64),
            np.where(hints <= GAUGE, hints, UNKNOWN_RESET),
            np.array([one.sum for one in messages], np.float64),
            np.array([one.zero_threshold for one in messages], np.float64),
            is_float,
            np.where(is_float, np.array([one.count_float for one in messages]), whole_counts),
            np.where(is_float, np.array([one.zero_count_float for one in messages]), whole_zeros),
            whole_counts,
            whole_zeros,
        )


@dataclass(frozen=True, slots=True)
class _Lanes:
    """Spans and buckets, back to back: of each histogram a lane of negative ones, then one of positive ones.

    spans, sizes: int64 [2N], how many spans and buckets a lane has. counts: absolute; whole: the same where they are
    whole numbers, 0 where not.
    """

    spans: Int64Array
    offsets: Int64Array
    lengths: Int64Array
    sizes: Int64Array
    counts: Float64Array
    whole: Int64Array

    @classmethod
    def of(cls, messages: Sequence[pb.Histogram], is_float: BoolArray) -> _Lanes:
        """Out of the messages."""
        spans = [side for one in messages for side in (one.negative_spans, one.positive_spans)]
        every = list(chain.from_iterable(spans))
        floats = [
            side
            for one, real in zip(messages, is_float.tolist(), strict=True)
            for side in ((one.negative_counts, one.positive_counts) if real else ((), ()))
        ]
        deltas = [
            side
            for one, real in zip(messages, is_float.tolist(), strict=True)
            for side in (((), ()) if real else (one.negative_deltas, one.positive_deltas))
        ]
        sizes = _sizes(floats) + _sizes(deltas)
        in_float = np.repeat(np.repeat(is_float, 2), sizes)
        steps = np.zeros(len(in_float), np.int64)
        steps[~in_float] = np.array(list(chain.from_iterable(deltas)), np.int64)
        whole = _running(steps, sizes)
        counts = whole.astype(np.float64)
        counts[in_float] = np.array(list(chain.from_iterable(floats)), np.float64)
        offsets = np.array([one.offset for one in every], np.int64)
        lengths = np.array([one.length for one in every], np.int64)
        return cls(_sizes(spans), offsets, lengths, sizes, counts, whole)

    @property
    def lane_of_span(self) -> Int64Array:
        """Which lane each span is of."""
        return np.repeat(np.arange(len(self.spans)), self.spans)

    @property
    def is_first_span(self) -> BoolArray:
        """Which spans begin a lane."""
        return np.diff(self.lane_of_span, prepend=-1) > 0

    @property
    def owners(self) -> Int64Array:
        """Which histogram each bucket is of."""
        return np.repeat(np.arange(len(self.sizes)) // 2, self.sizes)

    @property
    def negative(self) -> BoolArray:
        """Which buckets are of the negative side."""
        return np.repeat(np.arange(len(self.sizes)) % 2 == 0, self.sizes)

    def total(self, per_span: NDArray[Any]) -> Float64Array:
        """By lane the sum of a number that each span has."""
        summed: Float64Array = np.bincount(self.lane_of_span, per_span, len(self.spans)).astype(np.float64)
        return summed

    def of_both(self, per_lane: NDArray[Any]) -> Int64Array:
        """By histogram the sum of a whole number that each lane has."""
        both: Int64Array = per_lane.reshape(-1, 2).sum(1).astype(np.int64)
        return both

    def indexes(self, good: BoolArray) -> tuple[Int64Array, BoolArray]:
        """(indexes of the buckets of good histograms, which buckets these are). Spans of others may say anything."""
        lanes = np.repeat(good, 2)
        chosen = lanes[self.lane_of_span]
        # a span begins its offset behind the end of the one before, or behind 0
        starts = _running(self.offsets + self.lengths, self.spans) - self.lengths
        return ranges(starts[chosen], self.lengths[chosen]), np.repeat(lanes, self.sizes)


def _running(steps: Int64Array, sizes: Int64Array) -> Int64Array:
    """The sum so far at each step, from 0 in each lane."""
    total = offsets_of(steps)
    return total[1:] - np.repeat(total[offsets_of(sizes)[:-1]], sizes)


def _sizes(lanes: Sequence[Sized]) -> Int64Array:
    return np.array(list(map(len, lanes)), np.int64)
