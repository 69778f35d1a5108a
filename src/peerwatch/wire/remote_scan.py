"""Scan: finds labels and samples in many serialised series at once. One step of numpy per field, not per series.

A usual series is its labels, then samples of 18 bytes (value and a time of 6 varint bytes, 1971 to 2109) or one of 9
(value zero, left out), then, in version 2, metadata. In version 2 a single sample may have a start timestamp behind it:
7 bytes more. Whatever else comes is listed as odd and parsed as a message.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from peerwatch.errors import DecodeError
from peerwatch.model import BoolArray, Float64Array, Int64Array
from peerwatch.wire.limits import WireLimits

_HEAD, _SAMPLE, _METADATA, _START = 0x0A, 0x12, 0x2A, 0x18
_FULL_BYTES, _ZERO_BYTES, _TIME_BYTES = 18, 9, 6
_START_BYTES = 1 + _TIME_BYTES
_PADDING = bytes(32)  # a look at the last series may go past its end
_MAX_REF_BYTES = 5


@dataclass(frozen=True, slots=True)
class Scan:
    """Where things are in the series, back to back in `data`. `odd`: rows that need a real parser.

    full: rows with samples of 18 bytes, zero: with one of 9; dated, dated_zero: the same of one sample with a start.
    """

    data: NDArray[np.uint8]
    starts: Int64Array
    heads: Int64Array
    head_ends: Int64Array
    full: Int64Array
    counts: Int64Array
    zero: Int64Array
    dated: Int64Array
    dated_zero: Int64Array
    odd: Int64Array
    meant: Int64Array
    """Rows of usual series whose metadata is not empty."""

    def columns(self) -> tuple[Int64Array, Int64Array, Float64Array, Int64Array | None]:
        """(rows, times, values, starts) of the usual series; no starts where none has one."""
        tails = self.starts + self.head_ends
        counts = self.counts[self.full]
        usual_at, dated_at = _places(tails[self.full], counts), tails[self.dated]
        full_at = np.concatenate([usual_at, dated_at])
        zero_at, dated_zero_at = tails[self.zero], tails[self.dated_zero]
        zeros_at = np.concatenate([zero_at, dated_zero_at])
        times = np.concatenate([_times(self.data, full_at + 12), _times(self.data, zeros_at + 3)])
        value_bytes = self.data[full_at[:, None] + np.arange(3, 11)]
        values = np.concatenate([value_bytes.view("<f8").reshape(-1), np.zeros(len(zeros_at))])
        rows = np.concatenate([np.repeat(self.full, counts), self.dated, self.zero, self.dated_zero])
        if not len(self.dated) + len(self.dated_zero):
            return rows, times, values, None
        starts = np.zeros(len(rows), np.int64)
        starts[len(usual_at) : len(full_at)] = _times(self.data, dated_at + _FULL_BYTES + 1)
        starts[len(full_at) + len(zero_at) :] = _times(self.data, dated_zero_at + _ZERO_BYTES + 1)
        return rows, times, values, starts

    def references(self) -> tuple[Int64Array, list[int]]:
        """(label references of the series that are not odd, back to back; how many each has). Raises DecodeError."""
        sizes = self.head_ends - self.heads
        sizes[self.odd] = 0
        at = _ranges(self.starts + self.heads, sizes)
        raw = self.data[at].astype(np.int64)
        last = raw < 0x80
        filled = sizes > 0
        if not last[np.cumsum(sizes)[filled] - 1].all():
            raise DecodeError("a label reference is cut short")
        ends = np.flatnonzero(last)
        firsts = np.concatenate((np.zeros(min(1, len(ends)), np.int64), ends[:-1] + 1))
        widths = ends - firsts + 1
        if int(widths.max(initial=0)) > _MAX_REF_BYTES:
            raise DecodeError(f"a label reference of {int(widths.max())} bytes, limit {_MAX_REF_BYTES}")
        numbers = np.zeros(len(ends), np.int64)
        for place in range(int(widths.max(initial=0))):
            long = widths > place
            numbers[long] |= (raw[firsts[long] + place] & 0x7F) << (7 * place)
        total = np.concatenate((np.zeros(1, np.int64), np.cumsum(last, dtype=np.int64)))
        stops = np.cumsum(sizes)
        return numbers, (total[stops] - total[stops - sizes]).tolist()


def scan(raws: Sequence[bytes], limits: WireLimits, *, with_metadata: bool) -> Scan:
    """Look at all series. `with_metadata`: version 2, whose head is one field of references."""
    joined = b"".join([*raws, _PADDING])
    data = np.frombuffer(joined, np.uint8)
    sizes = np.fromiter(map(len, raws), np.int64, len(raws))
    ends = np.cumsum(sizes)
    starts = ends - sizes
    tails, heads, is_odd = _skip_heads(data, starts, ends, 1 if with_metadata else limits.max_labels)
    stops = _without_metadata(data, tails, ends, _FULL_BYTES, _ZERO_BYTES) if with_metadata else ends
    counts, ragged = np.divmod(stops - tails, _FULL_BYTES)
    zero = ~is_odd & (stops - tails == _ZERO_BYTES) & _is_zero(data, tails)
    full = ~is_odd & (ragged == 0) & (counts > 0)
    rows = np.flatnonzero(full)
    places = _places(tails[rows], counts[rows])
    if len(rows):
        begins = np.cumsum(counts[rows]) - counts[rows]
        full[rows] = np.logical_and.reduceat(_is_full(data, places), begins)
    odd = np.flatnonzero(~full & ~zero)
    dated, dated_zero = np.zeros((2, 0), np.int64)
    if with_metadata and len(odd):
        stops[odd] = _without_metadata(
            data, tails[odd], ends[odd], _FULL_BYTES + _START_BYTES, _ZERO_BYTES + _START_BYTES
        )
        dated, dated_zero = _dated(data, tails, stops, odd[~is_odd[odd]])
        odd = np.setdiff1d(odd, np.concatenate([dated, dated_zero]), assume_unique=True)
    total = int(counts[full].sum()) + int(zero.sum()) + len(dated) + len(dated_zero)
    if total > limits.max_cells:
        raise DecodeError(f"request of {total} samples, limit {limits.max_cells}")
    usual = np.ones(len(raws), np.bool_)
    usual[odd] = False
    meant = np.flatnonzero(usual & (stops < ends) & (data[stops + 1] > 0))
    spans = (data, starts, heads - starts, tails - starts)
    return Scan(*spans, np.flatnonzero(full), counts, np.flatnonzero(zero), dated, dated_zero, odd, meant)


def _skip_heads(
    data: NDArray[np.uint8], starts: Int64Array, ends: Int64Array, most: int
) -> tuple[Int64Array, Int64Array, BoolArray]:
    """(behind the head fields, where the last one's content begins, what cannot be read so) of each series."""
    at, content = starts.copy(), starts.copy()
    active = np.flatnonzero((starts < ends) & (data[np.minimum(starts, len(data) - 1)] == _HEAD))
    for _ in range(most):
        if not len(active):
            break
        here = at[active]
        low, high = data[here + 1].astype(np.int64), data[here + 2].astype(np.int64)
        is_long = low > 0x7F
        size = np.where(is_long, (low & 0x7F) | ((high & 0x7F) << 7), low)
        begin = here + np.where(is_long, 3, 2)
        good = (begin + size <= ends[active]) & ~(is_long & (high > 0x7F))  # more than 16 KB: a real parser's work
        active = active[good]
        content[active] = begin[good]
        at[active] = (begin + size)[good]
        active = active[(at[active] < ends[active]) & (data[at[active]] == _HEAD)]
    is_odd = at == starts
    is_odd[active] = True
    return at, content, is_odd


def _without_metadata(data: NDArray[np.uint8], tails: Int64Array, ends: Int64Array, *sizes: int) -> Int64Array:
    """Where the samples end: one of them of these sizes, then metadata up to the end of the series; else its end."""
    stops = ends.copy()
    for size in sizes:
        at = tails + size
        inside = at + 1 < ends
        at = np.where(inside, at, 0)
        has = inside & (data[tails] == _SAMPLE) & (data[tails + 1] == size - 2) & (data[at] == _METADATA)
        stops = np.where(has & (data[at + 1] < 0x80) & (at + 2 + data[at + 1] == ends), at, stops)
    return stops


def _dated(
    data: NDArray[np.uint8], tails: Int64Array, stops: Int64Array, rows: Int64Array
) -> tuple[Int64Array, Int64Array]:
    """Those of the rows that are one sample with a start: (with a value, without)."""
    found = []
    for size, is_sample in ((_FULL_BYTES, _is_full), (_ZERO_BYTES, _is_zero)):
        whole = size + _START_BYTES
        some = rows[stops[rows] - tails[rows] == whole]
        at = tails[some]
        good = is_sample(data, at, whole) & (data[at + size] == _START) & _is_time(data, at + size + 1)
        found.append(some[good])
    return found[0], found[1]


def _is_full(data: NDArray[np.uint8], at: Int64Array, size: int = _FULL_BYTES) -> BoolArray:
    found: BoolArray = (data[at] == _SAMPLE) & (data[at + 1] == size - 2) & (data[at + 2] == 0x09)
    found &= (data[at + 11] == 0x10) & _is_time(data, at + 12)
    return found


def _is_zero(data: NDArray[np.uint8], at: Int64Array, size: int = _ZERO_BYTES) -> BoolArray:
    found: BoolArray = (data[at] == _SAMPLE) & (data[at + 1] == size - 2) & (data[at + 2] == 0x10)
    found &= _is_time(data, at + 3)
    return found


def _is_time(data: NDArray[np.uint8], at: Int64Array) -> BoolArray:
    more = data[at[:, None] + np.arange(_TIME_BYTES)] > 0x7F
    found: BoolArray = more[:, :-1].all(axis=1) & ~more[:, -1]
    return found


def _times(data: NDArray[np.uint8], at: Int64Array) -> Int64Array:
    digits = data[at[:, None] + np.arange(_TIME_BYTES)].astype(np.int64) & 0x7F
    times: Int64Array = (digits << (7 * np.arange(_TIME_BYTES))).sum(axis=1)
    return times


def _places(starts: Int64Array, counts: Int64Array) -> Int64Array:
    """Where each full sample begins: `counts[i]` of them from `starts[i]`."""
    return np.repeat(starts, counts) + _FULL_BYTES * _within(counts)


def _ranges(starts: Int64Array, sizes: Int64Array) -> Int64Array:
    return np.repeat(starts, sizes) + _within(sizes)


def _within(counts: Int64Array) -> Int64Array:
    """0, 1, … for each count, back to back."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total, dtype=np.int64) - np.repeat(ends - counts, counts)
