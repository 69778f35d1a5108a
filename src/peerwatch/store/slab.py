"""Slab: the frozen heads of equally many ticks, series by series in one matrix: what a flush reads."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from peerwatch.model import BoolArray, Float64Array, Int64Array
from peerwatch.store.head import LayoutHead
from peerwatch.store.merge import Row, split_rows


@dataclass(frozen=True, slots=True)
class Slab:
    """values: [series, ticks]; bounds[i] is the first row of heads[i]."""

    values: Float64Array
    presence: BoolArray | None
    heads: list[LayoutHead]
    bounds: list[int]


class SlabRows:
    """The ticks of some heads of a slab within one window, as rows to merge. Series without a sample are left out."""

    def __init__(self, slab: Slab, chosen: list[int], low: int, high: int) -> None:
        self._values = slab.values[:, low:high]
        self._presence = None if slab.presence is None else slab.presence[:, low:high]
        self._times = [slab.heads[at].columns().times_ms[low:high] for at in chosen]
        counts = [len(slab.heads[at].series_ids) for at in chosen]
        starts = [slab.bounds[at] for at in chosen]
        rows = np.concatenate([np.arange(at, at + n) for at, n in zip(starts, counts, strict=True)])
        ids = np.concatenate([slab.heads[at].series_ids for at in chosen])
        lines = np.repeat(np.arange(len(chosen)), counts)
        if self._presence is not None:
            kept = self._presence[rows].any(axis=1)
            rows, ids, lines = rows[kept], ids[kept], lines[kept]
        self._rows = rows
        self.series_ids: Int64Array = ids
        self.timelines: Int64Array = lines

    def times(self, timeline: int) -> Int64Array:
        """The ticks of a head."""
        return self._times[timeline]

    def rows(self, rows: Int64Array) -> list[Row]:
        """Values and presence of each row."""
        return split_rows(self._values, self._presence, self._rows[rows])

    def take(self, rows: Int64Array) -> Float64Array | None:
        """One matrix, when every cell of it is there."""
        return self._values[self._rows[rows]] if self._presence is None else None


def make_slabs(heads: Iterable[LayoutHead], lock: threading.Lock) -> list[Slab]:
    """Move the values of frozen heads into slabs; reads go on meanwhile, `lock` is held for one head at a time."""
    groups: dict[tuple[int, bool], list[LayoutHead]] = {}
    for head in heads:
        with lock:
            columns = head.columns()
        groups.setdefault((len(columns.times_ms), columns.presence is None), []).append(head)
    return [_slab(group, ticks, full, lock) for (ticks, full), group in groups.items()]


def _slab(heads: list[LayoutHead], ticks: int, full: bool, lock: threading.Lock) -> Slab:
    counts = [len(head.series_ids) for head in heads]
    bounds = [0, *np.cumsum(counts).tolist()]
    values = np.empty((bounds[-1], ticks))
    presence = None if full else np.empty((bounds[-1], ticks), np.bool_)
    for head, (start, end) in zip(heads, pairwise(bounds), strict=True):
        with lock:
            head.move_to(values[start:end], None if presence is None else presence[start:end])
    return Slab(values, presence, heads, bounds[:-1])


def rows_by_window(slabs: Iterable[Slab], span_ms: int, horizon_ms: int) -> dict[int, list[SlabRows]]:
    """Window start -> rows; windows before the horizon are left out."""
    found: dict[int, list[SlabRows]] = {}
    for slab in slabs:
        for (start, low, high), chosen in _cuts(slab, span_ms).items():
            if start + span_ms > horizon_ms:
                rows = SlabRows(slab, chosen, low, high)
                if len(rows.series_ids):
                    found.setdefault(start, []).append(rows)
    return found


def _cuts(slab: Slab, span_ms: int) -> dict[tuple[int, int, int], list[int]]:
    """(window, first tick, end) -> the heads that have just these ticks in it."""
    cuts: dict[tuple[int, int, int], list[int]] = {}
    for at, head in enumerate(slab.heads):
        windows = head.columns().times_ms // span_ms
        edges = [0, *(np.flatnonzero(np.diff(windows)) + 1).tolist(), len(windows)]
        for low, high in pairwise(edges):
            cuts.setdefault((int(windows[low]) * span_ms, low, high), []).append(at)
    return cuts
