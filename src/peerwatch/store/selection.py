"""Selection: from pieces of blocks and heads to one SeriesSet. Plain functions of arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from peerwatch.errors import LimitError
from peerwatch.model import BoolArray, Float64Array, Int64Array, Labels, SeriesSet
from peerwatch.store.cells import merge_row
from peerwatch.store.head import LayoutHead

_NEVER = np.iinfo(np.int64).min


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
        if not len(self.ids):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        at = np.minimum(np.searchsorted(self.ids, series_ids), len(self.ids) - 1)
        rows = np.flatnonzero(self.ids[at] == series_ids)
        return rows, self.rank[at[rows]]


@dataclass(frozen=True, slots=True)
class Piece:
    """Samples of some series that share their times: `values[i, j]` belongs to the series of rank `ranks[i]`."""

    ranks: Int64Array
    times_ms: Int64Array
    values: Float64Array
    presence: BoolArray | None


class Budget:
    """Counts samples held by one read; refuses the one too many. Owned by that read."""

    def __init__(self, max_samples: int | None) -> None:
        self._max = max_samples
        self._held = 0

    def take(self, piece: Piece) -> Piece:
        """Count the piece. Raises LimitError."""
        count = piece.values.size if piece.presence is None else int(np.count_nonzero(piece.presence))
        self._held += count
        if self._max is not None and self._held > self._max:
            raise LimitError(f"the query reads more than {self._max} samples; narrow its selectors or its range")
        return piece


def piece_of_head(head: LayoutHead, wanted: Wanted) -> Piece | None:
    """What a head has for a read; copies, so the head may go on."""
    rows, ranks = wanted.find(head.series_ids)
    if not len(rows):
        return None
    columns = head.columns()
    low = int(np.searchsorted(columns.times_ms, wanted.start_ms))
    high = int(np.searchsorted(columns.times_ms, wanted.end_ms, "right"))
    if low >= high:
        return None
    values = np.ascontiguousarray(columns.values[low:high, rows].T)
    presence = None if columns.presence is None else np.ascontiguousarray(columns.presence[low:high, rows].T)
    return Piece(ranks, columns.times_ms[low:high], values, presence)


def assemble(wanted: Wanted, pieces: Sequence[Piece]) -> SeriesSet:
    """All pieces as one set: sorted, each cell once, series without samples left out."""
    ordered = sorted((piece for piece in pieces if len(piece.times_ms)), key=lambda piece: int(piece.times_ms[0]))
    count = len(wanted.labels)
    counts, messy = _survey(count, ordered)
    merged = _merge_messy(ordered, messy)
    for rank, (times, _) in merged.items():
        counts[rank] = len(times)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    times_ms = np.empty(offsets[-1], np.int64)
    values = np.empty(offsets[-1])
    fill = offsets[:-1].copy()
    for piece in ordered:
        _place(piece, messy, fill, times_ms, values)
    for rank, (row_times, row_values) in merged.items():
        start = int(offsets[rank])
        times_ms[start : start + len(row_times)] = row_times
        values[start : start + len(row_times)] = row_values
    kept = np.flatnonzero(counts)
    bounds = np.concatenate([offsets[kept], offsets[-1:]])
    return SeriesSet([wanted.labels[rank] for rank in kept.tolist()], times_ms, values, bounds)


def _survey(count: int, ordered: Sequence[Piece]) -> tuple[Int64Array, BoolArray]:
    """(samples per series, whether its pieces overlap in time)."""
    counts = np.zeros(count, np.int64)
    messy = np.zeros(count, np.bool_)
    last = np.full(count, _NEVER)
    for piece in ordered:
        ranks = piece.ranks
        messy[ranks] |= last[ranks] >= piece.times_ms[0]
        last[ranks] = np.maximum(last[ranks], piece.times_ms[-1])
        counts[ranks] += len(piece.times_ms) if piece.presence is None else piece.presence.sum(axis=1)
    return counts, messy


def _merge_messy(ordered: Sequence[Piece], messy: BoolArray) -> dict[int, tuple[Int64Array, Float64Array]]:
    parts: dict[int, tuple[list[Int64Array], list[Float64Array]]] = {}
    if not messy.any():
        return {}
    for piece in ordered:
        for row in np.flatnonzero(messy[piece.ranks]).tolist():
            times, values = _row(piece, row)
            lists = parts.setdefault(int(piece.ranks[row]), ([], []))
            lists[0].append(times)
            lists[1].append(values)
    return {rank: merge_row(times, values) for rank, (times, values) in parts.items()}


def _row(piece: Piece, row: int) -> tuple[Int64Array, Float64Array]:
    if piece.presence is None:
        return piece.times_ms, piece.values[row]
    here = piece.presence[row]
    return piece.times_ms[here], piece.values[row][here]


def _place(piece: Piece, messy: BoolArray, fill: Int64Array, times_ms: Int64Array, values: Float64Array) -> None:
    """Copy the clean rows of a piece to where they belong; `fill` moves on."""
    ranks = piece.ranks
    starts = fill[ranks].tolist()
    dirty = messy[ranks].tolist()
    for row, start in enumerate(starts):
        if dirty[row]:
            continue
        row_times, row_values = _row(piece, row)
        end = start + len(row_times)
        times_ms[start:end] = row_times
        values[start:end] = row_values
        fill[ranks[row]] = end
