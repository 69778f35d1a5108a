"""RemoteWriteReceiver: what becomes of one request: checked, grouped into matrices, durable before it is answered."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import anyio.lowlevel
import numpy as np

from peerwatch.collector.remote_write.config import RemoteWriteConfig
from peerwatch.collector.remote_write.families import Families
from peerwatch.collector.remote_write.matrices import Cells, by_group
from peerwatch.collector.remote_write.series_table import GROUP_ROWS, UNKNOWN, SeriesTable, split_places
from peerwatch.errors import DecodeError
from peerwatch.model import Clock, Float64Array, Int64Array, Labels, Layout, Part, RowsEntry, Series
from peerwatch.wire.limits import WireLimits
from peerwatch.wire.remote_write import SeriesKey, Written, labels_of_key

_ENTRY_CELLS = 1 << 20  # per record of the WAL
_CELL_BYTES = 9  # value and presence
_TURN_SERIES = 1_000  # new series after which others get their turn: some 10 ms of work
_IDENTITY = ("job", "instance")


class RowsSink(Protocol):
    """Where rows go: the collector's committer."""

    async def layout(self, series: tuple[Series, ...]) -> Layout:
        """The store's layout for these series. Raises StoreError."""
        ...

    async def commit(self, entry: RowsEntry, size_bytes: int) -> None:
        """Return once the entry is durable. Raises StoreError, or QuotaError where too much waits for the disk."""
        ...


@dataclass(slots=True)
class Outcome:
    """What was stored of a request, and how many samples were refused for which reason."""

    samples: int = 0
    refused: Tally[str] = field(default_factory=Tally)
    first_error: str = ""

    def refuse(self, reason: str, count: int, detail: str = "") -> None:
        """Count samples that are not stored."""
        if count:
            self.refused[reason] += count
            self.first_error = self.first_error or detail


