"""rate and its family: how counters and gauges move within a window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from peerwatch.model import METRIC_NAME, BoolArray, Float64Array, Int64Array
from peerwatch.query.functions.context import Argument, CallContext, Function, Kernel, over_windows, ranges_of
from peerwatch.query.functions.extended import anchored_window, extended_rate
from peerwatch.query.gotext import quote
from peerwatch.query.value import Vector
from peerwatch.query.window import Block, RangeVector, Samples

_COUNTER_SUFFIXES = ("_total", "_sum", "_count", "_bucket")
_COUNTER_TYPES = ("counter", "histogram")


def _extrapolated(is_counter: bool, per_second: bool) -> Function:
    def run(context: CallContext, args: Sequence[Argument]) -> Vector:
        ranges = ranges_of(args[0])
        resets = counter_drops(ranges.samples) if is_counter else None
        is_extended = ranges.before_ms > 0
        kernel = (extended_rate if is_extended else _extrapolation)(ranges, resets, per_second)
        vector = over_windows(context, ranges, kernel, keep_names=True)
        if is_counter:
            _doubt_counter(context, ranges, vector)
        return context.drop_names(vector)

    return run


def counter_drops(samples: Samples) -> Int64Array:
    """Flat indices, ascending, of samples lower than the one before them in their series."""
    below = np.flatnonzero(samples.values[1:] < samples.values[:-1]) + 1
    return below[~np.isin(below, samples.offsets)]


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
        if resets is not None:
            _add_resets(block, resets, change)
            to_zero = sampled * (before / change)  # a counter cannot have been below zero
            start = np.where((change > 0) & (before >= 0) & (to_zero < start), to_zero, start)
        factor = (sampled + start + end) / sampled
        if per_second:
            factor /= block.range_ms / 1000.0
        change *= factor
        return change, block.counts >= 2

    return kernel


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
    """irate and idelta: the newest two samples only."""

    def kernel(block: Block) -> tuple[Float64Array, BoolArray]:
        last, previous = block.last, block.flat(block.high - 2)
        newest, older = block.samples.values[last], block.samples.values[previous]
        apart_ms = block.spread(block.group_times(block.high - 1) - block.group_times(block.high - 2))
        change = newest - older
        if is_rate:
            change = np.where(newest < older, newest, change) / (apart_ms / 1000.0)
        return change, (block.counts >= 2) & (apart_ms > 0)

    return lambda context, args: over_windows(context, ranges_of(args[0]), kernel)


def _resets(context: CallContext, args: Sequence[Argument]) -> Vector:
    ranges = ranges_of(args[0])
    values = ranges.samples.values
    return _count_pairs(context, ranges, values[1:] < values[:-1])


def _changes(context: CallContext, args: Sequence[Argument]) -> Vector:
    ranges = ranges_of(args[0])
    values = ranges.samples.values
    both_nan = np.isnan(values[1:]) & np.isnan(values[:-1])
    return _count_pairs(context, ranges, (values[1:] != values[:-1]) & ~both_nan)


def _count_pairs(context: CallContext, ranges: RangeVector, marked: BoolArray) -> Vector:
    """How many neighbours within each window are marked; marked[i] is about samples i and i + 1."""
    before = np.concatenate((np.zeros(1, np.int64), np.cumsum(marked, dtype=np.int64)))

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
