"""fsck: finds damage in a store that nobody has open, and isolates it. Good data is never deleted.

Whatever is taken out of service is moved to `quarantine/`; what can still be read of it is written anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from peerwatch.errors import CorruptionError, StoreError
from peerwatch.store.block import OpenBlock, open_block
from peerwatch.store.block_set import block_numbers
from peerwatch.store.block_writer import BlockWriter
from peerwatch.store.checkpoint import FILE_NAME as CHECKPOINT
from peerwatch.store.checkpoint import decode_checkpoint
from peerwatch.store.dictionary_log import FILE_NAME as DICTIONARY
from peerwatch.store.disk import Disk
from peerwatch.store.footer import block_name
from peerwatch.store.fsck_dictionary import DictionaryCheck
from peerwatch.store.page_cache import BlockCaches
from peerwatch.store.record import encode_file_header, encode_record
from peerwatch.store.salvage import salvage_block
from peerwatch.store.wal import MAGIC as WAL_MAGIC
from peerwatch.store.wal import Segment, read_segment, segment_numbers

_CACHE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Finding:
    """One place that is damaged, and what was done about it (empty: nothing, `repair` was not asked for)."""

    path: Path
    what: str
    action: str = ""


@dataclass(slots=True)
class FsckReport:
    """What was looked at, and what was found."""

    findings: list[Finding] = field(default_factory=list)
    blocks: int = 0
    segments: int = 0
    records: int = 0
    series: int = 0

    @property
    def clean(self) -> bool:
        """Whether nothing is damaged."""
        return not self.findings


def fsck(folder: Path, *, repair: bool, disk: Disk | None = None) -> FsckReport:
    """Check every checksum of the store in `folder`. Raises StoreError when a process has it open or a read fails."""
    disk = disk or Disk()
    lock = disk.lock(folder / "lock")
    try:
        check = _Check(disk, folder, repair)
        check.wal()
        check.blocks()
        check.dictionary()
        check.checkpoint()
        return check.report
    finally:
        disk.close(lock)


class _Check:
    def __init__(self, disk: Disk, folder: Path, repair: bool) -> None:
        self._disk = disk
        self._folder = folder
        self._repair = repair
        self._caches = BlockCaches.of(_CACHE_BYTES, 0)
        self.report = FsckReport()

    def wal(self) -> None:
        folder = self._folder / "wal"
        numbers = segment_numbers(self._disk.names(folder))
        for number in numbers:
            segment = read_segment(self._disk, folder, number)
            self.report.segments += 1
            self.report.records += len(segment.scan.records) if segment.scan else 0
            what = _damage_of(segment, last=number == numbers[-1])
            if what:
                self._answer(segment.path, what, self._rewrite_segment, segment)

    def blocks(self) -> None:
        folder = self._folder / "blocks"
        for number in block_numbers(self._disk.names(folder)):
            path = folder / block_name(number)
            self.report.blocks += 1
            try:
                block = open_block(self._disk, folder, number, self._caches)
            except CorruptionError as error:
                self._answer(path, str(error), self._quarantine, path)
                continue
            with block.opened() as opened:
                found = opened.findings()
                if found:
                    self._answer(path, "; ".join(found), self._salvage, path, opened)

    def dictionary(self) -> None:
        path = self._folder / DICTIONARY
        check = DictionaryCheck(self._disk, self._folder, self._names())
        self.report.series = check.series
        for what in check.findings:
            self.report.findings.append(Finding(path, what, check.action if self._repair else ""))
        if check.findings and self._repair:
            if DICTIONARY in self._disk.names(self._folder):
                self._quarantine(path)
            check.rewrite()

    def checkpoint(self) -> None:
        path = self._folder / CHECKPOINT
        if CHECKPOINT not in self._disk.names(self._folder):
            return
        try:
            decode_checkpoint(self._disk.read(path))
        except CorruptionError as error:
            self._answer(path, str(error), self._quarantine, path)

    def _answer(self, path: Path, what: str, action: Callable[..., str], *arguments: object) -> None:
        self.report.findings.append(Finding(path, what, action(*arguments) if self._repair else ""))

    def _quarantine(self, path: Path) -> str:
        folder = self._folder / "quarantine"
        self._disk.mkdir(folder)
        target = folder / path.name
        copies = 1
        while target.name in self._disk.names(folder):
            target = folder / f"{path.name}.{copies}"
            copies += 1
        self._disk.rename(path, target)
        self._disk.sync_folder(folder)
        self._disk.sync_folder(path.parent)
        return f"moved to quarantine/{target.name}"

    def _without_leftover(self, path: Path) -> Path:
        """An earlier run may have been cut off while it wrote this file."""
        if path.name in self._disk.names(path.parent):
            self._disk.unlink(path)
        return path

    def _rewrite_segment(self, segment: Segment) -> str:
        """The whole records go into a new file of the same name."""
        if segment.scan is None:
            return self._quarantine(segment.path)
        salt = self._disk.salt()
        pieces = [encode_file_header(WAL_MAGIC, salt)]
        for record in segment.scan.records:
            pieces += encode_record(record.type, [bytes(record.payload)], salt)
        fresh = segment.path.with_suffix(".rewritten")
        file = self._disk.create(self._without_leftover(fresh))
        try:
            self._disk.write(file, b"".join(pieces))
            self._disk.sync(file)
        finally:
            self._disk.close(file)
        moved = self._quarantine(segment.path)
        self._disk.rename(fresh, segment.path)
        self._disk.sync_folder(segment.path.parent)
        return f"{len(segment.scan.records)} records written anew, the original {moved}"

    def _salvage(self, path: Path, opened: OpenBlock) -> str:
        """What can be read goes into a new block."""
        numbers = block_numbers(self._disk.names(path.parent))
        target = path.parent / block_name(max(numbers) + 1)
        writer = BlockWriter(self._disk, self._without_leftover(target.with_name(target.name + ".tmp")))
        try:
            footer = salvage_block(opened, writer)
        except CorruptionError:
            writer.discard()
            return self._quarantine(path)
        except StoreError:
            writer.discard()
            raise
        self._disk.rename(writer.path, target)
        self._disk.sync_folder(path.parent)
        return f"{footer.series} series written anew to {target.name}, the original {self._quarantine(path)}"

    def _names(self) -> Iterable[tuple[Path, int, list[bytes]]]:
        """(path, highest series id, chunks of names) of each block that can be read."""
        folder = self._folder / "blocks"
        for number in block_numbers(self._disk.names(folder)):
            try:
                block = open_block(self._disk, folder, number, self._caches)
                with block.opened() as opened:
                    yield block.path, block.footer.top_series, list(opened.names())
            except CorruptionError:
                continue  # reported already


def _damage_of(segment: Segment, *, last: bool) -> str:
    if segment.scan is None:
        return "both headers are damaged, nothing in it can be read"
    gaps = [*segment.scan.gaps]
    if segment.scan.torn and not last:
        gaps.append((segment.scan.good_end, segment.scan.size))
    return "; ".join(f"bytes {start} to {end} are no record" for start, end in gaps)
