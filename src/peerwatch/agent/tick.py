"""Tick: all series of one target at one moment. TickMerger makes it from what the sources gave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from peerwatch.agent.source import Reading
from peerwatch.model import STALE, BoolArray, Float64Array, Int64Array, SampleMatrix, Series

MAX_MISSES = 3  # a source that failed so often in a row has ended its series


@dataclass(frozen=True, slots=True)
class Tick:
    """`values[i]` is `series[i]` at `time_ms`; where `presence` is False there is no sample (None: all are there).

    `lane` tells apart what shares job and target but not its times: the sampling interval, or an aggregation window.
    """

    time_ms: int
    interval_ms: int
    series: tuple[Series, ...]
    values: Float64Array
    presence: BoolArray | None = None
    job: str = ""
    target: str = ""
    lane: str = ""


class TickMerger:
    """Joins the readings of several sources to one tick, always in the same order. Mutable; owned by one group.

    The tuple of series is the identical one as long as every source's is. A source that failed keeps its rows, absent,
    for two ticks; a series that ended, by itself or at the third failure, gets one stale marker.
    """

    def __init__(self, source_count: int) -> None:
        self._parts: list[tuple[Series, ...]] = [()] * source_count
        self._misses = [0] * source_count
        self._series: tuple[Series, ...] = ()
        self._first: Int64Array | None = None  # rows to take where two sources name a series; None: all of them

    def merge(self, time_ms: int, interval_ms: int, readings: Sequence[Reading | None], *, lane: str = "") -> Tick:
        """The tick of `readings`, one per source, None for one that failed or was left out."""
        parts = [self._part(at, reading) for at, reading in enumerate(readings)]
        ended: tuple[Series, ...] = ()
        if any(new is not old for new, old in zip(parts, self._parts, strict=True)):
            ended = self._adopt(parts)
        values, presence = self._columns(readings)
        if ended:
            values = np.concatenate([values, np.full(len(ended), STALE)])
            if presence is not None:
                presence = np.concatenate([presence, np.ones(len(ended), dtype=np.bool_)])
        whose = next((reading for reading in readings if reading is not None), None)
        job, target = (whose.job, whose.target) if whose else ("", "")
        return Tick(time_ms, interval_ms, self._series + ended, values, presence, job, target, lane)

    def _part(self, at: int, reading: Reading | None) -> tuple[Series, ...]:
        if reading is not None:
            self._misses[at] = 0
            return self._parts[at] if reading.series == self._parts[at] else reading.series
        self._misses[at] += 1
        return () if self._misses[at] >= MAX_MISSES else self._parts[at]

    def _adopt(self, parts: list[tuple[Series, ...]]) -> tuple[Series, ...]:
        """Take the new series; returns those that were there before and are not any more."""
        rows: dict[Series, int] = {}
        for row, series in enumerate(chain.from_iterable(parts)):
            rows.setdefault(series, row)
        total = sum(map(len, parts))
        now = {series.labels for series in rows}
        if len(now) < len(rows):  # the same labels with another type or help: still the same series
            rows = _first_by_labels(rows)
        ended = tuple(series for series in self._series if series.labels not in now)
        self._parts = parts
        self._series = tuple(rows)
        self._first = None if len(rows) == total else np.fromiter(rows.values(), dtype=np.int64)
        return ended

    def _columns(self, readings: Sequence[Reading | None]) -> tuple[Float64Array, BoolArray | None]:
        pieces: list[Float64Array] = []
        there: list[BoolArray] = []
        for part, reading in zip(self._parts, readings, strict=True):
            pieces.append(np.zeros(len(part)) if reading is None else reading.values)
            there.append(np.full(len(part), reading is not None))
        values = np.concatenate(pieces) if pieces else np.zeros(0)
        presence = np.concatenate(there) if there else np.zeros(0, dtype=np.bool_)
        if self._first is not None:
            values, presence = values[self._first], presence[self._first]
        return values, None if presence.all() else presence


def _first_by_labels(rows: dict[Series, int]) -> dict[Series, int]:
    kept: dict[object, tuple[Series, int]] = {}
    for series, row in rows.items():
        kept.setdefault(series.labels, (series, row))
    return dict(kept.values())


def stack_ticks(ticks: Sequence[Tick]) -> tuple[tuple[Series, ...], SampleMatrix]:
    """The union of the series of `ticks` (at least one, times strictly increasing), and their matrix."""
    times_ms = np.fromiter((tick.time_ms for tick in ticks), dtype=np.int64)
    series = ticks[0].series
    if all(tick.series is series for tick in ticks):
        values = np.ascontiguousarray(np.stack([tick.values for tick in ticks], axis=1))
        return series, SampleMatrix(times_ms, values, _stack_presence(ticks, len(series)))
    return _stack_union(ticks, times_ms)


def _stack_presence(ticks: Sequence[Tick], rows: int) -> BoolArray | None:
    if all(tick.presence is None for tick in ticks):
        return None
    full = np.ones(rows, dtype=np.bool_)
    return np.stack([full if tick.presence is None else tick.presence for tick in ticks], axis=1)


def _stack_union(ticks: Sequence[Tick], times_ms: Int64Array) -> tuple[tuple[Series, ...], SampleMatrix]:
    rows: dict[Series, int] = {}
    for tick in ticks:
        for series in tick.series:
            rows.setdefault(series, len(rows))
    values = np.zeros((len(rows), len(ticks)))
    presence = np.zeros((len(rows), len(ticks)), dtype=np.bool_)
    known: tuple[Series, ...] | None = None
    at = np.zeros(0, dtype=np.int64)
    for column, tick in enumerate(ticks):
        if tick.series is not known:
            known = tick.series
            at = np.fromiter((rows[series] for series in known), dtype=np.int64)
        values[at, column] = tick.values
        presence[at, column] = True if tick.presence is None else tick.presence
    values[~presence] = 0.0
    return tuple(rows), SampleMatrix(times_ms, values, None if presence.all() else presence)
