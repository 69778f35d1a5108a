"""LayoutHead: the newest samples of one layout, in memory. One matrix and one time vector."""

from __future__ import annotations

import numpy as np

from peerwatch.model import BoolArray, Float64Array, Int64Array, SampleMatrix
from peerwatch.store.cells import Columns, MergeCounts, merge_columns

_FIRST_TICKS = 8
_LATE_BYTES = 1 << 20  # late cells are merged in when they outgrow the matrix, or this: keeps each cell's cost constant


class LayoutHead:
    """Upserts cells. The owner is the store, which guards it with its view lock.

    Ticks that follow the last one go into a time-major matrix that grows by doubling; cells below its end are never
    written again, so `columns` hands out views. Whatever else comes (late, out of order, partial, again) waits in a
    list that is merged on the next read or when it outgrows the matrix. Bounded by the store's head budget.
    """

    __slots__ = ("_count", "_late", "_late_bytes", "_presence", "_times", "_values", "counts", "series_ids")

    def __init__(self, series_ids: Int64Array) -> None:
        self.series_ids = series_ids
        self.counts = MergeCounts()
        self._count = 0
        self._times: Int64Array = np.empty(0, np.int64)
        self._values: Float64Array = np.empty((0, len(series_ids)))
        self._presence: BoolArray | None = None
        self._late: list[Columns] = []
        self._late_bytes = 0

    @property
    def size_bytes(self) -> int:
        """Memory held."""
        masked = 0 if self._presence is None else self._presence.nbytes
        return self._times.nbytes + self._values.nbytes + masked + self._late_bytes

    @property
    def first_ms(self) -> int:
        """Time of the oldest tick."""
        first = [int(part.times_ms[0]) for part in self._late]
        if self._count:
            first.append(int(self._times[0]))
        return min(first)

    @property
    def last_ms(self) -> int:
        """Time of the newest tick."""
        last = [int(part.times_ms[-1]) for part in self._late]
        if self._count:
            last.append(int(self._times[self._count - 1]))
        return max(last)

    def upsert(self, matrix: SampleMatrix) -> None:
        """Put the cells in: one copy on the usual road, that of a tick newer than all before."""
        times = matrix.times_ms
        if not len(times):
            return
        newer = 0
        if self._count and times[0] <= self._times[self._count - 1]:
            newer = int(np.searchsorted(times, self._times[self._count - 1], "right"))
            self._put_late(_time_major(matrix).between(0, newer))
        if newer < len(times):
            self._put_newer(times[newer:], matrix.values[:, newer:], _masked(matrix, newer))

    def columns(self) -> Columns:
        """All cells, times strictly increasing. The arrays are never written to again."""
        if self._late:
            self._merge_late()
        presence = None if self._presence is None else self._presence[: self._count]
        return Columns(self._times[: self._count], self._values[: self._count], presence)

    def move_to(self, values: Float64Array, presence: BoolArray | None) -> None:
        """Keep the cells in these arrays [series, ticks] from now on. For a head that gets no more samples."""
        columns = self.columns()
        values[:] = columns.values.T
        self._times, self._values = columns.times_ms.copy(), values.T
        if presence is not None and columns.presence is not None:
            presence[:] = columns.presence.T
            self._presence = presence.T

    def _put_newer(self, times: Int64Array, values: Float64Array, presence: BoolArray | None) -> None:
        start, end = self._count, self._count + len(times)
        if end > len(self._times):
            self._grow(end)
        self._times[start:end] = times
        self._values[start:end] = values.T
        if presence is not None and self._presence is None:
            self._presence = np.ones(self._values.shape, np.bool_)
        if self._presence is not None:
            self._presence[start:end] = True if presence is None else presence.T
        self._count = end

    def _grow(self, need: int) -> None:
        capacity = max(need, 2 * len(self._times), _FIRST_TICKS)
        width = len(self.series_ids)
        times, values = np.empty(capacity, np.int64), np.empty((capacity, width))
        times[: self._count] = self._times[: self._count]
        values[: self._count] = self._values[: self._count]
        self._times, self._values = times, values
        if self._presence is not None:
            presence = np.ones((capacity, width), np.bool_)
            presence[: self._count] = self._presence[: self._count]
            self._presence = presence

    def _put_late(self, part: Columns) -> None:
        self._late.append(part)
        masked = 0 if part.presence is None else part.presence.nbytes
        self._late_bytes += part.times_ms.nbytes + part.values.nbytes + masked
        if self._late_bytes > max(_LATE_BYTES, self._values.nbytes):
            self._merge_late()

    def _merge_late(self) -> None:
        late, self._late, self._late_bytes = self._late, [], 0
        merged = merge_columns([self.columns(), *late], self.counts)
        self._times, self._values, self._presence = merged.times_ms, merged.values, merged.presence
        self._count = len(merged.times_ms)


def _time_major(matrix: SampleMatrix) -> Columns:
    return Columns(matrix.times_ms, matrix.values.T, None if matrix.presence is None else matrix.presence.T)


def _masked(matrix: SampleMatrix, start: int) -> BoolArray | None:
    return None if matrix.presence is None else matrix.presence[:, start:]
