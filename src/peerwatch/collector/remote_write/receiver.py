"""RemoteWriteReceiver: what becomes of one request: checked, grouped into matrices, durable before it is answered."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Protocol, TypeVar

import anyio.lowlevel
import numpy as np

from peerwatch.collector.remote_write.config import RemoteWriteConfig
from peerwatch.collector.remote_write.families import NOTHING, Families
from peerwatch.collector.remote_write.matrices import Cells, by_group
from peerwatch.collector.remote_write.series_table import (
    GROUP_ROWS,
    UNKNOWN,
    Key,
    PartKey,
    SeriesTable,
    split_places,
)
from peerwatch.collector.remote_write.spread import Spread
from peerwatch.errors import DecodeError
from peerwatch.model import BoolArray, Clock, Int64Array, Labels, Layout, Part, RowsEntry, Series
from peerwatch.model.parts import part_of
from peerwatch.wire.limits import WireLimits
from peerwatch.wire.remote_write import Written, labels_of_key, metric_of_key

_ENTRY_CELLS = 1 << 20  # per record of the WAL
_CELL_BYTES = 9  # value and presence
_TURN_SERIES = 1_000  # new series after which others get their turn: some 10 ms of work
_IDENTITY = ("job", "instance")
_T = TypeVar("_T")


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
    """What was stored of a request, and how many samples were refused for which reason. A histogram is one sample."""

    samples: int = 0
    histograms: int = 0
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
        outcome.refuse("histogram", written.histograms.refused, written.histograms.why)
        await self._learn(written)
        written = self._in_time(written, outcome)
        spread = Spread(written, self._table, self._clock.monotonic_s())
        fresh = np.unique(spread.rows[spread.homeless])
        if len(fresh):
            invalid = await self._place(fresh, written, spread)
            self._explain([spread.key(row) for row in spread.drop_homeless()], invalid, outcome)
        cells = self._cells(spread)
        scattered = self._scattered(cells)
        if scattered:
            movers = np.unique(spread.rows[np.isin(split_places(spread.places[spread.rows])[0], scattered)])
            await self._place(movers, written, spread)
            cells = self._cells(spread)
        await self._commit(cells)
        outcome.samples, outcome.histograms = spread.stored()
        return outcome

    def _cells(self, spread: Spread) -> list[Cells]:
        return list(by_group(spread.places[spread.rows], spread.times_ms, spread.values))

    async def _learn(self, written: Written) -> None:
        """Tell the store what metrics mean that it has already: 1.0 says so in requests of their own, 2.0 with any
        sample."""
        told = dict(written.families)
        for row in written.meant:
            metric = metric_of_key(written.keys[row])
            if metric and metric not in self._families and metric not in told:
                told[metric] = written.meaning(row) or NOTHING
        changed = self._families.learn(told)
        if changed:
            await self._sink.layout(tuple(changed))

    def _in_time(self, written: Written, outcome: Outcome) -> Written:
        """What is neither too far ahead nor too old."""
        bad = self._out_of_time(written.times_ms, outcome)
        if bad.any():
            starts = None if written.starts_ms is None else written.starts_ms[~bad]
            samples = {name: getattr(written, name)[~bad] for name in ("rows", "times_ms", "values")}
            written = replace(written, **samples, starts_ms=starts)
        bad = self._out_of_time(written.histograms.times_ms, outcome)
        if bad.any():
            written = replace(written, histograms=written.histograms.take(np.flatnonzero(~bad)))
        return written

    def _out_of_time(self, times_ms: Int64Array, outcome: Outcome) -> BoolArray:
        latest_ms, horizon_ms = self._clock.now_ms() + self._future_tolerance_ms, self._horizon_ms()
        late, early = times_ms > latest_ms, times_ms < horizon_ms
        if late.any():
            detail = f"time {int(times_ms.max())} ms is too far ahead, limit {latest_ms}"
            outcome.refuse("future", int(late.sum()), detail)
        if early.any():
            detail = f"time {int(times_ms.min())} ms is beyond retention, which begins at {horizon_ms}"
            outcome.refuse("too_old", int(early.sum()), detail)
        bad: BoolArray = late | early
        return bad

    async def _place(self, wanted: Int64Array, written: Written, spread: Spread) -> dict[Key, str]:
        """Give these rows groups of those that came with them; what cannot be a series, or has no room, stays out.

        Series belong together that have the same times here, and the same job and instance. Returns what is wrong
        with those that cannot be series.
        """
        invalid: dict[Key, str] = {}
        seen: set[Key] = set()
        bundles: dict[tuple[bytes, str, str], dict[Key, Series]] = {}
        room, keys = self._table.room, {row: spread.key(row) for row in wanted.tolist()}
        for number, (row, stamps) in enumerate(_stamps(wanted, spread.rows, spread.times_ms)):
            if number % _TURN_SERIES == _TURN_SERIES - 1:
                await anyio.lowlevel.checkpoint()
            key, is_new = keys[row], spread.places[row] == UNKNOWN
            if key in seen or (is_new and room <= 0):
                continue
            seen.add(key)  # senders repeat a series for each of its samples; where it first comes it belongs
            try:
                series = self._series(key, spread.written_row(row), written)
            except DecodeError as error:
                invalid[key] = str(error)
                continue
            room -= int(is_new)
            job, instance = (series.labels.get(name) for name in _IDENTITY)
            bundles.setdefault((stamps, job, instance), {})[key] = series
        placed: dict[Key, int] = {}
        for bundle in bundles.values():
            for some in _batched(bundle.items(), GROUP_ROWS):
                placed.update(await self._group(some))
        for row, key in keys.items():
            spread.places[row] = placed.get(key, spread.places[row])
        return invalid

    async def _group(self, bundle: Sequence[tuple[Key, Series]]) -> dict[Key, int]:
        """One layout for a bundle. Keys that mean the same series, spelled in other orders, share its row."""
        keys_of: dict[Labels, list[Key]] = {}
        for key, series in bundle:
            keys_of.setdefault(series.labels, []).append(key)
        distinct = {series.labels: series for _, series in reversed(bundle)}
        members = tuple(distinct[labels] for labels in keys_of)
        layout = await self._sink.layout(members)
        self._families.note(members)
        places = self._table.put([keys[0] for keys in keys_of.values()], layout)
        return {key: place for keys, place in zip(keys_of.values(), places, strict=True) for key in keys}

    def _series(self, key: Key, row: int, written: Written) -> Series:
        known = self._pairs
        if len(known) > self._max_series:  # they only save memory: better none than all that ever were
            known.clear()
        of, part = key if isinstance(key, PartKey) else (key, "")
        labels = labels_of_key(of, self._limits)
        labels = Labels(known.setdefault(pair, pair) for pair in (part_of(labels, part) if part else labels))
        meaning = written.meaning(row) or self._families.meaning(labels.metric)
        return Series(labels, *meaning)

    def _explain(self, homeless: Iterable[Key], invalid: dict[Key, str], outcome: Outcome) -> None:
        """Why samples have no place: the labels of their series, or the limit."""
        limit = f"{len(self._table)} series within an hour or two, limit remote_write.max_series"
        for key, count in Tally(homeless).items():
            outcome.refuse("invalid_labels" if key in invalid else "series_limit", count, invalid.get(key, limit))

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


def _stamps(wanted: Int64Array, rows: Int64Array, times: Int64Array) -> Iterator[tuple[int, bytes]]:
    """(row, its distinct times) of each wanted row."""
    order = np.argsort(rows, kind="stable")
    sorted_rows, sorted_times = rows[order], times[order]
    firsts = np.searchsorted(sorted_rows, wanted)
    ends = np.searchsorted(sorted_rows, wanted, "right")
    for row, first, end in zip(wanted.tolist(), firsts.tolist(), ends.tolist(), strict=True):
        own = sorted_times[first:end]
        yield row, own.tobytes() if len(own) == 1 else np.unique(own).tobytes()


def _batched(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """`items` in lists of at most `size`."""
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part
