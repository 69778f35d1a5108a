"""Smooth: instant values between samples, for selectors that are `smoothed`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from peerwatch.model import BoolArray, HistogramCells, Histograms, Int64Array, Labels
from peerwatch.model.histograms import GAUGE, UNKNOWN_RESET
from peerwatch.query.annotation import Annotations
from peerwatch.query.ast import Span
from peerwatch.query.functions.native_extended import interpolated
from peerwatch.query.functions.native_windows import beside
from peerwatch.query.native.arithmetic import compatible
from peerwatch.query.value import Vector
from peerwatch.query.window import Samples, count_until


def smoothed(
    samples: Samples, labels: Sequence[Labels], at_ms: Int64Array, lookback_ms: int, notes: Annotations, span: Span
) -> Vector:
    """The value of each series at each time, interpolated between the samples around it.

    Only samples within `lookback_ms` on either side count; after the last one its value goes on.
    """
    cells = samples.histograms
    if cells is None:
        return _floats(samples, labels, at_ms, lookback_ms)
    numbers, natives = replace(samples.kept(~cells.mask), histograms=None), samples.kept(cells.mask)
    reach = [_within(one, at_ms, lookback_ms) for one in (numbers, natives)]
    mixed = reach[0] & reach[1]
    for row in np.flatnonzero(mixed.any(axis=1)).tolist():
        notes.mixed_range(labels[row].metric, span)
    floats = _floats(numbers, labels, at_ms, lookback_ms)
    found = _histograms(natives, labels, at_ms, lookback_ms, notes, span)
    return beside(floats.where(~mixed), None if found is None else found.only(~mixed))


def _within(samples: Samples, at_ms: Int64Array, lookback_ms: int) -> BoolArray:
    rows = np.arange(samples.series_count)
    low, high = (count_until(samples, rows, at_ms + shift) for shift in (-lookback_ms, lookback_ms))
    found: BoolArray = high > low
    return found


def _floats(samples: Samples, labels: Sequence[Labels], at_ms: Int64Array, lookback_ms: int) -> Vector:
    shape = (samples.series_count, len(at_ms))
    if len(samples.times_ms) == 0:
        return Vector(labels, np.zeros(shape), np.zeros(shape, np.bool_))
    around = _Around(samples, at_ms, lookback_ms)
    older, newer = samples.values[around.before], samples.values[around.after]
    with np.errstate(all="ignore"):
        between = older + (newer - older) * around.share
    values = np.where(around.exact, newer, np.where(around.has_after, between, samples.values[around.last]))
    return Vector(labels, values, around.exact | around.has_before)


def _histograms(
    samples: Samples, labels: Sequence[Labels], at_ms: Int64Array, lookback_ms: int, notes: Annotations, span: Span
) -> HistogramCells | None:
    if samples.histograms is None or len(samples.times_ms) == 0:
        return None
    found = samples.histograms.column.take(samples.histograms.which)
    around = _Around(samples, at_ms, lookback_ms)
    between = around.has_before & around.has_after & ~around.exact
    old, new = found.take(around.before[between]), found.take(around.after[between])
    fits = compatible(old, new)
    for row in np.unique(np.nonzero(between)[0][~fits]).tolist():
        notes.mixed_schemas(labels[row].metric, span)
    chosen = np.flatnonzero(fits)
    old, new = old.take(chosen), new.take(chosen)
    counters = (old.hints != GAUGE) | (new.hints != GAUGE)
    made = interpolated(old, new, around.share[between][chosen], counters, notes, span)
    between[between] = fits
    goes_on = around.has_before & ~around.has_after
    kept = found.take(around.last[goes_on])
    kept = replace(kept, hints=np.full(len(kept), UNKNOWN_RESET, np.int64))
    which = np.full(between.shape, -1, np.int64)
    parts, size = [], 0
    for marked, part in ((around.exact, found.take(around.after[around.exact])), (between, made), (goes_on, kept)):
        which[marked] = size + np.arange(len(part), dtype=np.int64)
        parts.append(part)
        size += len(part)
    return HistogramCells(which, Histograms.concat(parts)) if size else None


class _Around:
    """The samples before and after each time [S, T], as flat indices; share: how far between them it lies."""

    def __init__(self, samples: Samples, at_ms: Int64Array, lookback_ms: int) -> None:
        rows = np.arange(samples.series_count)
        low, high = (count_until(samples, rows, at_ms + shift) for shift in (-lookback_ms, lookback_ms))
        position = count_until(samples, rows, at_ms - 1)
        size = len(samples.times_ms) - 1
        self.after = np.clip(position + samples.offsets[:-1, None], 0, size)
        self.before = np.maximum(self.after - 1, 0)
        self.last = np.clip(position + samples.offsets[:-1, None] - 1, 0, size)
        self.has_after, self.has_before = position < high, position > low
        self.exact = self.has_after & (samples.times_ms[self.after] == at_ms)
        with np.errstate(all="ignore"):
            apart_ms = samples.times_ms[self.after] - samples.times_ms[self.before]
            self.share = (at_ms - samples.times_ms[self.before]) / apart_ms
