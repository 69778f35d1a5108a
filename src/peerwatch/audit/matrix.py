"""LayoutMatrix: the stored samples of one layout, tick by tick: any batch of it is a slice that can be hashed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from peerwatch.audit.layouts import AuditedLayout
from peerwatch.model import BoolArray, Float64Array, Int64Array
from peerwatch.store.reader import Cells
from peerwatch.wire.leaf import Bits, pack_presence


@dataclass(frozen=True, slots=True)
class LayoutMatrix:
    """times [t], values [t, n], presence as bits [t, ceil(n / 8)]; `counted` is the running sum of what counts."""

    times_ms: Int64Array
    values: Float64Array
    bits: Bits
    counted: Int64Array

    def digest(self, layout: AuditedLayout, first: int, last: int) -> bytes | None:
        """Of the block whose ticks are [first, last) of these; None when it has none."""
        if last <= first or layout.head is None:
            return None
        return layout.head.digest(self.times_ms[first:last], self.bits[first:last], self.values[first:last])


def layout_matrix(
    layout: AuditedLayout,
    cells: Cells,
    span_ms: tuple[int, int],
    bounds_ms: tuple[int, int],
    covered: BoolArray,
    ours: Spans,
) -> LayoutMatrix:
    """The layout's samples within `span_ms`. Those in `bounds_ms` count.

    Every cell that lies within one of the batches `ours` is noted in `covered`, which is of all of `cells`.
    """
    rows, runs = _runs(layout.ids, cells.ids)
    parts = _slices(cells, runs, span_ms)
    lines = {cells.times_ms[low:high].tobytes(): cells.times_ms[low:high] for low, high in parts}
    times: Int64Array = _union(list(lines.values()))
    values, presence = np.zeros((len(times), len(layout.ids))), np.zeros((len(times), len(layout.ids)), np.bool_)
    inside = ours.contain(times)
    places = {key: None if len(line) == len(times) else np.searchsorted(times, line) for key, line in lines.items()}
    for row, (low, high) in zip(rows.tolist(), parts, strict=True):
        place = places[cells.times_ms[low:high].tobytes()]
        if place is None:
            values[:, row] = cells.values[low:high]
            presence[:, row] = True
            covered[low:high] |= inside
        else:
            values[place, row] = cells.values[low:high]
            presence[place, row] = True
            covered[low:high] |= inside[place]
    counts = presence[:, layout.chosen].sum(axis=1)
    counts[(times < bounds_ms[0]) | (times > bounds_ms[1])] = 0
    counted = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    return LayoutMatrix(times, values, pack_presence(presence), counted)


@dataclass(frozen=True, slots=True)
class Spans:
    """The first and last times of batches."""

    firsts: Int64Array
    lasts: Int64Array

    def contain(self, times: Int64Array) -> BoolArray:
        """Which of the ascending times lie within one of them."""
        steps = np.zeros(len(times) + 1, np.int64)
        np.add.at(steps, np.searchsorted(times, self.firsts), 1)
        np.add.at(steps, np.searchsorted(times, self.lasts, "right"), -1)
        inside: BoolArray = np.cumsum(steps[:-1]) > 0
        return inside


def _runs(ids: Int64Array, have: Int64Array) -> tuple[Int64Array, Int64Array]:
    """(rows of `ids`, where they are in the ascending `have`) of those that have samples."""
    if not len(have):
        return (np.empty(0, np.int64),) * 2
    at = np.minimum(np.searchsorted(have, ids), len(have) - 1)
    rows = np.flatnonzero(have[at] == ids)
    return rows, at[rows]


def _slices(cells: Cells, runs: Int64Array, span_ms: tuple[int, int]) -> list[tuple[int, int]]:
    """Bounds of the samples of each run within the span; runs with the same times are searched once."""
    known: dict[int, tuple[int, int]] = {}
    found = []
    lines = cells.timelines
    for run in runs.tolist():
        start, end = int(cells.offsets[run]), int(cells.offsets[run + 1])
        line = -run - 1 if lines is None else int(lines[run])
        cut = known.get(line)
        if cut is None:
            times = cells.times_ms[start:end]
            low, high = np.searchsorted(times, span_ms[0]), np.searchsorted(times, span_ms[1], "right")
            cut = known[line] = (int(low), int(high))
        found.append((start + cut[0], start + cut[1]))
    return found


def _union(lines: list[Int64Array]) -> Int64Array:
    if len(lines) == 1:
        return np.ascontiguousarray(lines[0])
    none: Int64Array = np.empty(0, np.int64)
    return np.unique(np.concatenate([none, *lines]))
