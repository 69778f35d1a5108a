"""Dictionary: series <-> ids, layouts, and what metrics mean; persistent and crash-safe."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from zlib import crc32

import numpy as np

from peerwatch.model import METRIC_NAME, Int64Array, Labels, Layout, Matcher, MetricType, Series
from peerwatch.store.dictionary_log import DictionaryLog, LayoutRecord, NextRecord, SeriesRecord
from peerwatch.store.found_cache import Found, FoundCache
from peerwatch.store.index import LabelIndex

Meaning = tuple[MetricType, str, str]
"""Type, help and unit of a metric."""

_PRUNED_SHARE = 10  # a tenth of the series
_NO_MEANING: Meaning = (MetricType.UNKNOWN, "", "")


class _Table:
    """Everything about the known series; replaced as a whole when series are pruned."""

    def __init__(self) -> None:
        self.index = LabelIndex()
        self.labels: list[Labels] = []
        self.row_of: dict[Labels, int] = {}
        self.ids: list[int] = []
        self.keys: list[int] = []
        self.pairs: dict[tuple[str, str], tuple[str, str]] = {}
        self.found = FoundCache()
        self._id_array: Int64Array = np.empty(0, np.int64)

    def add(self, series_id: int, labels: Labels, key: int) -> None:
        shared = Labels(self.pairs.setdefault(pair, pair) for pair in labels)  # pairs repeat: share them
        self.row_of[shared] = self.index.add(shared)
        self.labels.append(shared)
        self.ids.append(series_id)
        self.keys.append(key)

    def id_array(self) -> Int64Array:
        if len(self._id_array) != len(self.ids):
            self._id_array = np.array(self.ids, np.int64)
        return self._id_array

    def rows(self, series_ids: Int64Array) -> Int64Array:
        """Row of each id, -1 where it is unknown."""
        ids = self.id_array()
        if not len(ids):
            return np.full(len(series_ids), -1, np.int64)
        at = np.minimum(np.searchsorted(ids, series_ids), len(ids) - 1)
        found: Int64Array = np.where(ids[at] == series_ids, at, -1)
        return found


class _KnownLayout:
    """What the store remembers of a layout: no label objects. `persisted`: envelopes may refer to it."""

    __slots__ = ("id", "origin", "persisted", "series_ids")

    def __init__(self, layout_id: int, series_ids: Int64Array, origin: bytes, persisted: bool) -> None:
        self.id = layout_id
        self.series_ids = series_ids
        self.origin = origin
        self.persisted = persisted


class Dictionary:
    """Thread-safe by its own lock. Ids are never given twice.

    What `layout` learns is written at once and made durable by `sync`, which the store calls before the first record
    that needs it. Size follows the series that have samples within retention; `prune` drops the others.
    """

    def __init__(self, log: DictionaryLog) -> None:
        self._log = log
        self._lock = threading.RLock()
        self._table = _Table()
        self._meanings: dict[str, Meaning] = {}
        self._layouts: dict[int, _KnownLayout] = {}
        self._layout_of: dict[tuple[bytes, bytes], int] = {}
        self._next_series = 1
        self._next_layout = 1
        self._seen_rows = 0  # series that were known when `prune` was last called
        for record in log.load():
            self._restore(record)

    def __len__(self) -> int:
        return len(self._table.ids)

    @property
    def size_bytes(self) -> int:
        """Size of its file."""
        return self._log.size_bytes

    # ---- writing

    def layout(self, series: tuple[Series, ...], origin: bytes = b"") -> Layout:
        """The layout of these series, made when it is new. Raises StoreError; then nothing was learnt."""
        with self._lock:
            self._learn(series)
            row_of, ids = self._table.row_of, self._table.ids
            series_ids: Int64Array = np.array([ids[row_of[one.labels]] for one in series], np.int64)
            if len(np.unique(series_ids)) != len(series_ids):
                raise ValueError("a layout names the same series twice")
            known = self._know(series_ids, origin)
            return Layout(known.id, series, known.series_ids, origin)

    def layout_of_ids(self, series_ids: Int64Array) -> int | None:
        """A layout for rows that name their series; None when one of them is unknown."""
        with self._lock:
            if (self._table.rows(series_ids) < 0).any():
                return None
            return self._know(series_ids, b"").id

    def adopt(self, layout: Layout, persist: bool) -> int:
        """The id under which the store knows the caller's layout now: pruning may have forgotten it.

        `persist`: an envelope will refer to it. Raises StoreError.
        """
        with self._lock:
            known = self._layouts.get(layout.id)
            if known is None or known.series_ids is not layout.series_ids:
                same = known is not None and np.array_equal(known.series_ids, layout.series_ids)
                if not same:
                    known = self._layouts[self.layout(layout.series, layout.origin).id]
            assert known is not None
            if persist and not known.persisted:
                self._log.revive(self._records)
                self._log.append([LayoutRecord.of(known.id, known.origin, known.series_ids)])
                known.persisted = True
            return known.id

    def sync(self) -> None:
        """What was learnt survives a crash once this returns. Raises StoreError."""
        with self._lock:
            self._log.revive(self._records)
            self._log.sync()

    def reserve(self, next_series: int) -> None:
        """Never give an id below `next_series`: blocks or WAL name it, though the dictionary lost it."""
        with self._lock:
            self._next_series = max(self._next_series, next_series)

    def widen(self, series_ids: Int64Array, first_ms: int, last_ms: int) -> None:
        """These series may have samples in [first_ms, last_ms]."""
        with self._lock:
            rows = self._table.rows(series_ids)
            self._table.index.widen(rows[rows >= 0], first_ms, last_ms)

    def widen_each(self, series_ids: Int64Array, first_ms: Int64Array, last_ms: Int64Array) -> None:
        """`widen` with a range of its own for every series."""
        with self._lock:
            rows = self._table.rows(series_ids)
            known = rows >= 0
            self._table.index.widen_each(rows[known], first_ms[known], last_ms[known])

    def forget_layouts(self, wanted: Callable[[int, bool], bool]) -> None:
        """Drop layouts for which `wanted(id, persisted)` is false; handles to them still work (see `adopt`)."""
        with self._lock:
            for known in list(self._layouts.values()):
                if not wanted(known.id, known.persisted):
                    del self._layouts[known.id]
                    self._layout_of.pop((known.series_ids.tobytes(), known.origin), None)

    def prune(self, before_ms: int, keep: Iterable[Int64Array]) -> int:
        """Forget series without a sample at or after `before_ms`, except `keep`; returns how many.

        That writes everything anew, while appends wait (2 s for 355,000 series). So it is done once a tenth of them is
        to go, or the file is full of repeats; who has never had a sample goes when it has none at the next call either,
        or a fleet that is just joining would be held up each time. Raises StoreError, then nothing was forgotten.
        """
        with self._lock:
            old = self._table
            first, last = old.index.ranges()
            dead = last < before_ms  # also those that never had a sample: `adopt` learns them again
            young = slice(self._seen_rows, None)
            dead[young] &= first[young] <= last[young]
            for series_ids in keep:
                kept_rows = old.rows(series_ids)
                dead[kept_rows[kept_rows >= 0]] = False
            self._seen_rows, gone = len(dead), int(dead.sum())
            if _PRUNED_SHARE * gone < max(1, len(dead)) and not self._log.bloated:
                return 0
            self._replace(old, np.flatnonzero(~dead), first, last)
            self._seen_rows = len(self._table.ids)
            return gone

    # ---- reading

    def find(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> tuple[Int64Array, Found]:
        """(ids, rows and labels) of the series that match and may have samples in the range; ids ascending."""
        key = tuple(matchers)
        with self._lock:  # for a moment: a slow pattern must not keep appends waiting
            table = self._table
            version, query, ids = len(table.index), table.index.capture(matchers), table.id_array()
            found = table.found.get(key, version)
        if found is None:
            rows = query.matching()
            alive = rows[query.within(rows, start_ms, end_ms)]
            if 2 * len(alive) < len(rows):  # most are of the past: not worth sorting
                return ids[alive], Found.of(alive, [table.labels[row] for row in alive.tolist()])
            found = Found.of(rows, [table.labels[row] for row in rows.tolist()])
            with self._lock:
                table.found.put(key, version, found)
        found = found.only(query.within(found.rows, start_ms, end_ms))
        return ids[found.rows], found

    def label_values(self, name: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        """See Queryable."""
        with self._lock:
            index = self._table.index
            return index.values(name, index.find(matchers, start_ms, end_ms))

    def label_names(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        """See Queryable."""
        with self._lock:
            index = self._table.index
            return index.names(index.find(matchers, start_ms, end_ms))

    def meanings(self) -> dict[str, Meaning]:
        """Type, help and unit by metric name."""
        with self._lock:
            return dict(self._meanings)

    def series_ids_of(self, layout_id: int) -> Int64Array | None:
        """The series of a layout, or None when it is unknown."""
        with self._lock:
            known = self._layouts.get(layout_id)
            return None if known is None else known.series_ids

    def layout_ids(self) -> list[int]:
        """Every layout that is known."""
        with self._lock:
            return list(self._layouts)

    def origin_of(self, layout_id: int) -> bytes | None:
        """What the caller gave with the layout, or None when it is unknown."""
        with self._lock:
            known = self._layouts.get(layout_id)
            return None if known is None else known.origin

    def tile_keys(self, series_ids: Int64Array) -> Int64Array:
        """Sort key of each series: series of one metric, and of those the alike, come together in blocks."""
        with self._lock:
            rows = self._table.rows(series_ids)
            keys = np.array(self._table.keys or [0], np.int64)
            found: Int64Array = np.where(rows >= 0, keys[np.maximum(rows, 0)], 0)
            return found

    def labels_of(self, series_ids: Int64Array) -> list[Labels | None]:
        """Labels of each id, None where it is unknown."""
        with self._lock:
            labels = self._table.labels
            return [labels[row] if row >= 0 else None for row in self._table.rows(series_ids).tolist()]

    def ranges(self) -> tuple[Int64Array, Int64Array, Int64Array]:
        """(ids, first_ms, last_ms) of all series."""
        with self._lock:
            return (self._table.id_array().copy(), *self._table.index.ranges())

    def close(self) -> None:
        """Give the file back."""
        with self._lock:
            self._log.close()

    # ---- inside

    def _learn(self, series: Sequence[Series]) -> None:
        row_of = self._table.row_of
        new = [one for one in series if one.labels not in row_of]
        changed = {
            one.labels.metric: (one.type, one.help, one.unit)
            for one in series
            if self._meanings.get(one.labels.metric, _NO_MEANING) != (one.type, one.help, one.unit)
            and (one.type, one.help, one.unit) != _NO_MEANING  # who knows nothing does not overrule who does
        }
        if not new and not changed:
            return
        record = SeriesRecord.of(self._next_series, [one.labels for one in new], _tile_keys(series, new), changed)
        self._log.revive(self._records)
        self._log.append([record])
        self._restore(record)

    def _know(self, series_ids: Int64Array, origin: bytes) -> _KnownLayout:
        key = (series_ids.tobytes(), origin)
        known = self._layouts.get(self._layout_of.get(key, 0))
        if known is None:
            known = _KnownLayout(self._next_layout, series_ids, origin, persisted=False)
            self._next_layout += 1
            self._layouts[known.id] = known
            self._layout_of[key] = known.id
        return known

    def _restore(self, record: SeriesRecord | LayoutRecord | NextRecord) -> None:
        if isinstance(record, SeriesRecord):
            for series_id, labels, key in record.rows():
                self._table.add(series_id, labels, key)
                self._next_series = max(self._next_series, series_id + 1)
            self._meanings.update(record.meanings())
        elif isinstance(record, LayoutRecord):
            ids = record.ids()
            self._layouts[record.id] = _KnownLayout(record.id, ids, record.origin, persisted=True)
            self._layout_of[(ids.tobytes(), record.origin)] = record.id
            self._next_layout = max(self._next_layout, record.id + 1)
        else:
            self._next_series = max(self._next_series, record.series)
            self._next_layout = max(self._next_layout, record.layout)

    def _records(self) -> Iterable[SeriesRecord | LayoutRecord | NextRecord]:
        return _records_of(self._table, self._meanings, self._layouts.values(), self._next_series, self._next_layout)

    def _replace(self, old: _Table, rows: Int64Array, first: Int64Array, last: Int64Array) -> None:
        table = _Table()
        for row in rows.tolist():
            table.add(old.ids[row], old.labels[row], old.keys[row])
        table.index.widen_each(np.arange(len(rows)), first[rows], last[rows])
        metrics = {labels.metric for labels in table.labels}
        meanings = {name: meaning for name, meaning in self._meanings.items() if name in metrics}
        layouts = [known for known in self._layouts.values() if (table.rows(known.series_ids) >= 0).all()]
        self._log.rewrite(_records_of(table, meanings, layouts, self._next_series, self._next_layout))
        self._table, self._meanings = table, meanings
        self._layouts = {known.id: known for known in layouts}
        self._layout_of = {(known.series_ids.tobytes(), known.origin): known.id for known in layouts}


def _records_of(
    table: _Table, meanings: dict[str, Meaning], layouts: Iterable[_KnownLayout], next_series: int, next_layout: int
) -> Iterable[SeriesRecord | LayoutRecord | NextRecord]:
    yield NextRecord(next_series, next_layout)
    yield SeriesRecord.of(0, [], [], meanings)
    for start in range(0, len(table.ids), 4096):
        part = slice(start, start + 4096)
        yield SeriesRecord.of(0, table.labels[part], table.keys[part], {}, table.ids[part])
    for known in layouts:
        if known.persisted:
            yield LayoutRecord.of(known.id, known.origin, known.series_ids)


def _tile_keys(series: Sequence[Series], new: Sequence[Series]) -> list[int]:
    """Metric in the high half; in the low half what tells the series apart within its own layout.

    Labels that all series of the layout share (instance, job, region) are left out: so the same series of many hosts
    get the same key, and tiles hold what is alike.
    """
    first = set(series[0].labels) if series else set()
    shared = first.intersection(*(one.labels for one in series)) if len(series) > 1 else first
    return [_tile_key(one.labels, shared) for one in new]


def _tile_key(labels: Labels, shared: set[tuple[str, str]]) -> int:
    rest = "\0".join(f"{name}={value}" for name, value in labels if (name, value) not in shared and name != METRIC_NAME)
    return (crc32(labels.metric.encode()) << 31) | (crc32(rest.encode()) >> 1)
