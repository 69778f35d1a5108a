"""rate and its family on native histograms, window by window as on numbers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from peerwatch.model import BoolArray, Float64Array, HistogramCells, Histograms, Int64Array
from peerwatch.model.histograms import GAUGE
from peerwatch.query.functions.context import CallContext
from peerwatch.query.functions.native_windows import (
    Collected,
    Windows,
    any_in,
    pairs_within,
    samples_of,
    windows_of,
)
from peerwatch.query.functions.start_time import overlapping, starts_at, told_resets
from peerwatch.query.native.arithmetic import as_gauges, combined, compact, compatible, divided, put, scaled
from peerwatch.query.native.layout import to_schemas
from peerwatch.query.native.reset import was_reset
from peerwatch.query.window import RangeVector


@dataclass(frozen=True)
class Series:
    """The histograms that windows look at, and what is known of them beside each other. found: as in the samples."""

    ranges: RangeVector
    found: Histograms

    @classmethod
    def of(cls, ranges: RangeVector) -> Series:
        """Of a range vector that holds nothing but histograms."""
        return cls(ranges, samples_of(ranges))

    @cached_property
    def resets(self) -> BoolArray:
        """bool [N]: samples at which the counter had been reset since the one before them."""
        samples = self.ranges.samples
        marked = told_resets(samples)
        at = pairs_within(samples.offsets)
        marked[at] |= was_reset(self.found.take(at), self.found.take(at - 1))
        return marked

    @cached_property
    def gauges(self) -> BoolArray:
        """bool [N]: samples that say they are gauges."""
        found: BoolArray = self.found.hints == GAUGE
        return found

    def metric(self, windows: Windows, marked: BoolArray) -> set[str]:
        """The names of the metrics of some windows."""
        return {self.ranges.labels[row].metric for row in np.unique(windows.row[marked]).tolist()}


def native_rate(context: CallContext, ranges: RangeVector, *, is_counter: bool, per_second: bool) -> Collected:
    """rate, increase (counters) or delta (gauges) of windows that hold nothing but histograms."""
    series = Series.of(ranges)
    collected = Collected((len(ranges.labels), len(ranges.ends_ms)), context.budget)
    if is_counter:
        note_overlaps(context, ranges)
    for windows in windows_of(ranges, series.found):
        starts = starts_at(ranges.samples, windows.first)
        begun = is_counter & (starts != 0) & (starts > windows.start_ms)
        begun &= starts < ranges.samples.times_ms[windows.first]
        chosen = (windows.counts > 1) | begun
        windows, starts, begun = windows.take(chosen), starts[chosen], begun[chosen]
        change, usable = _change(context, series, windows, is_counter)
        windows, starts, begun = windows.take(usable), starts[usable], begun[usable]
        if begun.any():
            change = _with_first(series, windows, change, begun)
        factor = _stretch(ranges, windows, series, change, np.where(begun, starts, -1), is_counter)
        if per_second:
            factor /= ranges.range_ms / 1000.0
        collected.put(windows, scaled(change, factor))
    return collected


def note_overlaps(context: CallContext, ranges: RangeVector) -> None:
    """Say so where samples of a window count from before the one before them."""
    marked = overlapping(ranges.samples)
    if not marked.any():
        return
    before = np.concatenate((np.zeros(1, np.int64), np.cumsum(marked, dtype=np.int64)))
    for block in ranges.blocks():
        inside = (block.counts > 1) & (before[block.last + 1] > before[np.minimum(block.first + 1, block.last)])
        for row in np.flatnonzero(inside.any(axis=1)).tolist():
            metric = ranges.labels[int(block.rows[row])].metric
            context.notes.overlapping_start(metric, context.call.args[0].span)


def _change(context: CallContext, series: Series, windows: Windows, is_counter: bool) -> tuple[Histograms, BoolArray]:
    """(by how much each window's histogram changed, which windows have such a thing)."""
    found, span, notes = series.found, context.call.args[0].span, context.notes
    single = windows.first == windows.last
    second = np.minimum(windows.first + 1, windows.last)
    fresh = series.resets[second] & ~single if is_counter else np.zeros(len(windows), np.bool_)
    custom = found.custom
    using = np.where(fresh, custom[second], custom[windows.first])
    usable: BoolArray = custom[windows.last] == using
    if is_counter:
        inner = Windows(windows.row, windows.step, second, windows.last, windows.start_ms, windows.end_ms)
        usable &= ~np.where(using, any_in(~custom, inner), any_in(custom, inner)) | single
        for metric in series.metric(windows, any_in(series.gauges, windows) & (usable | ~single)):
            notes.not_a_counter(metric, span)
    else:
        ends = series.gauges[windows.first] & series.gauges[windows.last]
        for metric in series.metric(windows, ~ends & usable):
            notes.not_a_gauge(metric, span)
    for metric in series.metric(windows, ~usable):
        notes.mixed_schemas(metric, span)
    windows, fresh, second = windows.take(usable), fresh[usable], second[usable]
    coarsest = _coarsest(found, windows, np.where(fresh, second, windows.first), is_counter)
    last = to_schemas(found.take(windows.last), coarsest)
    whole = fresh | (windows.first == windows.last)
    change = _less(context, last, found.take(windows.first), ~whole)
    if (windows.first == windows.last).any():
        change = _nothing(change, windows.first == windows.last)
    if is_counter:
        change = _with_resets(context, series, windows, change)
    return compact(as_gauges(change)), usable


def _nothing(change: Histograms, marked: BoolArray) -> Histograms:
    """A single sample has not changed."""
    return scaled(change, np.where(marked, 0.0, 1.0))


def _coarsest(found: Histograms, windows: Windows, first: Int64Array, is_counter: bool) -> Int64Array:
    """The coarsest schema that a window's arithmetic meets."""
    coarsest = np.minimum(found.schemas[first], found.schemas[windows.last])
    if is_counter and len(windows) and (found.schemas != found.schemas[0]).any():
        edges = np.stack((first, windows.last + 1), axis=-1).ravel()
        lowest = np.minimum.reduceat(np.append(found.schemas, np.int64(127)), edges)[::2]
        coarsest = np.minimum(coarsest, lowest)
    return coarsest


def _less(context: CallContext, left: Histograms, right: Histograms, marked: BoolArray) -> Histograms:
    """`left - right` where marked."""
    rows = np.flatnonzero(marked)
    if not len(rows):
        return left
    difference = combined(left.take(rows), right.take(rows), subtract=True)
    if difference.reconciled.any():
        context.notes.reconciled_bounds("subtraction", context.call.args[0].span)
    return put(left, rows, difference.found)


def _plus(context: CallContext, left: Histograms, rows: Int64Array, more: Histograms) -> Histograms:
    total = combined(left.take(rows), more)
    if total.reconciled.any():
        context.notes.reconciled_bounds("addition", context.call.args[0].span)
    return put(left, rows, total.found)


def _with_resets(context: CallContext, series: Series, windows: Windows, change: Histograms) -> Histograms:
    """Add what each counter had before it was reset, but for a reset right after the first sample: that one was left
    out already."""
    resets = np.flatnonzero(series.resets)
    low = resets.searchsorted(windows.first + 2)
    high = resets.searchsorted(windows.last, "right")
    for k in range(int((high - low).max(initial=0))):
        rows = np.flatnonzero(low + k < high)
        before = series.found.take(resets[low[rows] + k] - 1)
        fits = compatible(change.take(rows), before)
        change = _plus(context, change, rows[fits], before.take(np.flatnonzero(fits)))
        context.budget.check()
    return change


def _with_first(series: Series, windows: Windows, change: Histograms, begun: BoolArray) -> Histograms:
    """A counter that began within its window had nothing before its first sample."""
    rows = np.flatnonzero(begun)
    first = series.found.take(windows.first[rows])
    fits = np.flatnonzero(compatible(change.take(rows), first))
    total = combined(change.take(rows[fits]), first.take(fits)).found
    return put(change, rows[fits], as_gauges(total))


def _stretch(
    ranges: RangeVector,
    windows: Windows,
    series: Series,
    change: Histograms,
    begun_ms: Int64Array,
    is_counter: bool,
) -> Float64Array:
    """How much a change is to be stretched to the edges of its window: see `rate` on numbers."""
    times = ranges.samples.times_ms
    first_ms, last_ms = times[windows.first], times[windows.last]
    sampled = (last_ms - first_ms) / 1000.0
    spaces = windows.counts - 1
    average = sampled / np.maximum(spaces, 1)
    start, end = (first_ms - windows.start_ms) / 1000.0, (windows.end_ms - last_ms) / 1000.0
    start = np.where(start >= average * 1.1, average / 2, start)
    end = np.where(end >= average * 1.1, average / 2, end)
    if is_counter:
        counts = series.found.counts[windows.first]
        with np.errstate(all="ignore"):
            to_zero = sampled * (counts / change.counts)
        start = np.where((change.counts > 0) & (counts >= 0) & (to_zero < start), to_zero, start)
    begun = begun_ms >= 0
    sampled = np.where(begun, (last_ms - begun_ms) / 1000.0, sampled)
    start = np.where(begun, 0.0, start)
    return np.where(sampled == 0, 1.0, (sampled + start + end) / np.where(sampled == 0, 1.0, sampled))


def last_two(
    context: CallContext, ranges: RangeVector, previous: Int64Array, last: Int64Array, *, is_rate: bool
) -> HistogramCells | None:
    """irate or idelta of cells whose two newest samples [S, T], given as flat indices (-1: none), are histograms."""
    cells = ranges.samples.histograms
    if cells is None:
        return None
    row, step = np.nonzero(last >= 0)
    after, before = last[row, step], previous[row, step]
    none = np.zeros(len(row), np.int64)
    windows = Windows(row, step, before, after, none, none)
    new, old = cells.column.take(cells.which[after]), cells.column.take(cells.which[before])
    span = context.call.args[0].span
    note = context.notes.not_a_counter if is_rate else context.notes.not_a_gauge
    gauges = (new.hints == GAUGE) | (old.hints == GAUGE) if is_rate else (new.hints != GAUGE) | (old.hints != GAUGE)
    for metric in {ranges.labels[one].metric for one in row[gauges].tolist()}:
        note(metric, span)
    kept = np.zeros(len(row), np.bool_)
    if is_rate:
        kept = told_resets(ranges.samples)[after] | was_reset(new, old)
    usable = kept | compatible(new, old)
    for metric in {ranges.labels[one].metric for one in row[~usable].tolist()}:
        context.notes.mixed_schemas(metric, span)
    chosen = np.flatnonzero(usable)
    change = _less(context, new.take(chosen), old.take(chosen), ~kept[usable])
    change = compact(as_gauges(change))
    if is_rate:
        times = ranges.samples.times_ms
        change = divided(change, (times[after] - times[before])[usable] / 1000.0)
    collected = Collected(last.shape, context.budget)
    collected.put(windows.take(usable), change)
    return collected.cells()
