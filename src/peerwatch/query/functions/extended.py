"""anchored and smoothed ranges: windows that use the samples just outside them instead of extrapolating."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from peerwatch.model import BoolArray, Float64Array, Int64Array
from peerwatch.query.functions.context import Kernel
from peerwatch.query.window import Block, RangeVector, count_until

ANCHORED_FUNCTIONS = frozenset(["resets", "changes", "rate", "increase", "delta"])
SMOOTHED_FUNCTIONS = frozenset(["rate", "increase", "delta"])


@dataclass(frozen=True, slots=True)
class _Edges:
    """first, last: positions within the series [G, T] of the samples that bound each window; valid: it has both."""

    first: Int64Array
    last: Int64Array
    valid: BoolArray


def _edges(block: Block, smoothed: bool) -> _Edges:
    """The last sample up to the start of the window (or the first one in it), and the last one in it, or for smoothed
    windows the first one from its end on."""
    starts_ms = block.ends_ms - block.range_ms
    low, high = block.low, block.high
    until_start = count_until(block.samples, block.leader_rows, starts_ms)
    last = high - 1
    first = np.maximum(low, np.minimum(until_start, last) - 1)
    if smoothed:
        last = np.minimum(count_until(block.samples, block.leader_rows, block.ends_ms - 1), last)
    valid = (high > low) & (block.group_times(last) > starts_ms)
    if smoothed:
        valid &= block.group_times(first) <= block.ends_ms
    return _Edges(first, last, valid)


def extended_rate(ranges: RangeVector, resets: Int64Array | None, per_second: bool) -> Kernel:
    """What changes from edge to edge of each window; for counters (with their `resets`) never downwards."""
    smoothed = ranges.after_ms > 0
    is_counter = resets is not None

    def kernel(block: Block) -> tuple[Float64Array, BoolArray]:
        starts_ms, ends_ms = block.ends_ms - block.range_ms, block.ends_ms
        edges = _edges(block, smoothed)
        first, last = block.flat(edges.first), block.flat(edges.last)
        times, values = block.samples.times_ms, block.samples.values
        left, right = values[first], values[last]
        if smoothed:
            early, late = times[first] < starts_ms, (times[last] > ends_ms) & block.spread(edges.last > block.low)
            left = np.where(early, _interpolated(block, first, starts_ms, is_counter), left)
            right = np.where(late, _interpolated(block, np.maximum(last - 1, 0), ends_ms, is_counter), right)
        change = right - left
        if resets is not None:
            inner_first = first + (times[first] <= starts_ms)
            inner_last = last - (times[last] >= ends_ms)
            change += _corrections(block, resets, inner_first, inner_last, left, right)
        if per_second:
            change /= block.range_ms / 1000.0
        return change, block.spread(edges.valid)

    return kernel


def _interpolated(block: Block, at: Int64Array, time_ms: Int64Array, is_counter: bool) -> Float64Array:
    """The value at a time between samples `at` and `at + 1`; a counter that fell came from zero."""
    times, values = block.samples.times_ms, block.samples.values
    after = np.minimum(at + 1, len(times) - 1)
    low, high = values[at], values[after]
    if is_counter:
        low = np.where(high < low, 0.0, low)
    between: Float64Array = low + (high - low) * (time_ms - times[at]) / (times[after] - times[at])
    return between


def _corrections(
    block: Block,
    resets: Int64Array,
    first: Int64Array,
    last: Int64Array,
    left: Float64Array,
    right: Float64Array,
) -> Float64Array:
    """What counters lost by falling, from the left edge over samples first..last to the right edge."""
    values, size = block.samples.values, len(block.samples.values) - 1
    inside = first <= last
    begin, end = values[np.clip(first, 0, size)], values[np.clip(last, 0, size)]
    lost = np.where(inside & (begin < left), left, 0.0)
    low, high = resets.searchsorted(first, "right"), resets.searchsorted(last, "right")
    for k in range(int((high - low).max(initial=0))):
        index = np.minimum(low + k, max(len(resets) - 1, 0))
        lost += np.where(inside & (low + k < high), values[resets[index] - 1], 0.0)
    newest = np.where(inside, end, left)
    return lost + np.where(right < newest, newest, 0.0)


def anchored_window(block: Block) -> tuple[Int64Array, BoolArray]:
    """(flat index of the sample that each window starts from, which windows have a sample of their own)."""
    until_start = count_until(block.samples, block.leader_rows, block.ends_ms - block.range_ms)
    first = np.maximum(block.low, until_start - 1)
    return block.flat(first), block.spread(until_start < block.high)


def extended_points(ranges: RangeVector, block: Block, row: int) -> tuple[list[int], list[float]]:
    """The samples of the first window of a series, with made-up ones on both edges; what `metric[1m] anchored` is."""
    smoothed = ranges.after_ms > 0
    start_ms, end_ms = int(block.ends_ms[0]) - block.range_ms, int(block.ends_ms[0])
    edges = _edges(block, smoothed)
    if not block.spread(edges.valid)[row, 0]:
        return [], []
    first, last = int(block.flat(edges.first)[row, 0]), int(block.flat(edges.last)[row, 0])
    times, values = block.samples.times_ms, block.samples.values
    left, right = float(values[first]), float(values[last])
    if smoothed and times[first] < start_ms:
        left = float(_interpolated(block, np.array(first), np.array(start_ms), False))
    if smoothed and times[last] > end_ms and edges.last[block.member[row], 0] > block.low[block.member[row], 0]:
        right = float(_interpolated(block, np.array(last - 1), np.array(end_ms), False))
    inner = slice(first + int(times[first] <= start_ms), last + 1 - int(times[last] >= end_ms))
    return [start_ms, *times[inner].tolist(), end_ms], [left, *values[inner].tolist(), right]
