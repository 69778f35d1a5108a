"""Record: the framing shared by the WAL and the dictionary. Bytes in, values out; see docs/formats/wal.md.

A file is a header (written twice, so that one flipped bit does not cost the file) and records. Every record has a
marker, so that reading goes on behind damage, and a checksum seeded with the file's salt: bytes inside a payload
cannot pass for a record.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from zlib import crc32

MARKER = b"\xf5PWR"
MAX_PAYLOAD_BYTES = 256 << 20
FORMAT_VERSION = 1
_FILE = struct.Struct("<8sHHI")  # magic, version, reserved, salt; followed by their crc
_CRC = struct.Struct("<I")
_COPY_BYTES = _FILE.size + _CRC.size
FILE_HEADER_BYTES = 2 * _COPY_BYTES
_RECORD = struct.Struct("<4sIIBH")  # marker, length, crc, type, check of the header itself
RECORD_HEADER_BYTES = _RECORD.size


@dataclass(frozen=True, slots=True)
class Record:
    """One whole record. `offset` is where its header starts."""

    offset: int
    type: int
    payload: memoryview


@dataclass(slots=True)
class Scan:
    """What a file holds. `gaps` are the byte ranges [start, end) that are no record but have records behind them.

    `good_end` is the end of the last whole record; what follows up to `size` is a torn tail (or damage at the end,
    which looks the same).
    """

    size: int
    good_end: int = 0
    records: list[Record] = field(default_factory=list)
    gaps: list[tuple[int, int]] = field(default_factory=list)

    @property
    def torn(self) -> bool:
        """Whether bytes behind the last record are no record."""
        return self.good_end < self.size


def encode_file_header(magic: bytes, salt: int) -> bytes:
    """The first bytes of a file: `magic` has 8 bytes."""
    fields = _FILE.pack(magic, FORMAT_VERSION, 0, salt)
    return (fields + _CRC.pack(crc32(fields))) * 2


def decode_file_header(data: bytes, magic: bytes) -> tuple[int, int] | None:
    """(version, salt) from whichever copy is whole, or None."""
    for at in (0, _COPY_BYTES):
        fields = data[at : at + _FILE.size]
        check = data[at + _FILE.size : at + _COPY_BYTES]
        if len(check) == _CRC.size and _CRC.unpack(check)[0] == crc32(fields) and fields[:8] == magic:
            _, version, _, salt = _FILE.unpack(fields)
            return version, salt
    return None


def encode_record(record_type: int, pieces: Sequence[bytes], salt: int) -> list[bytes]:
    """Header and pieces, ready to be joined; the payload is the pieces back to back."""
    length = sum(map(len, pieces))
    if length > MAX_PAYLOAD_BYTES:
        raise ValueError(f"record of {length} bytes, limit {MAX_PAYLOAD_BYTES}")
    crc = _seed(record_type, length, salt)
    check = crc & 0xFFFF
    for piece in pieces:
        crc = crc32(piece, crc)
    return [_RECORD.pack(MARKER, length, crc, record_type, check), *pieces]


def scan(data: bytes, salt: int, start: int = FILE_HEADER_BYTES) -> Scan:
    """Every whole record from `start` on, and where there is none. Linear in practice: a false marker fails cheaply."""
    view = memoryview(data)
    result = Scan(size=len(data), good_end=min(start, len(data)))
    at = start
    while at < len(data):
        record = _record_at(view, at, salt)
        if record is None:
            at = data.find(MARKER, at + 1)
            if at < 0:
                break
            continue
        if at > result.good_end:
            result.gaps.append((result.good_end, at))
        result.records.append(record)
        at += RECORD_HEADER_BYTES + len(record.payload)
        result.good_end = at
    return result


def _seed(record_type: int, length: int, salt: int) -> int:
    return crc32(struct.pack("<BI", record_type, length), salt)


def _record_at(view: memoryview, at: int, salt: int) -> Record | None:
    body = at + RECORD_HEADER_BYTES
    if body > len(view):
        return None
    marker, length, crc, record_type, check = _RECORD.unpack_from(view, at)
    if marker != MARKER or length > len(view) - body:
        return None
    seed = _seed(record_type, length, salt)
    if seed & 0xFFFF != check:
        return None
    payload = view[body : body + length]
    return Record(at, record_type, payload) if crc32(payload, seed) == crc else None
