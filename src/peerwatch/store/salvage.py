"""Salvage: what can still be read of a damaged block, written to a new one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import numpy as np

from peerwatch.errors import CorruptionError
from peerwatch.model import Int64Array, Marks
from peerwatch.store.block import OpenBlock, split_slots
from peerwatch.store.block_writer import BlockFacts, BlockWriter
from peerwatch.store.compact import BlockRows
from peerwatch.store.footer import Footer
from peerwatch.store.merge import BlockMerge
from peerwatch.store.page_cache import Columns
from peerwatch.store.provenance import ProvenanceColumns

_T = TypeVar("_T")


def salvage_block(block: OpenBlock, writer: BlockWriter) -> Footer:
    """Every row of which index, timeline and tile are whole. Raises CorruptionError when nothing can be read."""
    rows = readable_rows(block)
    merge = BlockMerge([BlockRows(block, rows)], lambda ids: _tile_order(rows, ids))
    merge.write(writer)
    footer = block.footer
    facts = BlockFacts(
        window_start=footer.window_start,
        window_end=footer.window_end,
        horizon_ms=footer.horizon_ms,
        replaces=footer.replaces,
        wal=footer.wal,
        from_wal=footer.from_wal,
        marks=_or(block.marks, Marks()),
        provenance=_or(block.provenance, ProvenanceColumns.of([])),
        run_roots=_or(block.run_roots, []),
    )
    none: list[bytes] = []
    return writer.finish(facts, _or(lambda: list(block.names()), none))


def readable_rows(block: OpenBlock) -> Columns:
    """(series ids, slots, timelines) of the rows that can be read. Raises CorruptionError without any index."""
    pages: list[Columns] = [(np.empty(0, np.int64),) * 3]
    for page in range(block.page_count):
        pages += _readable(partial(block.page, page))
    ids, slots, lines = (np.concatenate(columns) for columns in zip(*pages, strict=True))
    tiles = [t for t in range(block.tile_count) if _readable(partial(block.tile, t))]
    good_lines = [t for t in range(block.timeline_count) if _readable(partial(block.times, t))]
    kept = np.isin(split_slots(slots)[0], tiles) & np.isin(lines, good_lines)
    return ids[kept], slots[kept], lines[kept]


def _readable(read: Callable[[], _T]) -> Sequence[_T]:
    try:
        return [read()]
    except CorruptionError:
        return []


def _or(read: Callable[[], _T], instead: _T) -> _T:
    found = _readable(read)
    return found[0] if found else instead


def _tile_order(rows: Columns, ids: Int64Array) -> Int64Array:
    """Keeps rows in the tiles in which they were: the dictionary, which knows the keys, may be damaged too."""
    tiles: Int64Array = split_slots(rows[1])[0][np.searchsorted(rows[0], ids)]
    return tiles << 31
