"""anchored and smoothed ranges of native histograms: windows that use the samples just outside of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from peerwatch.model import BoolArray, Float64Array, Histograms, Int64Array
from peerwatch.model.histograms import GAUGE
from peerwatch.query.annotation import Annotations
from peerwatch.query.ast import Span
from peerwatch.query.functions.context import CallContext
from peerwatch.query.functions.native_rate import Series
from peerwatch.query.functions.native_windows import Collected, Windows, any_in, windows_of
from peerwatch.query.native.arithmetic import as_gauges, combined, compact, compatible, divided, put, scaled
from peerwatch.query.native.reset import was_reset
from peerwatch.query.window import RangeVector


def interpolated(
    left: Histograms,
    right: Histograms,
    share: Float64Array,
    is_counter: BoolArray,
    notes: Annotations,
    span: Span,
) -> Histograms:
    """A histogram a share of the way from one to the next [N]; all pairs compatible. A counter that was reset between
    the two came from zero."""
    reset = is_counter & was_reset(right, left)
    result = scaled(right, share)
    rows = np.flatnonzero(~reset)
    if not len(rows):
        return result
    difference = combined(right.take(rows), left.take(rows), subtract=True)
    if difference.reconciled.any():
        notes.reconciled_bounds("subtraction", span)
    total = combined(scaled(difference.found, share[rows]), left.take(rows))
    if total.reconciled.any():
        notes.reconciled_bounds("addition", span)
    return put(result, rows, total.found)


def native_extended_rate(context: CallContext, ranges: RangeVector, *, is_counter: bool, per_second: bool) -> Collected:
    """rate, increase or delta from edge to edge of windows that hold nothing but histograms."""
    series = Series.of(ranges)
    collected = Collected((len(ranges.labels), len(ranges.ends_ms)), context.budget)
    for windows in windows_of(ranges, series.found):
        windows = _edges(ranges, windows)
        windows = _of_one_kind(context, series, windows, is_counter)
        if not len(windows):
            continue
        change = _change(context, series, windows, is_counter)
        if per_second:
            change = divided(change, np.full(len(change), ranges.range_ms / 1000.0))
        collected.put(windows, compact(as_gauges(change)))
    return collected


def _edges(ranges: RangeVector, windows: Windows) -> Windows:
    """Windows that start from the last sample up to their start (or the first one in them) and end with the last one in
    them; smoothed ones with the first one from their end on."""
    times, smoothed = ranges.samples.times_ms, ranges.after_ms > 0
    until_start = _count_between(times, windows, windows.start_ms)
    first = np.maximum(windows.first, np.minimum(windows.first + until_start, windows.last) - 1)
    last = windows.last
    if smoothed:
        last = np.minimum(windows.first + _count_between(times, windows, windows.end_ms - 1), last)
    valid = times[last] > windows.start_ms
    if smoothed:
        valid &= times[first] <= windows.end_ms
    return replace(windows, first=first, last=last).take(valid)


def _count_between(times: Int64Array, windows: Windows, until_ms: Int64Array) -> Int64Array:
    """int64 [W]: how many samples from a window's first one on have a time <= until_ms."""
    found = np.zeros(len(windows), np.int64)
    bounds = zip(windows.first.tolist(), (windows.last + 1).tolist(), until_ms.tolist(), strict=True)
    for at, (first, end, until) in enumerate(bounds):
        found[at] = times[first:end].searchsorted(until, "right")
    return found


def _of_one_kind(context: CallContext, series: Series, windows: Windows, is_counter: bool) -> Windows:
    custom, span = series.found.custom, context.call.args[0].span
    mixed = any_in(custom, windows) & any_in(~custom, windows)
    for metric in series.metric(windows, mixed):
        context.notes.mixed_schemas(metric, span)
    windows = windows.take(~mixed)
    if is_counter:
        for metric in series.metric(windows, any_in(series.gauges, windows)):
            context.notes.not_a_counter(metric, span)
    return windows


def _change(context: CallContext, series: Series, windows: Windows, is_counter: bool) -> Histograms:
    ranges, span, notes = series.ranges, context.call.args[0].span, context.notes
    smoothed = ranges.after_ms > 0
    left, right = series.found.take(windows.first), series.found.take(windows.last)
    if smoothed:
        times = ranges.samples.times_ms
        early = (times[windows.first] < windows.start_ms) & (windows.first < windows.last)
        late = (times[windows.last] > windows.end_ms) & (windows.last > _series_start(ranges, windows))
        left = _between(context, series, left, windows.first, windows.start_ms, early, is_counter)
        right = _between(context, series, right, windows.last - 1, windows.end_ms, late, is_counter)
    if not is_counter:
        unlike = (left.hints != GAUGE) | (right.hints != GAUGE)
        for metric in series.metric(windows, unlike):
            notes.not_a_gauge(metric, span)
    difference = combined(right, left, subtract=True)
    if difference.reconciled.any():
        notes.reconciled_bounds("subtraction", span)
    change = difference.found
    return _corrected(context, series, windows, left, right, change) if is_counter else change


def _series_start(ranges: RangeVector, windows: Windows) -> Int64Array:
    return ranges.samples.offsets[windows.row]


def _between(
    context: CallContext,
    series: Series,
    found: Histograms,
    at: Int64Array,
    time_ms: Int64Array,
    marked: BoolArray,
    is_counter: bool,
) -> Histograms:
    """The histograms at times between samples `at` and `at + 1`, where marked."""
    rows = np.flatnonzero(marked)
    if not len(rows):
        return found
    times, before = series.ranges.samples.times_ms, at[rows]
    share = (time_ms[rows] - times[before]) / (times[before + 1] - times[before])
    older, newer = series.found.take(before), series.found.take(before + 1)
    counters = np.full(len(rows), is_counter)
    made = interpolated(older, newer, share, counters, context.notes, context.call.args[0].span)
    return put(found, rows, made)


def _corrected(
    context: CallContext, series: Series, windows: Windows, left: Histograms, right: Histograms, change: Histograms
) -> Histograms:
    """Add what counters lost by resets between the edges. A reset that the left edge was interpolated over is in it."""
    ranges, times = series.ranges, series.ranges.samples.times_ms
    first = windows.first + 1
    inner = np.minimum(first, windows.last)
    spanned = (ranges.after_ms > 0) & (times[windows.first] < windows.start_ms) & (inner > windows.first)
    spanned &= series.resets[inner]
    previous = put(left, np.flatnonzero(spanned), series.found.take(inner[spanned]))
    first = first + spanned
    open_rows = np.flatnonzero(first <= windows.last)
    rounds = int((windows.last - first).max(initial=-1)) + 1
    for k in range(max(rounds, 0)):
        rows = open_rows[first[open_rows] + k < windows.last[open_rows]]
        current = series.found.take(first[rows] + k)
        change = _plus_lost(context, change, rows, previous.take(rows), current)
        previous = put(previous, rows, current)
    return _plus_lost(context, change, open_rows, previous.take(open_rows), right.take(open_rows))


def _plus_lost(
    context: CallContext, change: Histograms, rows: Int64Array, previous: Histograms, current: Histograms
) -> Histograms:
    lost = np.flatnonzero(was_reset(current, previous) & compatible(change.take(rows), previous))
    if not len(lost):
        return change
    total = combined(change.take(rows[lost]), previous.take(lost))
    if total.reconciled.any():
        context.notes.reconciled_bounds("addition", context.call.args[0].span)
    return put(change, rows[lost], total.found)
