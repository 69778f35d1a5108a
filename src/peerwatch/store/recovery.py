"""Recovery: from the files of a folder to a view that has each acknowledged sample exactly once."""

from __future__ import annotations

from pathlib import Path

from peerwatch.errors import CorruptionError
from peerwatch.store.block import Block
from peerwatch.store.checkpoint import Checkpoint, read_checkpoint
from peerwatch.store.config import StoreConfig
from peerwatch.store.damage import Damage
from peerwatch.store.dictionary import Dictionary
from peerwatch.store.disk import Disk
from peerwatch.store.intake import DecodeEnvelope, Intake, Replay
from peerwatch.store.segment_bin import SegmentBin
from peerwatch.store.view import View
from peerwatch.store.wal import Segment, Wal, read_segment, segment_numbers
from peerwatch.telemetry import get_logger

_KEPT_FILES = 64  # tails in quarantine; a machine that crashes every day should not fill its disk with them

_log = get_logger("store.recovery")


class Recovery:
    """Runs once per start, before anything else touches the folder."""

    def __init__(
        self,
        folder: Path,
        *,
        disk: Disk,
        view: View,
        dictionary: Dictionary,
        intake: Intake,
        segments: SegmentBin,
        damage: Damage,
        decode: DecodeEnvelope,
    ) -> None:
        self._folder = folder
        self._disk = disk
        self._view = view
        self._dictionary = dictionary
        self._intake = intake
        self._segments = segments
        self._damage = damage
        self._decode = decode

    def run(self, config: StoreConfig) -> Wal:
        """Blocks first, then the WAL segments that no block claims. Raises StoreError."""
        blocks = self._view.blocks
        blocks.load()
        checkpoint = read_checkpoint(self._disk, self._folder) or Checkpoint.empty(self._view.horizon_ms)
        blocks.reserve(checkpoint.next_block)
        self._view.raise_horizon(max([checkpoint.horizon_ms, *(one.footer.horizon_ms for one in blocks.all())]))
        gone = [one.number for one in blocks.all() if one.footer.window_end <= self._view.horizon_ms]
        blocks.retire(gone)
        self._take_over(checkpoint)
        claimed = {number for one in blocks.all() for number in one.footer.wal}
        numbers = segment_numbers(self._disk.names(self._folder / "wal"))
        self._segments.put(claimed.intersection(numbers))
        named = [number for one in blocks.all() for number in one.footer.from_wal]
        next_number = max([checkpoint.next_segment, *(n + 1 for n in (*numbers, *named, *claimed))])
        self._replay([number for number in numbers if number not in claimed])
        return Wal(self._disk, self._folder / "wal", config, next_number)

    def _take_over(self, checkpoint: Checkpoint) -> None:
        """Marks and ranges: of the checkpoint, and of the blocks that it does not cover."""
        self._view.marks.update(checkpoint.marks)
        self._dictionary.widen_each(checkpoint.ids, checkpoint.first_ms, checkpoint.last_ms)
        covered = set(checkpoint.blocks)
        for block in self._view.blocks.all():
            self._dictionary.reserve(block.footer.top_series + 1)
            if block.number not in covered:
                self._read_block(block)

    def _read_block(self, block: Block) -> None:
        try:
            with block.opened() as opened:
                self._view.marks.update(opened.marks())
                series_ids = opened.rows()[0]
        except CorruptionError as error:
            self._damage.note("block index unreadable", str(error))
            self._view.blocks.suspect.add(block.number)
            return
        if len(series_ids):
            self._dictionary.widen(series_ids, block.footer.first_ms, block.footer.last_ms)

    def _replay(self, numbers: list[int]) -> None:
        view = self._view
        replay = Replay(self._intake, self._dictionary, self._decode, self._damage, view.horizon_ms)
        for number in numbers:
            segment = read_segment(self._disk, self._folder / "wal", number)
            if number == numbers[-1]:
                self._cut_tail(segment)
            replay.segment(segment, view.live, last=number == numbers[-1])
        self._segments.mark_damaged(set(numbers) - replay.clean)
        view.marks.update(view.live.marks)
        view.head_bytes = view.live.size_bytes
        self._drop_unfinished(replay.clean)
        if numbers:
            _log.info("log replayed", segments=len(numbers), entries=replay.entries, damaged=replay.damaged)

    def _cut_tail(self, segment: Segment) -> None:
        """What is behind the last whole record of the last segment was never acknowledged; a copy is kept anyway."""
        if segment.scan is None or not segment.scan.torn:
            return
        end, size = segment.scan.good_end, segment.scan.size
        _log.warning("torn tail cut", segment=str(segment.path), at=end, size_bytes=size - end)
        tail = self._disk.read(segment.path)[end:]
        if tail.strip(b"\0"):
            self._keep(f"{segment.path.name}-{end}.tail", tail)
        file = self._disk.extend(segment.path)
        try:
            self._disk.truncate(file, end)
            self._disk.sync(file)
        finally:
            self._disk.close(file)

    def _keep(self, name: str, data: bytes) -> None:
        folder = self._folder / "quarantine"
        self._disk.mkdir(folder)
        kept = self._disk.names(folder)
        if name in kept or len(kept) >= _KEPT_FILES:
            return
        file = self._disk.create(folder / name)
        try:
            self._disk.write(file, data)
        finally:
            self._disk.close(file)

    def _drop_unfinished(self, clean: set[int]) -> None:
        """A flush that did not finish left some of its blocks: their samples were replayed from the WAL just now."""
        for block in self._view.blocks.all():
            footer = block.footer
            if footer.from_wal and not footer.wal and clean.issuperset(footer.from_wal):
                self._view.blocks.retire([block.number])
