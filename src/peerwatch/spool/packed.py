"""Packed: an envelope in the form in which disk and memory both hold it."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from peerwatch.errors import CorruptionError
from peerwatch.spool.position import Position
from peerwatch.spool.record import Kind, Record, frame
from peerwatch.spool.spooled import SpooledEnvelope

_ENVELOPE = struct.Struct("<qqqqqqH")  # epoch, seq, floor epoch, floor seq, time_ms, lived_ms, schema ids

SchemaLookup = Callable[[bytes], bytes | None]


@dataclass(frozen=True, slots=True)
class Packed:
    """One envelope record.

    floor: what the sender could have promised when it was appended: after a crash nothing below it comes again.
    lived_ms: how long the spool had been open, over all its runs, when it was appended: the clock that ages it.
    """

    position: Position
    floor: Position
    time_ms: int
    lived_ms: int
    schema_ids: tuple[bytes, ...]
    frame: bytes


def pack(item: SpooledEnvelope, floor: Position, lived_ms: int) -> Packed:
    """The record of `item`. Raises ValueError for numbers or ids that do not fit it."""
    ids = item.schema_ids
    if len(ids) > 0xFFFF or not all(0 < len(one) < 256 for one in ids):
        raise ValueError(f"envelope {item.position}: {len(ids)} schema ids, limit 65535 of 1 to 255 bytes each")
    try:
        head = _ENVELOPE.pack(
            item.position.epoch, item.position.seq, floor.epoch, floor.seq, item.time_ms, lived_ms, len(ids)
        )
    except struct.error as error:
        raise ValueError(f"envelope {item.position} at {item.time_ms} ms: a number is beyond 64 bits") from error
    table = b"".join(bytes((len(one),)) + one for one in ids)
    framed = frame(Kind.ENVELOPE, head + table + item.envelope)
    return Packed(item.position, floor, item.time_ms, lived_ms, ids, framed)


def unpack(record: Record) -> tuple[Packed, SpooledEnvelope]:
    """What `pack` made (without the frame's bytes). Raises CorruptionError when the body is not an envelope's."""
    body = record.body
    try:
        epoch, seq, floor_epoch, floor_seq, time_ms, lived_ms, count = _ENVELOPE.unpack_from(body)
        ids, at = [], _ENVELOPE.size
        for _ in range(count):
            size = body[at]
            ids.append(bytes(body[at + 1 : at + 1 + size]))
            at += 1 + size
    except (struct.error, IndexError) as error:
        raise CorruptionError(f"envelope record at byte {record.offset}: body of {len(body)} bytes is cut") from error
    if at > len(body) or record.kind is not Kind.ENVELOPE:
        raise CorruptionError(f"envelope record at byte {record.offset}: not an envelope's body")
    position, floor, schema_ids = Position(epoch, seq), Position(floor_epoch, floor_seq), tuple(ids)
    item = SpooledEnvelope(position, time_ms, bytes(body[at:]), schema_ids)
    return Packed(position, floor, time_ms, lived_ms, schema_ids, b""), item


def pack_schema(schema_id: bytes, schema: bytes) -> bytes:
    """The record of a schema."""
    return frame(Kind.SCHEMA, bytes((len(schema_id),)) + schema_id + schema)


def unpack_schema(record: Record) -> tuple[bytes, bytes]:
    """(id, schema). Raises CorruptionError when the body is not a schema's."""
    body = record.body
    if record.kind is not Kind.SCHEMA or len(body) < 1 or len(body) < 1 + body[0]:
        raise CorruptionError(f"schema record at byte {record.offset}: not a schema's body")
    split = 1 + body[0]
    return bytes(body[1:split]), bytes(body[split:])
