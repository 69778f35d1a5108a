"""Selection: from rows of blocks and heads to one SeriesSet. Plain functions of arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from peerwatch.errors import CorruptionError, LimitError
from peerwatch.model import BoolArray, Float64Array, Int64Array, Labels, SeriesSet
from peerwatch.store.block import Block, split_slots
from peerwatch.store.cells import merge_row
from peerwatch.store.damage import Damage
from peerwatch.store.head import HeadView
from peerwatch.store.tile import Tile


@dataclass(frozen=True, slots=True)
class Wanted:
    """The series that a read asks for. ids ascend; rank[i] is the place of ids[i] in the answer (sorted by labels)."""

    ids: Int64Array
    rank: Int64Array
    labels: list[Labels]
    start_ms: int
    end_ms: int

    @classmethod
    def of(cls, ids: Int64Array, labels: Sequence[Labels], start_ms: int, end_ms: int) -> Wanted:
        """Sort once, by labels."""
        order = sorted(range(len(labels)), key=labels.__getitem__)
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        return cls(ids, rank, [labels[at] for at in order], start_ms, end_ms)

    def find(self, series_ids: Int64Array) -> tuple[Int64Array, Int64Array]:
        """(positions in `series_ids`, ranks) of the wanted ones among `series_ids`."""
        if not len(self.ids) or not len(series_ids):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        at = np.minimum(np.searchsorted(self.ids, series_ids), len(self.ids) - 1)
        rows = np.flatnonzero(self.ids[at] == series_ids)
        return rows, self.rank[at[rows]]


class Rows:
    """What a read has gathered: runs of samples, each of one series. Owned by that read; bounded by `max_samples`."""

    def __init__(self, wanted: Wanted, max_samples: int | None = None) -> None:
        self.wanted = wanted
        self._max = max_samples
        self._held = 0
        self._ranks: list[int] = []
        self._times: list[Int64Array] = []
        self._values: list[Float64Array] = []

    def add(self, rank: int, times: Int64Array, values: Float64Array, presence: BoolArray | None) -> None:
        """Keep what lies in the asked range. `times` ascend strictly. Raises LimitError for a sample too many."""
        wanted = self.wanted
        if not len(times):
            return
        if times[0] < wanted.start_ms or times[-1] > wanted.end_ms:
            low, high = times.searchsorted(wanted.start_ms), times.searchsorted(wanted.end_ms, "right")
            times, values = times[low:high], values[low:high]
            presence = None if presence is None else presence[low:high]
        if presence is not None:
            times, values = times[presence], values[presence]
        if not len(times):
            return
        self._held += len(times)
        if self._max is not None and self._held > self._max:
            raise LimitError(f"the query reads more than {self._max} samples; narrow its selectors or its range")
        self._ranks.append(rank)
        self._times.append(times)
        self._values.append(values)

    def add_head(self, series_ids: Int64Array, head: HeadView) -> None:
        """What a head has; copies, so the head may go on."""
        wanted = self.wanted
        rows, ranks = wanted.find(series_ids)
        if not len(rows):
            return
        columns = head.columns()
        low = int(np.searchsorted(columns.times_ms, wanted.start_ms))
        high = int(np.searchsorted(columns.times_ms, wanted.end_ms, "right"))
        times = columns.times_ms[low:high]
        values = np.ascontiguousarray(columns.values[low:high, rows].T)
        presence = None if columns.presence is None else columns.presence[low:high, rows].T
        for row, rank in enumerate(ranks.tolist()):
            self.add(rank, times, values[row], None if presence is None else presence[row])

    def add_block(self, block: Block, damage: Damage) -> None:
        """What a block has. A damaged tile is left out, counted and logged; the rest of the block is read."""
        with block.opened() as opened:
            positions, slots, lines = opened.find(self.wanted.ids)
            tiles, rows = split_slots(slots)
            order = np.lexsort((rows, tiles))
            cuts = [0, *(np.flatnonzero(np.diff(tiles[order])) + 1).tolist(), len(order)]
            ranks = self.wanted.rank[positions]
            times: dict[int, Int64Array] = {}
            for low, high in pairwise(cuts):
                group = order[low:high]
                if not len(group):
                    continue
                try:
                    for line in set(lines[group].tolist()) - times.keys():
                        times[line] = opened.times(line)
                    tile = opened.tile(int(tiles[group[0]]), rows[group])
                except CorruptionError as error:
                    damage.note("samples unreadable", str(error))
                    continue
                self._add_tile(tile, ranks[group].tolist(), [times[line] for line in lines[group].tolist()])

    def _add_tile(self, tile: Tile, ranks: list[int], times: list[Int64Array]) -> None:
        for row, (rank, ticks) in enumerate(zip(ranks, times, strict=True)):
            count = len(ticks)
            presence = None if tile.presence is None else tile.presence[row, :count]
            self.add(rank, ticks, tile.values[row, :count], presence)

    def to_series_set(self) -> SeriesSet:
        """All rows as one set: sorted, each cell once, series without samples left out."""
        self._merge_overlaps()
        if not self._ranks:
            none = np.empty(0, np.int64)
            return SeriesSet([], none, np.empty(0), np.zeros(1, np.int64))
        ranks = np.array(self._ranks, np.int64)
        order = np.lexsort((self._firsts(), ranks)).tolist()
        times = np.concatenate([self._times[at] for at in order])
        values = np.concatenate([self._values[at] for at in order])
        counts = np.bincount(ranks, weights=[len(one) for one in self._times], minlength=len(self.wanted.labels))
        kept = np.flatnonzero(counts)
        offsets = np.zeros(len(kept) + 1, np.int64)
        np.cumsum(counts[kept].astype(np.int64), out=offsets[1:])
        return SeriesSet([self.wanted.labels[rank] for rank in kept.tolist()], times, values, offsets)

    def _firsts(self) -> Int64Array:
        return np.fromiter((one[0] for one in self._times), np.int64, len(self._times))

    def _merge_overlaps(self) -> None:
        """Series of which two rows overlap in time become one row each: the same cell may be in both."""
        if len(self._ranks) < 2:
            return
        ranks, first = np.array(self._ranks, np.int64), self._firsts()
        last = np.fromiter((one[-1] for one in self._times), np.int64, len(self._times))
        order = np.lexsort((first, ranks))
        ranks, first, last = ranks[order], first[order], last[order]
        overlap = (ranks[1:] == ranks[:-1]) & (first[1:] <= last[:-1])
        if not overlap.any():
            return
        messy = set(ranks[1:][overlap].tolist())
        parts: dict[int, tuple[list[Int64Array], list[Float64Array]]] = {rank: ([], []) for rank in messy}
        clean = []
        for row in zip(self._ranks, self._times, self._values, strict=True):
            if row[0] in messy:
                parts[row[0]][0].append(row[1])
                parts[row[0]][1].append(row[2])
            else:
                clean.append(row)
        merged = [(rank, *merge_row(times, values)) for rank, (times, values) in parts.items()]
        rows = clean + merged
        self._ranks = [row[0] for row in rows]
        self._times = [row[1] for row in rows]
        self._values = [row[2] for row in rows]
