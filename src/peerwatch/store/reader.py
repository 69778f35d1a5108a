"""StoreReader: the files of a store, read and never written: for an audit of a snapshot or of a stopped hub."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from peerwatch.errors import CorruptionError, StoreError
from peerwatch.model import Int64Array, Labels, Marks, Matrix
from peerwatch.store.block import Block, open_block
from peerwatch.store.block_set import block_numbers
from peerwatch.store.checkpoint import read_checkpoint
from peerwatch.store.damage import Damage
from peerwatch.store.dictionary import Dictionary
from peerwatch.store.dictionary_log import DictionaryLog
from peerwatch.store.disk import Disk
from peerwatch.store.entry import EnvelopeRecord, RecordType, RowsPart, decode_envelope_record, decode_rows
from peerwatch.store.intake import DecodeEnvelope, context_of
from peerwatch.store.page_cache import BlockCaches
from peerwatch.store.provenance import ProvenanceColumns, RunRoot
from peerwatch.store.record import Record
from peerwatch.store.retention import FOREVER_MS
from peerwatch.store.selection import Rows, Wanted
from peerwatch.store.wal import Segment, read_segment, segment_numbers
from peerwatch.telemetry import CollectorRegistry, Counter

_PAGE_BYTES = 64 << 20
_FOREVER_MS = 1 << 62


@dataclass(frozen=True, slots=True)
class Window:
    """All blocks of one span of time [start_ms, end_ms)."""

    start_ms: int
    end_ms: int
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class LoggedBatch:
    """An envelope in the WAL, with the samples that it holds; `place` is its file and offset."""

    record: EnvelopeRecord
    matrices: Sequence[Matrix]
    place: str


@dataclass(frozen=True, slots=True)
class Cells:
    """Samples of series, back to back: run i is of series `ids[i]`, from `offsets[i]` to `offsets[i + 1]`.

    `timelines`: runs with the same number have the very same times; None where that is not known.
    """

    ids: Int64Array
    offsets: Int64Array
    times_ms: Int64Array
    values: np.ndarray[tuple[int], np.dtype[np.float64]]
    timelines: Int64Array | None


class StoreReader:
    """Reads blocks, WAL and dictionary of `folder`. The caller sees to it that nobody changes them meanwhile.

    Damage is noted and gone round; `damage` tells where. Raises StoreError for a folder that is no store.
    """

    def __init__(self, folder: Path, decode: DecodeEnvelope, disk: Disk | None = None) -> None:
        self._disk = disk or Disk()
        self._folder = folder
        self._decode = decode
        counter = Counter("peerwatch_reader_damage", "Damaged places met.", registry=CollectorRegistry())
        self.damage = Damage(counter)
        if "blocks" not in self._disk.names(folder):
            raise StoreError(f"{folder} is no store: it has no folder `blocks`")
        self._caches = BlockCaches.of(_PAGE_BYTES, 0)
        self.dictionary = Dictionary(DictionaryLog(self._disk, folder, self.damage, reads_only=True))
        self.dictionary.widen(self.dictionary.ranges()[0], -_FOREVER_MS, _FOREVER_MS)  # when is seen in the blocks
        found = self._open_blocks()
        self._segments = self._unclaimed({number for block in found for number in block.footer.wal})
        checkpoint = read_checkpoint(self._disk, folder)
        horizons = [block.footer.horizon_ms for block in found] + [checkpoint.horizon_ms if checkpoint else FOREVER_MS]
        self.horizon_ms = max(horizons)
        self._checkpoint_marks = checkpoint.marks if checkpoint else Marks()
        self.blocks = self._live(found)

    def _open_blocks(self) -> list[Block]:
        folder = self._folder / "blocks"
        found = []
        for number in block_numbers(self._disk.names(folder)):
            try:
                found.append(open_block(self._disk, folder, number, self._caches))
            except CorruptionError as error:
                self.damage.note("block unreadable", str(error))
        return found

    def _live(self, found: list[Block]) -> list[Block]:
        """As recovery does: without what was replaced, what is too old, and what a flush that did not finish left."""
        replaced = {number for block in found for number in block.footer.replaces}
        here = {one.number for one in self._segments}
        return [
            block
            for block in found
            if block.number not in replaced
            and block.footer.window_end > self.horizon_ms
            and not (block.footer.from_wal and not block.footer.wal and here.issuperset(block.footer.from_wal))
        ]

    def windows(self) -> list[Window]:
        """By time."""
        ordered = sorted(self.blocks, key=lambda one: (one.footer.window_start, one.footer.window_end, one.number))
        groups = groupby(ordered, key=lambda one: (one.footer.window_start, one.footer.window_end))
        return [Window(start, end, tuple(blocks)) for (start, end), blocks in groups]

    def provenance(self, window: Window) -> ProvenanceColumns:
        """Which batches have samples in a window."""
        parts = []
        for block in window.blocks:
            with block.opened() as opened:
                try:
                    parts.append(opened.provenance())
                except CorruptionError as error:
                    self.damage.note("provenance unreadable", str(error))
        return ProvenanceColumns.union(parts)

    def run_roots(self, window: Window) -> list[RunRoot]:
        """The signed runs that lie in a window's blocks."""
        roots: list[RunRoot] = []
        for block in window.blocks:
            with block.opened() as opened:
                try:
                    roots += opened.run_roots()
                except CorruptionError as error:
                    self.damage.note("run roots unreadable", str(error))
        return roots

    def cells(self, windows: Sequence[Window], ids: Int64Array, start_ms: int, end_ms: int) -> Cells:
        """What the blocks of some windows have of the ascending `ids`, each cell once, in [start_ms, end_ms]."""
        numbers = [Labels((("", str(number)),)) for number in range(len(ids))]
        rows = Rows(Wanted(ids, np.arange(len(ids)), numbers, start_ms, end_ms))
        rows.add_blocks([block for window in windows for block in window.blocks], self.damage)
        found = rows.to_series_set()
        ranks = np.array([int(labels.get("")) for labels in found.labels], np.int64)
        return Cells(ids[ranks], found.offsets, found.times_ms, found.values, found.timelines)

    def marks(self) -> Marks:
        """The numbers of everything that was ever stored and is within retention, as far as anything tells of them."""
        marks = self._checkpoint_marks.copy()
        for block in self.blocks:
            with block.opened() as opened:
                try:
                    marks.update(opened.marks())
                except CorruptionError as error:
                    self.damage.note("marks unreadable", str(error))
        for batch in self.logged():
            marks.add(batch.record.sender, batch.record.epoch, batch.record.seq)
        return marks

    # ---- the WAL

    def logged(self) -> Iterator[LoggedBatch]:
        """Every envelope that is not in a block yet, each number once."""
        seen = Marks()
        for segment in self._segments:
            records = self._records(segment)
            context = context_of(records)
            for record in records:
                if record.type != RecordType.ENVELOPE:
                    continue
                place = f"{segment.path} at {record.offset}"
                try:
                    told = decode_envelope_record(record.payload)
                    if not seen.contains(told.sender, told.epoch, told.seq):
                        seen.add(told.sender, told.epoch, told.seq)
                        yield LoggedBatch(told, self._decode(told.raw, context), place)
                except Exception as error:  # whatever a decoder makes of one record must not hide the others
                    self.damage.note("record unreadable", f"{place}: {error!r}")

    def logged_rows(self) -> Iterator[RowsPart]:
        """Samples in the WAL that no member signed: remote-written, or made by the hub."""
        for segment in self._segments:
            for record in self._records(segment):
                if record.type == RecordType.ROWS:
                    try:
                        yield from decode_rows(record.payload)
                    except CorruptionError as error:
                        self.damage.note("record unreadable", f"{segment.path} at {record.offset}: {error}")

    def _records(self, segment: Segment) -> Sequence[Record]:
        return segment.scan.records if segment.scan else ()

    def _unclaimed(self, claimed: set[int]) -> list[Segment]:
        """Segments whose samples are in no block: not more than a head may hold."""
        folder = self._folder / "wal"
        found = []
        for number in segment_numbers(self._disk.names(folder)):
            if number in claimed:
                continue
            segment = read_segment(self._disk, folder, number)
            if segment.scan is None:
                self.damage.note("segment unreadable", str(segment.path))
            else:
                for start, end in segment.scan.gaps:
                    self.damage.note("segment damaged", f"{segment.path} at {start} to {end}")
            found.append(segment)
        return found
