"""LayoutHead: the newest samples of one layout, in memory. One matrix and one time vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from peerwatch.model import BoolArray, Float64Array, Int64Array, Matrix
from peerwatch.store.cells import Columns, MergeCounts, merge_columns
from peerwatch.wire.packing import PackedMatrix, unpack_all

_FIRST_TICKS = 8
_NEVER_MS = -(1 << 62)
_NO_ID = (1 << 63) - 1
_PACKED = 8  # batches that wait, so that they are unpacked together
_FEW_TICKS = 16  # larger ones gain nothing by waiting
_LATE_BYTES = 1 << 20  # late cells are merged in when they outgrow the matrix, or this: keeps each cell's cost constant


@dataclass(frozen=True, slots=True)
class HeadView:
    """The cells of a head at one moment. Making it costs nothing; `columns` unpacks what still has to be."""

    unpacked: Columns
    packed: Sequence[PackedMatrix]

    def columns(self) -> Columns:
        """All cells, times strictly increasing."""
        if not self.packed:
            return self.unpacked
        before = self.unpacked
        times = np.concatenate([before.times_ms, *(one.times_ms for one in self.packed)])
        values = np.concatenate([before.values, unpack_all(self.packed)])
        if before.presence is None:
            return Columns(times, values, None)
        presence = np.ones(values.shape, np.bool_)
        presence[: len(before.presence)] = before.presence
        return Columns(times, values, presence)


class LayoutHead:
    """Upserts cells. The owner is the store, which guards it with its view lock.

    Small batches without gaps that follow the last one wait packed until there are eight: unpacked together they cost
    less than half. Then their ticks go into a time-major matrix that grows by doubling; cells below its end are never
    written again, so `view` and `columns` hand out views of it. What comes late, out of order or again waits in a list
    that is merged on the next read or when it outgrows the matrix. Bounded by the store's head budget.
    """

    __slots__ = (
        "_count",
        "_late",
        "_late_bytes",
        "_packed",
        "_packed_bytes",
        "_presence",
        "_times",
        "_values",
        "counts",
        "first_id",
        "last_id",
        "series_ids",
    )

    def __init__(self, series_ids: Int64Array) -> None:
        self.series_ids = series_ids
        self.first_id = int(series_ids.min(initial=_NO_ID))
        self.last_id = int(series_ids.max(initial=0))
        self.counts = MergeCounts()
        self._count = 0
        self._times: Int64Array = np.empty(0, np.int64)
        self._values: Float64Array = np.empty((0, len(series_ids)))
        self._presence: BoolArray | None = None
        self._packed: list[PackedMatrix] = []
        self._packed_bytes = 0
        self._late: list[Columns] = []
        self._late_bytes = 0

    @property
    def size_bytes(self) -> int:
        """Memory held."""
        masked = 0 if self._presence is None else self._presence.nbytes
        return self._times.nbytes + self._values.nbytes + masked + self._late_bytes + self._packed_bytes

    @property
    def first_ms(self) -> int:
        """Time of the oldest tick."""
        first = [part.times_ms.item(0) for part in self._late]
        first += [part.times_ms.item(0) for part in self._packed[:1]]
        if self._count:
            first.append(self._times.item(0))
        return min(first)

    @property
    def last_ms(self) -> int:
        """Time of the newest tick."""
        return max([part.times_ms.item(-1) for part in self._late] + [self._newest_ms()])

    def _newest_ms(self) -> int:
        """Time of the newest tick that did not come late."""
        if self._packed:
            return self._packed[-1].times_ms.item(-1)
        return self._times.item(self._count - 1) if self._count else _NEVER_MS

    def upsert(self, matrix: Matrix) -> None:
        """Put the cells in. On the usual road, that of a batch newer than all before, it only takes its place."""
        times = matrix.times_ms
        if not len(times):
            return
        newest_ms = self._newest_ms()
        follows = times.item(0) > newest_ms
        if follows and isinstance(matrix, PackedMatrix) and matrix.presence is None and len(times) <= _FEW_TICKS:
            self._packed.append(matrix)
            self._packed_bytes += times.nbytes * (1 + matrix.rows)  # what it will take: any read may unpack it
            if len(self._packed) >= _PACKED:
                self._unpack()
            return
        self._unpack()
        values, presence, newer = matrix.values.T, matrix.presence, 0
        whole = Columns(times, values, None if presence is None else presence.T)
        if not follows:
            newer = int(np.searchsorted(times, newest_ms, "right"))
            self._put_late(whole.between(0, newer))
        if newer < len(times):
            self._put_newer(whole.between(newer, len(times)))

    def view(self) -> HeadView:
        """All cells as of now. The arrays are never written to again."""
        if self._late:
            return HeadView(self.columns(), ())
        return HeadView(self._unpacked(), tuple(self._packed))

    def columns(self) -> Columns:
        """All cells, times strictly increasing. The arrays are never written to again."""
        self._unpack()
        if self._late:
            self._merge_late()
        return self._unpacked()

    def _unpacked(self) -> Columns:
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

    def _unpack(self) -> None:
        if not self._packed:
            return
        packed, self._packed, self._packed_bytes = self._packed, [], 0
        times = np.concatenate([one.times_ms for one in packed])
        self._put_newer(Columns(times, unpack_all(packed), None))

    def _put_newer(self, part: Columns) -> None:
        start, end = self._count, self._count + len(part.times_ms)
        if end > len(self._times):
            self._grow(end)
        self._times[start:end] = part.times_ms
        self._values[start:end] = part.values
        if part.presence is not None and self._presence is None:
            self._presence = np.ones(self._values.shape, np.bool_)
        if self._presence is not None:
            self._presence[start:end] = True if part.presence is None else part.presence
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
