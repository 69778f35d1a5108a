"""Wal: what was acknowledged and is not yet in a block. Numbered segments of records; see docs/formats/wal.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from peerwatch.errors import StoreError
from peerwatch.store.config import StoreConfig
from peerwatch.store.disk import Disk, DiskFile
from peerwatch.store.entry import RecordType, encode_context
from peerwatch.store.record import (
    FILE_HEADER_BYTES,
    FORMAT_VERSION,
    Scan,
    decode_file_header,
    encode_file_header,
    encode_record,
    scan,
)
from peerwatch.telemetry import get_logger

MAGIC = b"PWWALSEG"
SUFFIX = ".wal"

_log = get_logger("store.wal")


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment read back. `scan` is None when its header is gone: nothing in it can be trusted or read.

    A file shorter than its header is an empty segment: the crash came before anything in it was acknowledged.
    """

    number: int
    path: Path
    scan: Scan | None


def segment_name(number: int) -> str:
    """File name of segment `number`."""
    return f"{number:010d}{SUFFIX}"


def segment_numbers(names: Sequence[str]) -> list[int]:
    """Numbers of the segments among file names, ascending."""
    stems = [name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX)]
    return sorted(int(stem) for stem in stems if stem.isdigit())


def read_segment(disk: Disk, folder: Path, number: int) -> Segment:
    """Read one segment. Raises StoreError when the file cannot be read or has a format of the future."""
    path = folder / segment_name(number)
    data = disk.read(path)
    header = decode_file_header(data, MAGIC)
    if header is None:
        return Segment(number, path, Scan(size=0) if len(data) < FILE_HEADER_BYTES else None)
    version, salt = header
    if version > FORMAT_VERSION:
        raise StoreError(f"{path} has format {version}, this peerwatch reads up to {FORMAT_VERSION}")
    return Segment(number, path, scan(data, salt))


class Wal:
    """The end of the log that is written. Its owner is the store, which calls from one thread at a time.

    A record counts once `append` has returned. After a failed write the tail is cut off; after a failed fsync the
    file is never trusted again: the next append starts a new segment. What a refused append left behind may come
    back after a crash, so senders repeat it unchanged (same number, or same cells): storing it twice changes nothing.
    """

    def __init__(self, disk: Disk, folder: Path, config: StoreConfig, next_number: int) -> None:
        self._disk = disk
        self._folder = folder
        self._segment_bytes = config.segment_bytes
        self._next_number = next_number
        self._file: DiskFile | None = None
        self._salt = 0
        self._size = 0
        self._numbers: list[int] = []
        self._context: set[bytes] = set()

    @property
    def next_number(self) -> int:
        """The number that the next new segment gets; numbers are never used twice."""
        return self._next_number

    def append(
        self, records: Sequence[tuple[int, Sequence[bytes]]], context: Iterable[tuple[bytes, bytes]] = ()
    ) -> int:
        """Make the records (type, payload pieces) durable with one write and one fsync; returns the bytes written.

        `context`: (name, content) of what records cannot be read without; a segment keeps each, twice in a row, so that
        damage in one place costs none. Raises StoreError or DiskFullError; then none of the records counts.
        """
        file = self._file or self._start_segment()
        pieces: list[bytes] = []
        new = {name: content for name, content in context if name not in self._context}
        for name, content in new.items():
            pieces += 2 * encode_record(RecordType.CONTEXT, [encode_context(name, content)], self._salt)
        for record_type, payload in records:
            pieces += encode_record(record_type, payload, self._salt)
        data = b"".join(pieces)
        try:
            self._disk.write(file, data)
        except StoreError:
            self._cut_tail(file)
            raise
        try:
            self._disk.sync(file)
        except StoreError:
            self._abandon(file)
            raise
        self._context.update(new)
        self._size += len(data)
        if self._size >= self._segment_bytes:
            self._finish(file)
        return len(data)

    def tail(self) -> tuple[int, int] | None:
        """(number, durable bytes) of the segment that is being written, if there is one."""
        return None if self._file is None else (self._numbers[-1], self._size)

    def rotate(self) -> list[int]:
        """Close the segment being written; returns the numbers of all segments since the last rotation."""
        if self._file is not None:
            self._finish(self._file)
        done, self._numbers = self._numbers, []
        return done

    def close(self) -> None:
        """Give the file back; all that counts is durable already."""
        if self._file is not None:
            self._finish(self._file)

    def _start_segment(self) -> DiskFile:
        number = self._next_number
        self._next_number += 1  # also when it fails: half a file may be there
        path = self._folder / segment_name(number)
        salt = self._disk.salt()
        file = self._disk.create(path)
        try:
            self._disk.write(file, encode_file_header(MAGIC, salt))
            self._disk.sync(file)
            self._disk.sync_folder(self._folder)
        except StoreError:
            self._discard(file)
            raise
        self._file, self._salt, self._size = file, salt, FILE_HEADER_BYTES
        self._numbers.append(number)
        return file

    def _cut_tail(self, file: DiskFile) -> None:
        try:
            self._disk.truncate(file, self._size)
        except StoreError as error:
            _log.warning("segment tail not cut, segment closed", segment=str(file.path), error=str(error))
            self._finish(file)

    def _abandon(self, file: DiskFile) -> None:
        _log.error("segment fsync failed, segment closed", segment=str(file.path), durable_bytes=self._size)
        self._cut_tail(file)
        if self._file is not None:
            self._finish(file)

    def _finish(self, file: DiskFile) -> None:
        self._file = None
        self._context = set()
        self._close(file)

    def _discard(self, file: DiskFile) -> None:
        self._close(file)
        try:
            self._disk.unlink(file.path)
        except StoreError as error:
            _log.warning("unused segment not removed", segment=str(file.path), error=str(error))

    def _close(self, file: DiskFile) -> None:
        try:
            self._disk.close(file)
        except StoreError as error:
            _log.warning("segment not closed", segment=str(file.path), error=str(error))
