"""Segment: one file of the spool, and what is known of it without reading it."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from peerwatch.errors import CorruptionError
from peerwatch.spool.disk import Disk
from peerwatch.spool.entries import Entries
from peerwatch.spool.packed import Packed, SchemaLookup, pack_schema, unpack, unpack_schema
from peerwatch.spool.position import ORIGIN, Position
from peerwatch.spool.record import (
    FRAME_BYTES,
    HEADER_BYTES,
    Kind,
    Record,
    check_header,
    file_header,
    frame,
    parse,
    scan,
)
from peerwatch.spool.spooled import SpooledEnvelope

SUFFIX = ".seg"

_SEAL = struct.Struct("<IHqqqq")  # envelopes, schemas, floor epoch, floor seq, first and last lived_ms
_EXTENT = struct.Struct("<IIB")  # offset, size, length of the schema's id
_TRAILER = struct.Struct("<I4s")  # size of the seal record before it
_TRAILER_MAGIC = b"SEAL"

Extent = tuple[int, int]
"""Offset and size of a record in its file."""


@dataclass(slots=True)
class Draft:
    """Bytes ready to be written at the end of a segment, and what the segment will know once they are."""

    data: bytes
    packed: Sequence[Packed]
    extents: list[Extent]
    schemas: dict[bytes, Extent] = field(default_factory=dict)


class Segment:
    """Mutable; owned by the Shelf. It carries every schema that its envelopes name, so it can outlive all others.

    `writable` ends when it is sealed, found damaged, or after a failed write or sync: what the kernel then has in its
    cache may not be what is on the medium, and nothing is put behind it.
    """

    def __init__(self, disk: Disk, number: int) -> None:
        self._disk = disk
        self.number = number
        self.entries = Entries()
        self.schemas: dict[bytes, Extent] = {}
        self.size_bytes = 0
        self.floor = ORIGIN
        self.first_lived_ms = 0
        self.last_lived_ms = 0
        self.writable = True
        self.damaged = False
        self.torn_bytes = 0
        """What a write that never finished left behind the last record, until it is cut."""
        self.lost = 0
        """Unreadable stretches met when loading; each was one envelope or more, nobody knows."""

    @property
    def name(self) -> str:
        """Its file; names sort in the order of making."""
        return f"{self.number:016x}{SUFFIX}"

    def item(self, index: int) -> SpooledEnvelope:
        """Read an envelope from disk."""
        item = unpack(self._record((self.entries.offsets[index], self.entries.sizes[index])))[1]
        if item.position != self.entries.position(index):
            raise CorruptionError(f"{self.name}: {item.position} where {self.entries.position(index)} should be")
        return item

    def schema(self, schema_id: bytes) -> bytes | None:
        """Read a schema from disk."""
        extent = self.schemas.get(schema_id)
        if extent is None:
            return None
        found, schema = unpack_schema(self._record(extent))
        if found != schema_id:
            raise CorruptionError(f"{self.name}: another schema at byte {extent[0]}")
        return schema

    def draft(self, batch: Sequence[Packed], lookup: SchemaLookup) -> Draft:
        """Decide what to write for `batch`: schemas the segment lacks come before the envelopes that need them.

        A schema that `lookup` does not know either is left out (it was lost to damage): receivers may still have it.
        """
        pieces = [] if self.size_bytes else [file_header()]
        at = self.size_bytes or HEADER_BYTES
        draft = Draft(b"", batch, [])
        for packed in batch:
            for schema_id in packed.schema_ids:
                if schema_id in self.schemas or schema_id in draft.schemas:
                    continue
                if (schema := lookup(schema_id)) is not None:
                    record = pack_schema(schema_id, schema)
                    draft.schemas[schema_id] = (at, len(record))
                    pieces.append(record)
                    at += len(record)
            draft.extents.append((at, len(packed.frame)))
            pieces.append(packed.frame)
            at += len(packed.frame)
        draft.data = b"".join(pieces)
        return draft

    def commit(self, draft: Draft) -> None:
        """Note that a draft was written (and synced): its envelopes are now part of the segment."""
        self.size_bytes += len(draft.data)
        self.schemas.update(draft.schemas)
        for packed, extent in zip(draft.packed, draft.extents, strict=True):
            self._note(packed, extent)

    def seal(self) -> bytes:
        """The index to write at the end, so that opening need not read the whole file. Changes nothing."""
        table = b"".join(_EXTENT.pack(*at, len(schema_id)) + schema_id for schema_id, at in self.schemas.items())
        head = _SEAL.pack(
            *(len(self.entries), len(self.schemas), self.floor.epoch, self.floor.seq),
            *(self.first_lived_ms, self.last_lived_ms),
        )
        record = frame(Kind.SEAL, head + table + self.entries.to_bytes())
        return record + _TRAILER.pack(len(record), _TRAILER_MAGIC)

    def _note(self, packed: Packed, extent: Extent) -> None:
        if not self.entries:
            self.first_lived_ms = packed.lived_ms
        self.entries.append(packed.position, packed.time_ms, *extent)
        self.last_lived_ms = packed.lived_ms
        self.floor = max(self.floor, packed.floor)

    def _record(self, extent: Extent) -> Record:
        record = parse(memoryview(self._disk.read(self.name, *extent)))
        if record is None or record.size_bytes != extent[1]:
            raise CorruptionError(f"{self.name}: damaged record at byte {extent[0]}")
        return record


def load_segment(disk: Disk, number: int) -> Segment:
    """A segment as found on disk: from its seal, or by reading all of it when it has none.

    Damage inside is gone round (`damaged`), a torn tail is left out (`torn_bytes`).
    Raises CorruptionError when there is damage and no envelope, or the format is not known, StoreError when it cannot
    be read.
    """
    segment = Segment(disk, number)
    size = disk.size(segment.name)
    head_is_whole = check_header(disk.read(segment.name, 0, HEADER_BYTES), segment.name)
    if not _load_seal(disk, segment, size):
        data = disk.read(segment.name, 0, size)
        _load_records(segment, data)
        if not head_is_whole and not segment.entries and (size < HEADER_BYTES or not any(data)):
            return segment  # the first write tore: nothing was ever promised
    if not head_is_whole:
        segment.damaged, segment.writable = True, False
    segment.torn_bytes = size - segment.size_bytes
    if segment.damaged and not segment.entries:
        raise CorruptionError(f"{segment.name}: damaged, and no whole envelope in {size} bytes")
    return segment


def _load_records(segment: Segment, data: bytes) -> None:
    found = scan(data, HEADER_BYTES)
    segment.size_bytes = found.end
    segment.lost = found.gaps
    segment.damaged = found.gaps > 0
    for record in found.records:
        extent = (record.offset, record.size_bytes)
        if record.kind is Kind.SCHEMA:
            segment.schemas[unpack_schema(record)[0]] = extent
        elif record.kind is Kind.ENVELOPE:
            packed = unpack(record)[0]
            if not segment.entries or packed.position > segment.entries.position(-1):
                segment._note(packed, extent)
    segment.writable = not segment.damaged and all(record.kind is not Kind.SEAL for record in found.records)


def _load_seal(disk: Disk, segment: Segment, size: int) -> bool:
    """Whether the file ends in a seal; if so the segment is filled from it."""
    if size < HEADER_BYTES + FRAME_BYTES + _TRAILER.size:
        return False
    length, magic = _TRAILER.unpack(disk.read(segment.name, size - _TRAILER.size, _TRAILER.size))
    at = size - _TRAILER.size - length
    if magic != _TRAILER_MAGIC or at < HEADER_BYTES:
        return False
    record = parse(memoryview(disk.read(segment.name, at, length)))
    if record is None or record.kind is not Kind.SEAL or record.size_bytes != length:
        return False
    _fill(segment, bytes(record.body))
    segment.size_bytes = size
    segment.writable = False
    return True


def _fill(segment: Segment, body: bytes) -> None:
    try:
        count, schemas, epoch, seq, segment.first_lived_ms, segment.last_lived_ms = _SEAL.unpack_from(body)
        at = _SEAL.size
        for _ in range(schemas):
            offset, size, id_length = _EXTENT.unpack_from(body, at)
            at += _EXTENT.size + id_length
            segment.schemas[body[at - id_length : at]] = (offset, size)
        segment.entries = Entries.from_bytes(body[at:], count)
    except (struct.error, ValueError) as error:
        raise CorruptionError(f"{segment.name}: seal with a right checksum and wrong content: {error}") from error
    segment.floor = Position(epoch, seq)