class RemoteWriteReceiver:
    """One per hub, in its event loop; `store` may run in any number of tasks at once."""

    def __init__(
        self,
        sink: RowsSink,
        config: RemoteWriteConfig,
        limits: WireLimits,
        future_tolerance_ms: int,
        horizon_ms: Callable[[], int],
        clock: Clock,
    ) -> None:
        self._sink = sink
        self._limits = limits
        self._future_tolerance_ms = future_tolerance_ms
        self._horizon_ms = horizon_ms
        self._clock = clock
        self._table = SeriesTable(config.max_series, clock.monotonic_s())
        self._families = Families(config.max_families)
        self._max_series = config.max_series
        self._pairs: dict[tuple[str, str], tuple[str, str]] = {}

    @property
    def series(self) -> int:
        """Series known at this moment."""
        return len(self._table)

    async def store(self, written: Written) -> Outcome:
        """Store what is good in a request; returns once it is durable.

        Raises StoreError and QuotaError: then some of it may be stored, and the whole may be sent again.
        """
        outcome = Outcome()
        outcome.refuse("histogram", written.histograms, "native histograms are not stored")
        await self._learn(written)
        rows, times, values = self._in_time(written, outcome)
        places = self._table.find(written.keys, self._clock.monotonic_s())
        fresh = np.unique(rows[places[rows] == UNKNOWN])
        if len(fresh):
            await self._place(fresh, written, rows, times, places)
        homeless = places[rows] == UNKNOWN
        if homeless.any():
            self._explain(written, rows[homeless], outcome)
            rows, times, values = rows[~homeless], times[~homeless], values[~homeless]
        cells = list(by_group(places[rows], times, values))
        scattered = self._scattered(cells)
        if scattered:
            movers = np.unique(rows[np.isin(split_places(places[rows])[0], scattered)])
            await self._place(movers, written, rows, times, places)
            cells = list(by_group(places[rows], times, values))
        await self._commit(cells)
        outcome.samples = len(values)
        return outcome

    async def _learn(self, written: Written) -> None:
        """Tell the store what metrics mean that it has already: 1.0 says so in requests of their own."""
        changed = self._families.learn(written.families)
        if changed:
            await self._sink.layout(tuple(changed))

    def _in_time(self, written: Written, outcome: Outcome) -> tuple[Int64Array, Int64Array, Float64Array]:
        times = written.times_ms
        latest_ms, horizon_ms = self._clock.now_ms() + self._future_tolerance_ms, self._horizon_ms()
        late, early = times > latest_ms, times < horizon_ms
        bad = late | early
        if not bad.any():
            return written.rows, times, written.values
        if late.any():
            detail = f"time {int(times.max())} ms is too far ahead, limit {latest_ms}"
            outcome.refuse("future", int(late.sum()), detail)
        if early.any():
            detail = f"time {int(times.min())} ms is beyond retention, which begins at {horizon_ms}"
            outcome.refuse("too_old", int(early.sum()), detail)
        return written.rows[~bad], times[~bad], written.values[~bad]

    async def _place(
        self, wanted: Int64Array, written: Written, rows: Int64Array, times: Int64Array, places: Int64Array
    ) -> None:
        """Give these series groups of those that came with them; what cannot be a series, or has no room, stays out.

        Series belong together that have the same times here, and the same job and instance.
        """
        bundles: dict[tuple[bytes, str, str], list[tuple[SeriesKey, Series, int]]] = {}
        seen: dict[SeriesKey, int] = {}
        order = np.argsort(rows, kind="stable")
        first = np.searchsorted(rows[order], wanted)
        after = np.searchsorted(rows[order], wanted, "right")
        room = self._table.room
        for number, (row, start, stop) in enumerate(zip(wanted.tolist(), first.tolist(), after.tolist(), strict=True)):
            if number % _TURN_SERIES == _TURN_SERIES - 1:
                await anyio.lowlevel.checkpoint()
            key = written.keys[row]
            if key in seen:  # the same series twice in a request
                continue
            seen[key] = row
            if places[row] == UNKNOWN:
                if room <= 0:
                    continue
                room -= 1
            try:
                series = self._series(key, row, written)
            except DecodeError:
                continue
            stamps = np.unique(times[order[start:stop]]).tobytes()
            job, instance = (series.labels.get(name) for name in _IDENTITY)
            bundles.setdefault((stamps, job, instance), []).append((key, series, row))
        placed: dict[SeriesKey, int] = {}
        for bundle in bundles.values():
            for start in range(0, len(bundle), GROUP_ROWS):
                placed.update(await self._group(bundle[start : start + GROUP_ROWS]))
        for row in wanted.tolist():
            places[row] = placed.get(written.keys[row], places[row])

    async def _group(self, bundle: Sequence[tuple[SeriesKey, Series, int]]) -> dict[SeriesKey, int]:
        """One layout for a bundle. Keys that mean the same series, spelled in other orders, share its row."""
        by_labels: dict[object, list[SeriesKey]] = {}
        series: list[Series] = []
        for key, one, _ in bundle:
            if one.labels not in by_labels:
                series.append(one)
            by_labels.setdefault(one.labels, []).append(key)
        layout = await self._sink.layout(tuple(series))
        self._families.note(series)
        firsts = [keys[0] for keys in by_labels.values()]
        placed = dict(zip(firsts, self._table.put(firsts, layout), strict=True))
        return {key: placed[keys[0]] for keys in by_labels.values() for key in keys}

    def _series(self, key: SeriesKey, row: int, written: Written) -> Series:
        known = self._pairs
        if len(known) > self._max_series:  # they only save memory: better none than all that ever were
            known.clear()
        labels = Labels(known.setdefault(pair, pair) for pair in labels_of_key(key, self._limits))
        meaning = written.meaning(row) or self._families.meaning(labels.metric)
        return Series(labels, *meaning)

    def _explain(self, written: Written, rows: Int64Array, outcome: Outcome) -> None:
        """Why series have no place: their labels, or the limit."""
        found, counts = np.unique(rows, return_counts=True)
        for row, count in zip(found.tolist(), counts.tolist(), strict=True):
            try:
                labels_of_key(written.keys[row], self._limits)
            except DecodeError as error:
                outcome.refuse("invalid_labels", count, str(error))
            else:
                detail = f"{len(self._table)} series within an hour or two, limit remote_write.max_series"
                outcome.refuse("series_limit", count, detail)

    def _scattered(self, cells: Sequence[Cells]) -> list[int]:
        """Groups whose series do not come together any more: their matrices would be mostly gaps."""
        table = self._table
        return [
            one.group
            for one in cells
            if table.group(one.group).wastes(table.height(one.group) * len(one.times_ms), len(one.values))
        ]

    async def _commit(self, cells: Sequence[Cells]) -> None:
        groups = [self._table.group(one.group) for one in cells]
        parts: list[Part] = []
        waiting = 0
        for one, group in zip(cells, groups, strict=True):
            size = len(group.layout.series) * len(one.times_ms)
            if parts and waiting + size > _ENTRY_CELLS:
                await self._sink.commit(RowsEntry(tuple(parts)), _CELL_BYTES * waiting)
                parts, waiting = [], 0
            parts.append(Part(group.layout, one.matrix(len(group.layout.series))))
            waiting += size
        if parts:
            await self._sink.commit(RowsEntry(tuple(parts)), _CELL_BYTES * waiting)
