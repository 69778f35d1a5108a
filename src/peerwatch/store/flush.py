"""Flush: a frozen generation becomes blocks, one per window of time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from peerwatch.errors import StoreError
from peerwatch.model import Int64Array, Marks
from peerwatch.store.block_writer import BlockFacts, BlockWriter
from peerwatch.store.cells import MergeCounts
from peerwatch.store.disk import Disk
from peerwatch.store.generation import Generation
from peerwatch.store.merge import BlockMerge, Input
from peerwatch.store.provenance import ProvenanceColumns
from peerwatch.store.slab import make_slabs, rows_by_window


def window_start(time_ms: int, span_ms: int) -> int:
    """Start of the window that holds `time_ms`."""
    return time_ms // span_ms * span_ms


class Flush:
    """Writes the blocks of one generation under temporary names; publishing them is the caller's."""

    def __init__(self, disk: Disk, span_ms: int, horizon_ms: int, keys_of: Callable[[Int64Array], Int64Array]) -> None:
        self._disk = disk
        self._span_ms = span_ms
        self._horizon_ms = horizon_ms
        self._keys_of = keys_of
        self.counts = MergeCounts()

    def write(
        self, generation: Generation, lock: threading.Lock, now_ms: int, path_of: Callable[[], Path]
    ) -> list[BlockWriter]:
        """Blocks by ascending window; the last one carries marks and names the WAL segments.

        When nothing is left to store but marks, it is a block without samples. Raises StoreError; then nothing is left.
        """
        slices = rows_by_window(make_slabs(generation.heads.values(), lock), self._span_ms, self._horizon_ms)
        provenance = ProvenanceColumns.of(generation.provenance)
        windows = sorted(slices) or [window_start(max(now_ms, self._horizon_ms), self._span_ms)]
        writers: list[BlockWriter] = []
        try:
            for window in windows:
                facts = self._facts(window, generation, provenance, final=window == windows[-1])
                writers.append(BlockWriter(self._disk, path_of()))
                self._block(writers[-1], slices.get(window, []), facts)
        except StoreError:
            for writer in writers:
                writer.discard()
            raise
        return writers

    def _block(self, writer: BlockWriter, inputs: Sequence[Input], facts: BlockFacts) -> None:
        if inputs:
            merge = BlockMerge(inputs, self._keys_of)
            merge.write(writer)
            self.counts.duplicates += merge.counts.duplicates
            self.counts.conflicts += merge.counts.conflicts
        writer.finish(facts)

    def _facts(self, window: int, generation: Generation, provenance: ProvenanceColumns, *, final: bool) -> BlockFacts:
        end = window + self._span_ms
        return BlockFacts(
            window_start=window,
            window_end=end,
            horizon_ms=self._horizon_ms,
            replaces=generation.strays if final else (),
            wal=generation.segments if final else (),
            from_wal=generation.segments,
            marks=generation.marks if final else Marks(),
            provenance=provenance.between(window, end),
            run_roots=generation.run_roots if final else (),
        )
