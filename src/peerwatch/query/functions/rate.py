"""rate and its family: how counters and gauges move within a window."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from peerwatch.model import METRIC_NAME, BoolArray, Float64Array, HistogramCells, Histograms, Int64Array
from peerwatch.query.functions.context import Argument, CallContext, Function, Kernel, over_windows, ranges_of
from peerwatch.query.functions.extended import anchored_window, extended_rate
from peerwatch.query.functions.native_extended import native_extended_rate
from peerwatch.query.functions.native_rate import last_two, native_rate, note_overlaps
from peerwatch.query.functions.native_windows import beside
from peerwatch.query.functions.start_time import starts_at, told_resets
from peerwatch.query.gotext import quote
from peerwatch.query.native.arithmetic import same
from peerwatch.query.native.reset import was_reset
from peerwatch.query.value import Vector
from peerwatch.query.window import Block, RangeVector, Samples

Between = Callable[[Histograms, Histograms], BoolArray]
"""Tells of neighbouring histograms, newer and older, whether they count."""

_COUNTER_SUFFIXES = ("_total", "_sum", "_count", "_bucket")
_COUNTER_TYPES = ("counter", "histogram")


def _extrapolated(is_counter: bool, per_second: bool) -> Function:
    def run(context: CallContext, args: Sequence[Argument]) -> Vector:
        ranges = ranges_of(args[0])
        is_extended = ranges.before_ms > 0
        floats = ranges.floats
        resets = counter_drops(floats.samples) if is_counter else None
        if is_extended:
            kernel = extended_rate(floats, resets, per_second)
        else:
            kernel = _extrapolation(floats, resets, per_second)
            if resets is not None:
                note_overlaps(context, floats)
        vector = over_windows(context, floats, kernel, keep_names=True)
        if ranges.samples.histograms is not None:
            native = native_extended_rate if is_extended else native_rate
            cells = native(context, ranges.natives, is_counter=is_counter, per_second=per_second).cells()
            vector = _unmixed(context, ranges, vector, cells)
        if is_counter:
            _doubt_counter(context, ranges, vector.floats)
        return context.drop_names(vector)

    return run


def _unmixed(context: CallContext, ranges: RangeVector, floats: Vector, cells: HistogramCells | None) -> Vector:
    """Windows of numbers and windows of histograms; nothing for one that has both."""
    numbers, natives = ranges.floats.counts > 0, ranges.natives.counts > 0
    context.for_each_metric(ranges, numbers & natives, context.notes.mixed_range)
    return beside(floats.where(~natives), None if cells is None else cells.only(~numbers))


def counter_drops(samples: Samples) -> Int64Array:
    """Flat indices, ascending, of samples lower than the one before them in their series, or said to count anew."""
    below = np.flatnonzero(samples.values[1:] < samples.values[:-1]) + 1
    below = below[~np.isin(below, samples.offsets)]
    if samples.starts_ms is None:
        return below
    return np.union1d(below, np.flatnonzero(told_resets(samples)))


def _extrapolation(ranges: RangeVector, resets: Int64Array | None, per_second: bool) -> Kernel:
    """Last less first sample, stretched to the edges of the window as far as the samples' spacing justifies it.

    What depends on times alone is computed once per group of series with equal timestamps.
    """

    def kernel(block: Block) -> tuple[Float64Array, BoolArray]:
        counts = block.group_counts
        first_ms, last_ms = block.group_times(block.low), block.group_times(block.high - 1)
        sampled_s = (last_ms - first_ms) / 1000.0
        average_s = sampled_s / (counts - 1)
        to_start = (first_ms - (block.ends_ms - block.range_ms)) / 1000.0
        to_end = (block.ends_ms - last_ms) / 1000.0
        to_start = np.where(to_start >= average_s * 1.1, average_s / 2, to_start)
        to_end = np.where(to_end >= average_s * 1.1, average_s / 2, to_end)
        before = block.samples.values[block.first]
        change = block.samples.values[block.last] - before
        sampled, start, end = block.spread(sampled_s), block.spread(to_start), block.spread(to_end)
        present = block.counts >= 2
        if resets is not None:
            _add_resets(block, resets, change)
            to_zero = sampled * (before / change)  # a counter cannot have been below zero
            start = np.where((change > 0) & (before >= 0) & (to_zero < start), to_zero, start)
            if block.samples.starts_ms is not None:
                begun, begun_ms = _begun_within(block)
                sampled = np.where(begun, (block.samples.times_ms[block.last] - begun_ms) / 1000.0, sampled)
                start, present = np.where(begun, 0.0, start), present | begun
                end = np.where(begun & (block.counts == 1), 0.0, end)
                change += np.where(begun, before, 0.0)
        factor = (sampled + start + end) / sampled
        if per_second:
            factor /= block.range_ms / 1000.0
        change *= factor
        return change, present

    return kernel


def _begun_within(block: Block) -> tuple[BoolArray, Int64Array]:
    """(windows whose first sample says that its counter began within them [S, T], when)."""
    starts = starts_at(block.samples, block.first)
    inside = (starts > block.ends_ms - block.range_ms) & (starts < block.samples.times_ms[block.first])
    return (block.counts > 0) & (starts != 0) & inside, starts


def _add_resets(block: Block, resets: Int64Array, change: Float64Array) -> None:
    """Add what each counter had before it fell, for the falls within each window. Falls are rare: only the series
    that have one are looked at."""
    starts = block.starts
    ends = block.samples.offsets[block.rows + 1]
    touched = np.flatnonzero(resets.searchsorted(ends) > resets.searchsorted(starts))
    if len(touched) == 0:
        return
    low = resets.searchsorted(block.first[touched], "right")
    high = resets.searchsorted(block.last[touched], "right")
    before = block.samples.values[resets - 1]
    extra = change[touched]
    for k in range(int((high - low).max(initial=0))):
        index = low + k
        extra += np.where(index < high, before[np.minimum(index, len(before) - 1)], 0.0)
        if k % 64 == 63:
            block.budget.check()
    change[touched] = extra


def _doubt_counter(context: CallContext, ranges: RangeVector, vector: Vector) -> None:
    """Say so when a metric does not look like a counter."""
    span = context.call.args[0].span
    for row in np.flatnonzero(vector.present.any(axis=1)).tolist():
        labels = ranges.labels[row]
        name = labels.get(METRIC_NAME)
        if not name:
            continue
        if context.options.type_and_unit_labels:
            found = labels.get("__type__")
            if found not in _COUNTER_TYPES:
                expected = '__type__ label is not set to "counter" or "histogram"'
                message = f"metric might not be a counter, {expected}, got {quote(found)}: {quote(name)}"
                context.notes.inform(message, span)
        elif not name.endswith(_COUNTER_SUFFIXES):
            message = "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "
            context.notes.inform(message + quote(name), span)


def _last_two(is_rate: bool) -> Function:
    """irate and idelta: the newest two samples only, numbers or histograms."""

    def run(context: CallContext, args: Sequence[Argument]) -> Vector:
        ranges = ranges_of(args[0])
        shape = (len(ranges.labels), len(ranges.ends_ms))
        last, previous = np.full(shape, -1, np.int64), np.full(shape, -1, np.int64)
        cells, told = ranges.samples.histograms, told_resets(ranges.samples)

        def kernel(block: Block) -> tuple[Float64Array, BoolArray]:
            newest, older = block.last, block.flat(block.high - 2)
            values, times = block.samples.values, block.samples.times_ms
            apart_ms, change = times[newest] - times[older], values[newest] - values[older]
            if is_rate:
                fell = (values[newest] < values[older]) | told[newest]
                change = np.where(fell, values[newest], change) / (apart_ms / 1000.0)
            present = (block.counts >= 2) & (apart_ms > 0)
            if cells is not None:
                last[block.rows], previous[block.rows] = np.where(present, newest, -1), older
            return change, present

        vector = over_windows(context, ranges, kernel, keep_names=True)
        if cells is None:
            return context.drop_names(vector)
        new, old = (np.where(last >= 0, cells.mask[at], False) for at in (last, previous))
        mixed = vector.present & (new != old)
        for row in np.flatnonzero(mixed.any(axis=1)).tolist():
            context.notes.mixed_range(ranges.labels[row].metric, context.call.args[0].span)
        natives = last_two(context, ranges, previous, np.where(new & old, last, -1), is_rate=is_rate)
        return context.drop_names(beside(vector.where(~new & ~old), natives))

    return run


def _resets(context: CallContext, args: Sequence[Argument]) -> Vector:
    ranges = ranges_of(args[0])
    values = ranges.samples.values
    return _count_pairs(context, ranges, values[1:] < values[:-1], told_resets(ranges.samples)[1:], was_reset)


def _changes(context: CallContext, args: Sequence[Argument]) -> Vector:
    ranges = ranges_of(args[0])
    values = ranges.samples.values
    both_nan = np.isnan(values[1:]) & np.isnan(values[:-1])
    marked = (values[1:] != values[:-1]) & ~both_nan
    return _count_pairs(context, ranges, marked, np.zeros(len(marked), np.bool_), lambda new, old: ~same(new, old))


def _count_pairs(
    context: CallContext, ranges: RangeVector, marked: BoolArray, told: BoolArray, between: Between
) -> Vector:
    """How many neighbours within each window are marked; marked[i] is about samples i and i + 1, as numbers. `told`
    are marked whatever they are. Of two histograms `between` tells; a number beside a histogram always counts."""
    cells = ranges.samples.histograms
    if cells is not None:
        native = cells.mask
        marked = np.where(native[1:] | native[:-1], native[1:] != native[:-1], marked)
        both = np.flatnonzero(native[1:] & native[:-1])
        new, old = cells.column.take(cells.which[both + 1]), cells.column.take(cells.which[both])
        marked[both] = between(new, old)
        told = told & (native[1:] == native[:-1])
    before = np.concatenate((np.zeros(1, np.int64), np.cumsum(marked | told, dtype=np.int64)))

    def kernel(block: Block) -> tuple[Float64Array, BoolArray]:
        first, present = anchored_window(block) if ranges.before_ms else (block.first, block.counts > 0)
        return (before[block.last] - before[first]).astype(np.float64), present

    return over_windows(context, ranges, kernel)


RATE: dict[str, Function] = {
    "rate": _extrapolated(True, True),
    "increase": _extrapolated(True, False),
    "delta": _extrapolated(False, False),
    "irate": _last_two(True),
    "idelta": _last_two(False),
    "resets": _resets,
    "changes": _changes,
}
