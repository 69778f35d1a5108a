"""DictionaryLog: the file behind the dictionary. Records are appended; pruning writes the file anew."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from peerwatch.errors import CorruptionError, StoreError
from peerwatch.model import Int64Array, Labels, MetricType
from peerwatch.store.damage import Damage
from peerwatch.store.disk import Disk, DiskFile
from peerwatch.store.packing import pack_ints, unpack_ints, unzip, zip_bytes
from peerwatch.store.record import (
    FILE_HEADER_BYTES,
    FORMAT_VERSION,
    Record,
    decode_file_header,
    encode_file_header,
    encode_record,
    scan,
)
from peerwatch.telemetry import get_logger

MAGIC = b"PWSERIES"
FILE_NAME = "dictionary.log"
_WRITE_BYTES = 1 << 20

_log = get_logger("store.dictionary")


class SeriesRecord(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """New series, and meanings of metrics that are new or changed."""

    first_id: int
    ids: list[int]  # empty: first_id, first_id + 1, ...
    labels: list[list[str]]  # name, value, name, value, ...
    keys: list[int]
    metrics: dict[str, tuple[int, str, str]]

    @classmethod
    def of(
        cls,
        first_id: int,
        labels: Sequence[Labels],
        keys: Sequence[int],
        meanings: Mapping[str, tuple[MetricType, str, str]],
        ids: Sequence[int] = (),
    ) -> SeriesRecord:
        """From model values."""
        flat = [[text for pair in one for text in pair] for one in labels]
        metrics = {name: (int(kind), text, unit) for name, (kind, text, unit) in meanings.items()}
        return cls(first_id, list(ids), flat, list(keys), metrics)

    def rows(self) -> Iterator[tuple[int, Labels, int]]:
        """(id, labels, tile key) of each series."""
        ids: Iterable[int] = self.ids or range(self.first_id, self.first_id + len(self.labels))
        for series_id, flat, key in zip(ids, self.labels, self.keys, strict=True):
            yield series_id, Labels(zip(flat[::2], flat[1::2], strict=True)), key

    def meanings(self) -> dict[str, tuple[MetricType, str, str]]:
        """Type, help and unit by metric name."""
        return {name: (MetricType(kind), text, unit) for name, (kind, text, unit) in self.metrics.items()}


class LayoutRecord(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """A layout that envelopes refer to."""

    id: int
    origin: bytes
    packed_ids: bytes

    @classmethod
    def of(cls, layout_id: int, origin: bytes, series_ids: Int64Array) -> LayoutRecord:
        """From a column of ids."""
        return cls(layout_id, origin, pack_ints(series_ids))

    def ids(self) -> Int64Array:
        """The series, in order."""
        return unpack_ints(self.packed_ids)[0]


class NextRecord(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """The lowest ids that were never given."""

    series: int
    layout: int


AnyRecord = SeriesRecord | LayoutRecord | NextRecord
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(AnyRecord)


def decode_dictionary_record(payload: bytes | memoryview) -> AnyRecord:
    """Raises CorruptionError."""
    try:
        record: AnyRecord = _decoder.decode(unzip(payload))
        return record
    except msgspec.MsgspecError as error:
        raise CorruptionError(f"dictionary record of {len(payload)} bytes: {error}") from error


def encode_dictionary_record(record: AnyRecord) -> bytes:
    """The payload of a record, or a chunk of names in a block."""
    return zip_bytes(_encoder.encode(record))


def decode_copies(records: Iterable[Record]) -> list[AnyRecord]:
    """Every record is written twice, so that one damaged place costs no name. Raises CorruptionError."""
    found: list[AnyRecord] = []
    last: memoryview | None = None
    for record in records:
        if last is None or record.payload != last:
            found.append(decode_dictionary_record(record.payload))
        last = record.payload
    return found


class DictionaryLog:
    """Append-only, with a rewrite. Owned by the dictionary, which guards it with its lock.

    After a failed fsync the file is not trusted again: `revive` writes it anew from memory. The owner calls it before
    each `append` and `sync`.
    """

    def __init__(self, disk: Disk, folder: Path, damage: Damage, *, reads_only: bool = False) -> None:
        """`reads_only`: `load` leaves the file as it is, and nothing else may be called."""
        self._damage = damage
        self._reads_only = reads_only
        self._disk = disk
        self._folder = folder
        self._path = folder / FILE_NAME
        self._file: DiskFile | None = None
        self._salt = 0
        self._size = 0
        self._tidy_size = 0
        self._dirty = False

    @property
    def size_bytes(self) -> int:
        """Size of the file."""
        return self._size

    @property
    def bloated(self) -> bool:
        """Whether more than half of the file may be of no use: repeated meanings, dead layouts. New series are."""
        return self._size > 2 * self._tidy_size + _WRITE_BYTES

    def load(self) -> list[AnyRecord]:
        """Read the file, cut its torn tail, and open it for writing; make it when there is none."""
        if FILE_NAME not in self._disk.names(self._folder):
            if not self._reads_only:
                self.rewrite([])
            return []
        data = self._disk.read(self._path)
        header = decode_file_header(data, MAGIC)
        if header is None:
            raise CorruptionError(f"{self._path}: both headers are damaged; run `peerwatch fsck`")
        version, self._salt = header
        if version > FORMAT_VERSION:
            raise StoreError(f"{self._path} has format {version}, this peerwatch reads up to {FORMAT_VERSION}")
        found = scan(data, self._salt)
        for start, end in found.gaps:
            self._damage.note("dictionary damaged", f"{self._path} at {start} to {end}")
        if self._reads_only:
            return decode_copies(found.records)
        self._file = self._disk.extend(self._path)
        if found.torn:  # written but never synced, or damaged: fsck tells the two apart by what blocks name
            self._disk.truncate(self._file, found.good_end)
        self._size = self._tidy_size = found.good_end
        self._dirty = True  # it may hold what was written and not synced before a crash
        return decode_copies(found.records)

    def append(self, records: Sequence[AnyRecord]) -> None:
        """Write the records; they survive a crash after `sync`. Raises StoreError, then none of them counts."""
        pieces = list(self._encode(records))
        data = b"".join(pieces)
        file = self._file
        assert file is not None, "revive comes first"
        self._dirty = True
        try:
            self._disk.write(file, data)
        except StoreError:
            self._cut_tail(file)
            raise
        self._size += len(data)
        for record, piece in zip(records, pieces, strict=True):
            if isinstance(record, SeriesRecord) and record.labels:
                self._tidy_size += len(piece)

    def revive(self, everything: Callable[[], Iterable[AnyRecord]]) -> None:
        """Write the file anew when the one on disk cannot be trusted any more; `everything` gives all records."""
        if self._file is None:
            self.rewrite(everything())

    def sync(self) -> None:
        """Make it durable. Raises StoreError."""
        if not self._dirty:
            return
        assert self._file is not None, "revive comes first"
        try:
            self._disk.sync(self._file)
        except StoreError:
            self._drop_file()
            raise
        self._dirty = False

    def rewrite(self, records: Iterable[AnyRecord]) -> None:
        """Replace the file by one with these records, atomically and durably."""
        fresh = self._path.with_suffix(".tmp")
        salt = self._disk.salt()
        if fresh.name in self._disk.names(self._folder):
            self._disk.unlink(fresh)
        file = self._disk.create(fresh)
        try:
            size = self._write_all(file, records, salt)
            self._disk.sync(file)
            self._disk.rename(fresh, self._path)
            self._disk.sync_folder(self._folder)
        except StoreError:
            self._close(file)
            self._drop_file()  # whether the path names the old file or the new one is not known
            raise
        self._drop_file()
        self._file = DiskFile(self._path, file.fd)
        self._salt, self._size, self._dirty = salt, size, False
        self._tidy_size = size

    def close(self) -> None:
        """Give the file back."""
        self._drop_file()

    def _write_all(self, file: DiskFile, records: Iterable[AnyRecord], salt: int) -> int:
        size = FILE_HEADER_BYTES
        pending = encode_file_header(MAGIC, salt)
        for piece in self._encode(records, salt):
            pending += piece
            size += len(piece)
            if len(pending) >= _WRITE_BYTES:
                self._disk.write(file, pending)
                pending = b""
        self._disk.write(file, pending)
        return size

    def _encode(self, records: Iterable[AnyRecord], salt: int | None = None) -> Iterator[bytes]:
        for record in records:
            once = b"".join(encode_record(1, [encode_dictionary_record(record)], self._salt if salt is None else salt))
            yield once + once

    def _cut_tail(self, file: DiskFile) -> None:
        try:
            self._disk.truncate(file, self._size)
        except StoreError as error:
            _log.warning("dictionary tail not cut, file is written anew", file=str(self._path), error=str(error))
            self._drop_file()

    def _drop_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            self._close(file)

    def _close(self, file: DiskFile) -> None:
        try:
            self._disk.close(file)
        except StoreError as error:
            _log.warning("dictionary not closed", file=str(self._path), error=str(error))
