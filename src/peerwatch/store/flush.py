"""Flush: a frozen generation becomes blocks, one per window of time."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np

from peerwatch.errors import StoreError
from peerwatch.model import Int64Array, Marks
from peerwatch.store.block_writer import BlockFacts, BlockWriter
from peerwatch.store.cells import Columns, MergeCounts
from peerwatch.store.disk import Disk
from peerwatch.store.generation import Generation
from peerwatch.store.merge import BlockMerge, Input, Row
from peerwatch.store.provenance import ProvenanceColumns


class HeadSlice:
    """The ticks of one layout within one window, as rows to merge. Series without a sample there are left out."""

    def __init__(self, series_ids: Int64Array, columns: Columns) -> None:
        self._times = columns.times_ms
        self._values = columns.values.T
        self._presence = None if columns.presence is None else columns.presence.T
        self._kept = np.arange(len(series_ids))
        if columns.presence is not None:
            self._kept = np.flatnonzero(columns.presence.any(axis=0))
        self.series_ids = series_ids[self._kept]
        self.timelines = np.zeros(len(self._kept), np.int64)

    def times(self, timeline: int) -> Int64Array:
        """There is one timeline."""
        return self._times

    def row(self, row: int) -> Row:
        """A view."""
        at = self._kept[row]
        return self._values[at], None if self._presence is None else self._presence[at]


def window_start(time_ms: int, span_ms: int) -> int:
    """Start of the window that holds `time_ms`."""
    return time_ms // span_ms * span_ms


def slices_by_window(generation: Generation, span_ms: int, horizon_ms: int) -> dict[int, list[Input]]:
    """Window start -> rows; ticks before the horizon are left out."""
    found: dict[int, list[Input]] = {}
    for head in generation.heads.values():
        columns = head.columns()
        windows = columns.times_ms // span_ms
        cuts = [0, *(np.flatnonzero(np.diff(windows)) + 1).tolist(), len(windows)]
        for low, high in pairwise(cuts):
            start = int(windows[low]) * span_ms
            if start + span_ms > horizon_ms:
                piece = HeadSlice(head.series_ids, columns.between(low, high))
                if len(piece.series_ids):
                    found.setdefault(start, []).append(piece)
    return found


class Flush:
    """Writes the blocks of one generation under temporary names; publishing them is the caller's."""

    def __init__(self, disk: Disk, span_ms: int, horizon_ms: int, keys_of: Callable[[Int64Array], Int64Array]) -> None:
        self._disk = disk
        self._span_ms = span_ms
        self._horizon_ms = horizon_ms
        self._keys_of = keys_of
        self.counts = MergeCounts()

    def write(self, generation: Generation, now_ms: int, path_of: Callable[[], Path]) -> list[BlockWriter]:
        """Blocks by ascending window; the last one carries marks and names the WAL segments.

        When nothing is left to store but marks, it is a block without samples. Raises StoreError; then nothing is left.
        """
        slices = slices_by_window(generation, self._span_ms, self._horizon_ms)
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

    def _block(self, writer: BlockWriter, inputs: list[Input], facts: BlockFacts) -> None:
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
