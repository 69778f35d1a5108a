"""Compaction: the blocks of one window become one. A decision (which), and a merge (how)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise

import numpy as np

from peerwatch.model import Float64Array, Int64Array, Labels, Marks
from peerwatch.store.block import Block, OpenBlock, split_slots
from peerwatch.store.block_writer import BlockFacts, BlockWriter
from peerwatch.store.cells import MergeCounts
from peerwatch.store.dictionary_log import SeriesRecord, encode_dictionary_record
from peerwatch.store.merge import BlockMerge, Row, split_rows
from peerwatch.store.page_cache import Columns
from peerwatch.store.provenance import ProvenanceColumns
from peerwatch.store.tile import Tile

WORTH_SHARE = 10  # late blocks are merged into the large one when together they reach a tenth of it
MANY_SMALL = 8  # or, among themselves, when there are this many: so each byte is rewritten a few times at most
MANY_OPEN = 16  # a window that is still written is merged early when a small head budget makes many blocks
_KEPT_TILES = 4  # rows come in the order of tiles, nearly: a few decoded tiles per input are enough
_NAMES_CHUNK = 4096


def choose(blocks: Sequence[Block], closed_before_ms: int) -> list[Block]:
    """The blocks to merge next, all of one window; empty when nothing is worth it. The oldest window goes first."""
    windows: dict[tuple[int, int], list[Block]] = {}
    for block in blocks:
        windows.setdefault((block.footer.window_start, block.footer.window_end), []).append(block)
    for (_, end), group in sorted(windows.items()):
        chosen = _choose_of_window(group, closed=end <= closed_before_ms)
        if chosen:
            return sorted(chosen, key=lambda block: block.number)
    return []


def _choose_of_window(group: Sequence[Block], *, closed: bool) -> list[Block]:
    if len(group) < 2:
        return []
    by_size = sorted(group, key=lambda block: block.size_bytes)
    small, largest = by_size[:-1], by_size[-1]
    if not closed:
        return by_size if len(by_size) >= MANY_OPEN else []
    if sum(block.size_bytes for block in small) * WORTH_SHARE >= largest.size_bytes:
        return by_size
    return small if len(small) >= MANY_SMALL else []


class BlockRows:
    """An open block as rows to merge. Keeps the few tiles decoded last."""

    def __init__(self, block: OpenBlock, rows: Columns) -> None:
        """rows: (series ids, slots, timelines)."""
        self._block = block
        self.series_ids, slots, self.timelines = rows
        self._tiles, self._within = split_slots(slots)
        self._decoded: OrderedDict[int, Tile] = OrderedDict()

    def times(self, timeline: int) -> Int64Array:
        """The ticks of a timeline."""
        return self._block.times(timeline)

    def rows(self, rows: Int64Array) -> list[Row]:
        """Values and presence of each row. Raises CorruptionError."""
        tiles, within = self._tiles[rows], self._within[rows]
        if (tiles == tiles[0]).all():  # the usual case
            tile = self._tile(int(tiles[0]))
            return split_rows(tile.values, tile.presence, within)
        found: list[Row] = []
        order = np.argsort(tiles, kind="stable")  # rows come in the order of tiles, nearly
        cuts = [0, *(np.flatnonzero(np.diff(tiles[order])) + 1).tolist(), len(order)]
        for low, high in pairwise(cuts):
            tile = self._tile(int(tiles[order[low]]))
            found += split_rows(tile.values, tile.presence, within[order[low:high]])
        if (order[1:] < order[:-1]).any():
            back = np.empty(len(order), np.int64)
            back[order] = np.arange(len(order))
            return [found[at] for at in back.tolist()]
        return found

    def _tile(self, number: int) -> Tile:
        tile = self._decoded.get(number)
        if tile is None:
            tile = self._decoded[number] = self._block.tile(number)
            if len(self._decoded) > _KEPT_TILES:
                self._decoded.popitem(last=False)
        return tile

    def take(self, rows: Int64Array) -> Float64Array | None:
        """Rows of tiles have paddings: they are taken one by one."""
        return None


class Compaction:
    """Merges blocks of one window into a new one, under a temporary name; publishing it is the caller's.

    Raises CorruptionError when an input is damaged: then nothing was replaced, and nothing of it is lost.
    """

    def __init__(
        self,
        keys_of: Callable[[Int64Array], Int64Array],
        labels_of: Callable[[Int64Array], list[Labels | None]],
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._keys_of = keys_of
        self._labels_of = labels_of
        self._stopped = stopped
        self.counts = MergeCounts()

    def write(self, writer: BlockWriter, blocks: Sequence[Block], facts: BlockFacts) -> None:
        """Raises StoreError; the caller then discards the writer."""
        with ExitStack() as stack:
            opened = [stack.enter_context(block.opened()) for block in blocks]
            inputs = [BlockRows(block, block.rows()) for block in opened]
            merge = BlockMerge(inputs, self._keys_of)
            merge.write(writer, self._stopped)
            self.counts = merge.counts
            writer.finish(facts, list(self._names(merge.series_ids)))

    def _names(self, series_ids: Int64Array) -> Iterator[bytes]:
        """So that samples stay usable when the dictionary is lost."""
        for start in range(0, len(series_ids), _NAMES_CHUNK):
            ids = series_ids[start : start + _NAMES_CHUNK]
            known = [(i, one) for i, one in zip(ids.tolist(), self._labels_of(ids), strict=True) if one is not None]
            keys = self._keys_of(np.array([i for i, _ in known], np.int64)).tolist()
            yield encode_dictionary_record(
                SeriesRecord.of(0, [one for _, one in known], keys, {}, [i for i, _ in known])
            )


def merged_facts(
    blocks: Sequence[Block], retired: Sequence[int], segments: Sequence[int], horizon_ms: int
) -> BlockFacts:
    """What the merged block says about itself.

    It inherits what its inputs replaced as far as those files are still there (`retired` blocks, WAL `segments`): else
    a leftover would come back to life when the block that named it is gone.
    """
    marks = Marks()
    provenance, roots = [], []
    for block in blocks:
        with block.opened() as opened:
            marks.update(opened.marks())
            provenance.append(opened.provenance())
            roots += opened.run_roots()
    inherited = {number for block in blocks for number in block.footer.replaces} & set(retired)
    claimed = {number for block in blocks for number in block.footer.wal} & set(segments)
    return BlockFacts(
        window_start=blocks[0].footer.window_start,
        window_end=blocks[0].footer.window_end,
        horizon_ms=horizon_ms,
        replaces=sorted({block.number for block in blocks} | inherited),
        wal=sorted(claimed),
        marks=marks,
        provenance=ProvenanceColumns.union(provenance),
        run_roots=roots,
    )
