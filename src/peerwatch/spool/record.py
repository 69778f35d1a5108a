"""Records: how a spool file is cut into checked pieces. Bytes to values and back, no I/O (docs/formats/spool.md)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from zlib import crc32

from peerwatch.errors import CorruptionError

FORMAT_VERSION = 1

_HEADER = struct.Struct("<8sHHI")  # magic, format version, reserved, crc of what is before
_HEADER_MAGIC = b"PWSPOOL\0"
_FRAME = struct.Struct("<4sIIB")  # marker, length of the body, crc of length, kind and body, kind
_CHECKED = struct.Struct("<IB")
_MARKER = b"\xf1PWr"  # after damage the scan looks for the next one of these

HEADER_BYTES = _HEADER.size
FRAME_BYTES = _FRAME.size


class Kind(IntEnum):
    """What a record's body holds."""

    SCHEMA = 1
    ENVELOPE = 2
    SEAL = 3
    CURSOR = 4
    LOSSES = 5


@dataclass(frozen=True, slots=True)
class Record:
    """One whole record whose checksum is right. `offset` and `size_bytes` are those of the frame in its file."""

    kind: Kind
    body: memoryview
    offset: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Scan:
    """What a file holds. `end` is one past the last whole record: what follows is a torn tail."""

    records: list[Record]
    end: int
    gaps: int
    """Unreadable stretches with a whole record behind them: damage, not a torn write."""


def file_header() -> bytes:
    """The first bytes of every spool file."""
    head = _HEADER.pack(_HEADER_MAGIC, FORMAT_VERSION, 0, 0)[:-4]
    return head + struct.pack("<I", crc32(head))


def check_header(data: bytes, name: str) -> bool:
    """Whether `data` starts a spool file; False for a damaged or torn header, behind which records may still be whole.

    Raises CorruptionError for a format that this code does not read.
    """
    if len(data) < HEADER_BYTES:
        return False
    magic, version, _, checksum = _HEADER.unpack_from(data)
    if magic != _HEADER_MAGIC or checksum != crc32(data[: HEADER_BYTES - 4]):
        return False
    if version != FORMAT_VERSION:
        raise CorruptionError(f"{name}: format {version}, this version reads format {FORMAT_VERSION}")
    return True


def frame(kind: Kind, body: bytes) -> bytes:
    """A record as it stands in the file."""
    checksum = crc32(body, crc32(_CHECKED.pack(len(body), kind)))
    return _FRAME.pack(_MARKER, len(body), checksum, kind) + body


def parse(data: memoryview, offset: int = 0) -> Record | None:
    """The record at `offset`, or None when there is no whole and undamaged one."""
    start = offset + FRAME_BYTES
    if start > len(data):
        return None
    marker, length, checksum, kind = _FRAME.unpack_from(data, offset)
    if marker != _MARKER or length > len(data) - start or not Kind.SCHEMA <= kind <= Kind.LOSSES:
        return None
    body = data[start : start + length]
    if crc32(body, crc32(_CHECKED.pack(length, kind))) != checksum:
        return None
    return Record(Kind(kind), body, offset, FRAME_BYTES + length)


def scan(data: bytes, start: int) -> Scan:
    """Every whole record from `start` on, going round damage."""
    view = memoryview(data)
    records: list[Record] = []
    gaps = 0
    end = at = start
    while at < len(data):
        record = parse(view, at)
        if record is None:
            at = data.find(_MARKER, at + 1)
            if at < 0:
                break
            continue
        gaps += at != end
        records.append(record)
        end = at = at + record.size_bytes
    return Scan(records, end, gaps)
