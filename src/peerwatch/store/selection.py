"""Selection: from rows of blocks and heads to one SeriesSet. Plain functions of arrays."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peerwatch.errors import CorruptionError, LimitError
from peerwatch.model import BoolArray, Float64Array, Int64Array, Labels, SeriesSet
from peerwatch.store.block import Block, OpenBlock, split_slots
from peerwatch.store.cells import merge_row
from peerwatch.store.damage import Damage
from peerwatch.store.head import HeadView
from peerwatch.store.strip import Strip, StripBuilder, Ticks
from peerwatch.store.tile import Tile

_FEW_SAMPLES = 32
_FEW_SERIES = 256
_MOST_BYTES = 1 << 20  # of one block, to be kept
_SOME_BLOCKS = 4  # from which on it pays to keep them together
_MOST_TOGETHER = 4 << 20
_FEW_RUNS = 16  # of a strip
_TOO_LARGE: Int64Array = np.zeros(1, np.int64)
_FOREVER_MS = 1 << 62
_APART = 1 << 40  # more ticks than a block has
_TILE_ROWS = 32  # of most tiles
_STRIP_CELLS = 1 << 16  # copied together: enough to pay for the calls, and what they need on the side stays in a cache


@dataclass(frozen=True, slots=True)
class Wanted:
    """The series that a read asks for. ids ascend; rank[i] is the place of ids[i] in the answer (sorted by labels)."""

    ids: Int64Array
    rank: Int64Array
    labels: list[Labels]
    start_ms: int
    end_ms: int

    def between(self) -> Callable[[int, int], bool]:
        """Whether some of the ids lie in a range, both ends inclusive."""
        ids = self.ids.tolist()
        return lambda first, last: bisect_left(ids, first) < bisect_right(ids, last)

    def find(self, series_ids: Int64Array) -> tuple[Int64Array, Int64Array]:
        """(positions in `series_ids`, ranks) of the wanted ones among `series_ids`."""
        if not len(self.ids) or not len(series_ids):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        at = np.minimum(np.searchsorted(self.ids, series_ids), len(self.ids) - 1)
        rows = np.flatnonzero(self.ids[at] == series_ids)
        return rows, self.rank[at[rows]]


class Rows:
    """What a read has gathered: strips of runs, each of one series. Owned by that read; bounded by `max_samples`."""

    def __init__(self, wanted: Wanted, max_samples: int | None = None) -> None:
        self.wanted = wanted
        self._max = max_samples
        self._held = 0
        self._strips: list[Strip] = []
        self._merged = False
        self._name = wanted.ids.tobytes().hex() if len(wanted.ids) <= _FEW_SERIES else ""

    def _count(self, samples: int) -> None:
        self._held += samples
        if self._max is not None and self._held > self._max:
            raise LimitError(f"the query reads more than {self._max} samples; narrow its selectors or its range")

    def _keep(self, strip: Strip) -> None:
        self._count(int(strip.counts.sum()))
        self._strips.append(strip)

    def add_head(self, series_ids: Int64Array, head: HeadView) -> None:
        """What a head has; copies, so the head may go on. Raises LimitError for a sample too many."""
        wanted = self.wanted
        rows, ranks = wanted.find(series_ids)
        if not len(rows):
            return
        columns = head.columns()
        ticks = Ticks.of([columns.times_ms], wanted.start_ms, wanted.end_ms)
        if not ticks.counts[0]:
            return
        values = np.ascontiguousarray(columns.values[:, rows].T)
        presence = None if columns.presence is None else columns.presence[:, rows].T
        builder = StripBuilder(ticks)
        builder.add(ranks, np.zeros(len(rows), np.int64), values, presence)
        if builder.cells:
            self._keep(builder.strip())

    def add_blocks(self, blocks: Sequence[Block], damage: Damage) -> None:
        """What blocks have; see `add_block`."""
        wanted = self.wanted
        rest = sorted(blocks, key=lambda block: block.footer.first_ms)
        if self._name:
            low, high = wanted.start_ms, wanted.end_ms
            inner = [block for block in rest if block.footer.first_ms >= low and block.footer.last_ms <= high]
            kept = self._kept_together(inner) if len(inner) >= _SOME_BLOCKS else None
            if kept is not None:
                self._keep(kept.ranked(wanted.rank))
                rest = [block for block in rest if block not in inner]
        for block in rest:
            self.add_block(block, damage)

    def _kept_together(self, blocks: Sequence[Block]) -> Strip | None:
        """What dashboards of days ask for at every refresh: few series over many blocks, one run of each."""
        name = f"{self._name}:{','.join(str(block.number) for block in blocks)}"
        columns = blocks[0].kept(name, lambda: _together(blocks, self.wanted.ids))
        return Strip(*columns) if len(columns) > 1 else None

    def add_block(self, block: Block, damage: Damage) -> None:
        """What a block has. A damaged tile is left out, counted and logged; the rest of the block is read.

        Raises LimitError for a sample too many.
        """
        wanted = self.wanted
        with block.opened() as opened:
            narrow = self._narrow(opened)
            for strip in self._wide(opened, damage) if narrow is None else narrow:
                self._keep(strip.ranked(wanted.rank))

    def _wide(self, opened: OpenBlock, damage: Damage) -> Iterator[Strip]:
        wanted = self.wanted
        return read_strips(opened, wanted.ids, (wanted.start_ms, wanted.end_ms), damage)

    def _narrow(self, opened: OpenBlock) -> list[Strip] | None:
        """What a dashboard asks for at every refresh: few series, which are kept as they are in the block.

        None for many series, and for those of which something is damaged.
        """
        ids = self.wanted.ids
        if len(ids) > _FEW_SERIES:
            return None
        try:
            columns = opened.kept(self._name, lambda: _whole(opened, ids))
        except CorruptionError:
            return None
        if len(columns) <= 1:
            return [] if not columns else None
        strip, footer = Strip(*columns), opened.footer
        if footer.first_ms < self.wanted.start_ms or footer.last_ms > self.wanted.end_ms:
            strip = strip.between(self.wanted.start_ms, self.wanted.end_ms)
        return [strip] if len(strip.ranks) else []

    def to_series_set(self) -> SeriesSet:
        """All runs as one set: sorted, each cell once, series without samples left out."""
        if not self._strips:
            return SeriesSet([], np.empty(0, np.int64), np.empty(0), np.zeros(1, np.int64))
        if sum(len(strip.ranks) for strip in self._strips) < _FEW_RUNS * len(self._strips):
            self._strips = [Strip.joined(self._strips)]
        if len(self._strips) == 1 and len(self._strips[0].ranks) == 1:
            return self._single(self._strips[0])
        ranks, counts, order, clash = self._ordered()
        if clash.any():
            self._merge(np.unique(ranks[order][1:][clash]))
            ranks, counts, order, _ = self._ordered()
        ends = np.cumsum(counts[order])
        at = np.empty(len(order), np.int64)
        at[order] = ends - counts[order]
        last = np.append(np.diff(ranks[order]) > 0, True)
        offsets = np.concatenate((np.zeros(1, np.int64), ends[last]))
        timelines = self._timelines(order, last, int(ends[-1]))
        labels = self._labels(ranks[order][last])
        return SeriesSet(labels, *self._copied(at, int(ends[-1])), offsets, timelines=timelines)

    def _copied(self, at: Int64Array, size: int) -> tuple[Int64Array, Float64Array]:
        """(times, values) with run i where `at[i]` points to. Strips go as they are copied: a large read holds less."""
        times, values = np.empty(size, np.int64), np.empty(size)
        first = 0
        while self._strips:
            strip = self._strips.pop(0)
            strip.copy_to(times, values, at[first : first + len(strip.ranks)])
            first += len(strip.ranks)
        return times, values

    def _single(self, strip: Strip) -> SeriesSet:
        times, values = strip.run(0)
        offsets = np.array([0, len(times)], np.int64)
        return SeriesSet(self._labels(strip.ranks), times.copy(), values.copy(), offsets)

    def _labels(self, ranks: Int64Array) -> list[Labels]:
        labels = self.wanted.labels
        return labels if len(ranks) == len(labels) else [labels[rank] for rank in ranks.tolist()]

    def _timelines(self, order: Int64Array, last: BoolArray, samples: int) -> Int64Array | None:
        """Which series have the same runs of ticks, where comparing these is cheaper than comparing the ticks."""
        if self._merged or samples < _FEW_SAMPLES * len(order):
            return None
        bases: dict[int, int] = {}
        sources = [bases.setdefault(id(one.times), len(bases)) * _APART + one.times_at for one in self._strips]
        counts = np.concatenate([strip.counts for strip in self._strips])
        runs = np.stack((np.concatenate(sources)[order], counts[order]), axis=1)
        packed, width = runs.tobytes(), runs.itemsize * 2
        ends = ((np.flatnonzero(last) + 1) * width).tolist()
        known: dict[bytes, int] = {}
        found = [known.setdefault(packed[start:end], len(known)) for start, end in pairwise([0, *ends])]
        return np.array(found, np.int64)

    def _ordered(self) -> tuple[Int64Array, Int64Array, Int64Array, BoolArray]:
        """(ranks, lengths, order by series and time, which runs of that order overlap the next one)."""
        ranks = np.concatenate([strip.ranks for strip in self._strips])
        counts = np.concatenate([strip.counts for strip in self._strips])
        firsts = np.concatenate([strip.firsts for strip in self._strips])
        lasts = np.concatenate([strip.lasts for strip in self._strips])
        order = np.lexsort((firsts, ranks))
        sorted_ranks = ranks[order]
        clash = (sorted_ranks[1:] == sorted_ranks[:-1]) & (firsts[order[1:]] <= lasts[order[:-1]])
        return ranks, counts, order, clash

    def _merge(self, messy: Int64Array) -> None:
        """Series of which two runs overlap in time become one run each: the same cell may be in both."""
        runs: dict[int, list[tuple[Int64Array, Float64Array]]] = {rank: [] for rank in messy.tolist()}
        strips = []
        for strip in self._strips:
            clash = np.isin(strip.ranks, messy)
            for row in np.flatnonzero(clash).tolist():
                runs[int(strip.ranks[row])].append(strip.run(row))
            strips.append(strip.take(~clash))
        for rank, parts in runs.items():
            times, values = merge_row([times for times, _ in parts], [values for _, values in parts])
            start = np.zeros(1, np.int64)
            length = np.array([len(times)], np.int64)
            strips.append(Strip(np.array([rank], np.int64), length, times, start, values, start))
        self._strips, self._merged = strips, True


def _together(blocks: Sequence[Block], ids: Int64Array) -> tuple[NDArray[Any], ...]:
    """The columns of one strip of everything that blocks have of these series, a run of each; one column that only
    says so, when that is nothing, too much to be kept, or damaged."""
    numbers = [Labels((("", str(number)),)) for number in range(len(ids))]
    rows = Rows(Wanted(ids, np.arange(len(ids)), numbers, -_FOREVER_MS, _FOREVER_MS))
    for block in blocks:
        with block.opened() as opened:
            strips = rows._narrow(opened)
            if strips is None:
                return (_TOO_LARGE,)
            rows._strips += strips
    found = rows.to_series_set()
    if not len(found.labels) or found.values.nbytes > _MOST_TOGETHER:
        return (_TOO_LARGE,)
    ranks = np.array([int(labels.get("")) for labels in found.labels], np.int64)
    at, times = found.offsets[:-1], found.times_ms
    if found.timelines is None:
        return ranks, np.diff(found.offsets), times, at, found.values, at
    _, leaders, which = np.unique(found.timelines, return_index=True, return_inverse=True)
    lengths = np.diff(found.offsets)[leaders]
    times = np.concatenate([times[start : start + length] for start, length in zip(at[leaders], lengths, strict=True)])
    return ranks, np.diff(found.offsets), times, (np.cumsum(lengths) - lengths)[which], found.values, at


def _whole(opened: OpenBlock, ids: Int64Array) -> tuple[NDArray[Any], ...]:
    """The columns of one strip of everything that a block has of these series; none, when it has none of them; one
    that only says so, when that is too much to be kept. Raises CorruptionError."""
    for strip in read_strips(opened, ids, (-_FOREVER_MS, _FOREVER_MS), None):
        columns = strip.ranks, strip.counts, strip.times, strip.times_at, strip.values, strip.values_at
        if strip.times.nbytes + strip.values.nbytes > _MOST_BYTES:
            return (_TOO_LARGE,)
        return tuple(column if column.base is None else column.copy() for column in columns)
    return ()


def read_strips(
    opened: OpenBlock, ids: Int64Array, range_ms: tuple[int, int], damage: Damage | None
) -> Iterator[Strip]:
    """What a block has of the series `ids`, ranked as they come: one strip of all, without `damage`, and
    CorruptionError where something is damaged; otherwise strips of a handy size, and what is damaged is noted."""
    positions, slots, lines = opened.find(ids)
    if not len(slots):
        return
    distinct, lines = np.unique(lines, return_inverse=True)
    timelines = _timelines(opened, distinct.tolist(), damage)
    ticks = Ticks.of(timelines, *range_ms)
    order = np.argsort(slots)  # by tile, then by row
    order = order[ticks.counts[lines[order]] > 0]
    tiles, rows = split_slots(slots[order])
    lines, positions = lines[order], positions[order]
    cuts = [0, *(np.flatnonzero(tiles[1:] != tiles[:-1]) + 1).tolist(), len(order)]
    wanted = [(int(tiles[low]), slice(low, high)) for low, high in pairwise(cuts if len(order) else [])]
    together = max(1, _STRIP_CELLS // (_TILE_ROWS * max(map(len, timelines))))
    builder = StripBuilder(ticks)
    for at in range(0, len(wanted), together):
        for tile, chosen in _decoded(opened, wanted[at : at + together], rows, damage):
            builder.add(positions[chosen], lines[chosen], tile.values, tile.presence)
        if builder.cells >= _STRIP_CELLS and damage is not None:
            yield builder.strip()
            builder = StripBuilder(ticks)
    if builder.cells:
        yield builder.strip()


def _decoded(
    opened: OpenBlock, wanted: list[tuple[int, slice]], rows: Int64Array, damage: Damage | None
) -> Iterator[tuple[Tile, Int64Array | slice]]:
    """Rows of tiles, and which of all rows they are."""
    try:
        for numbers, tile in opened.tiles([(number, rows[part]) for number, part in wanted]):
            parts = [wanted[number][1] for number in numbers]
            one = parts[0]
            yield tile, one if len(parts) == 1 else np.concatenate([np.arange(p.start, p.stop) for p in parts])
    except CorruptionError as error:
        if damage is None:
            raise
        if len(wanted) == 1:
            damage.note("samples unreadable", str(error))
            return
        for single in wanted:  # the damaged one alone is left out
            yield from _decoded(opened, [single], rows, damage)


def _timelines(opened: OpenBlock, lines: list[int], damage: Damage | None) -> list[Int64Array]:
    """Their ticks; none of a damaged one."""
    try:
        return opened.timelines(lines)
    except CorruptionError:
        if damage is None:
            raise
        return [_readable(opened, line, damage) for line in lines]


def _readable(opened: OpenBlock, line: int, damage: Damage) -> Int64Array:
    try:
        return opened.times(line)
    except CorruptionError as error:
        damage.note("samples unreadable", str(error))
        return np.empty(0, np.int64)
