"""Cursor: what one receiver has, as it is kept on disk."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from urllib.parse import quote, unquote

from peerwatch.errors import ConfigError, CorruptionError
from peerwatch.model import SeqIntervals
from peerwatch.spool.position import Position
from peerwatch.spool.record import HEADER_BYTES, Kind, check_header, file_header, frame, parse

SUFFIX = ".cursor"

_MAX_STEM = 200  # file systems take 255 bytes, and ".cursor.tmp" comes on top
_HEAD = struct.Struct("<qqI")  # low epoch, low seq, epochs with runs
_EPOCH = struct.Struct("<qI")
_RUN = struct.Struct("<qq")


@dataclass(frozen=True, slots=True)
class Cursor:
    """Everything below `low` is settled for the receiver; above it, it has the runs in `acked`, by epoch."""

    low: Position
    acked: dict[int, SeqIntervals]


def cursor_name(receiver: str) -> str:
    """The receiver's file: its name survives damage to the content. Raises ConfigError for an unusable name."""
    stem = quote(receiver, safe="")
    if not 0 < len(stem) <= _MAX_STEM:
        raise ConfigError(
            f"spool receiver {receiver[:80]!r}: {len(stem)} bytes as a file name, must be 1 to {_MAX_STEM}"
        )
    return stem + SUFFIX


def cursor_receiver(name: str) -> str:
    """Whose cursor a file is."""
    return unquote(name.removesuffix(SUFFIX))


def encode_cursor(cursor: Cursor) -> bytes:
    """The whole file."""
    body = [_HEAD.pack(cursor.low.epoch, cursor.low.seq, len(cursor.acked))]
    for epoch, runs in cursor.acked.items():
        body.append(_EPOCH.pack(epoch, len(runs)))
        body.extend(_RUN.pack(first, last) for first, last in runs)
    return file_header() + frame(Kind.CURSOR, b"".join(body))


def decode_cursor(data: bytes, name: str) -> Cursor:
    """What `encode_cursor` was given. Raises CorruptionError for anything else; `name` is for the message."""
    record = parse(memoryview(data), HEADER_BYTES) if check_header(data, name) else None
    if record is None or record.kind is not Kind.CURSOR:
        raise CorruptionError(f"{name}: damaged cursor")
    try:
        return _decode_body(record.body)
    except (struct.error, ValueError) as error:
        raise CorruptionError(f"{name}: cursor with a right checksum and wrong content: {error}") from error


def _decode_body(body: memoryview) -> Cursor:
    epoch, seq, epochs = _HEAD.unpack_from(body)
    low, acked, at = Position(epoch, seq), {}, _HEAD.size
    for _ in range(epochs):
        epoch, count = _EPOCH.unpack_from(body, at)
        at += _EPOCH.size
        end = at + count * _RUN.size
        acked[epoch] = SeqIntervals(_RUN.iter_unpack(body[at:end]))
        at = end
    return Cursor(low, acked)
