"""Checkpoint: what a start would otherwise gather from every block: marks, ranges of series, the horizon.

Only an accelerator, but for the horizon (which the blocks carry too): without it, or when it is damaged, the store
reads the blocks instead.
"""

from __future__ import annotations

from pathlib import Path
from zlib import crc32

import msgspec
import numpy as np

from peerwatch.errors import CorruptionError, StoreError
from peerwatch.model import Int64Array, Marks
from peerwatch.store.disk import Disk
from peerwatch.store.packing import pack_ints, unpack_ints
from peerwatch.store.provenance import decode_marks, encode_marks
from peerwatch.telemetry import get_logger

FILE_NAME = "checkpoint"
_MAGIC = b"PWCHECK\x01"

_log = get_logger("store.checkpoint")


class _Content(msgspec.Struct, frozen=True, kw_only=True):
    horizon_ms: int
    next_block: int
    next_segment: int
    blocks: list[int]
    ids: bytes
    first: bytes
    last: bytes
    marks: bytes


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """blocks: those whose marks and ranges are in here. ids, first_ms, last_ms: ranges of series."""

    horizon_ms: int
    next_block: int
    next_segment: int
    blocks: list[int]
    ids: Int64Array
    first_ms: Int64Array
    last_ms: Int64Array
    marks: Marks

    @classmethod
    def empty(cls, horizon_ms: int) -> Checkpoint:
        """What is known without one."""
        none = np.empty(0, np.int64)
        return cls(
            horizon_ms=horizon_ms,
            next_block=1,
            next_segment=1,
            blocks=[],
            ids=none,
            first_ms=none,
            last_ms=none,
            marks=Marks(),
        )


def write_checkpoint(disk: Disk, folder: Path, checkpoint: Checkpoint) -> None:
    """Replace the file, atomically and durably. Raises StoreError."""
    body = msgspec.msgpack.encode(
        _Content(
            horizon_ms=checkpoint.horizon_ms,
            next_block=checkpoint.next_block,
            next_segment=checkpoint.next_segment,
            blocks=checkpoint.blocks,
            ids=pack_ints(checkpoint.ids),
            first=pack_ints(checkpoint.first_ms),
            last=pack_ints(checkpoint.last_ms),
            marks=encode_marks(checkpoint.marks),
        )
    )
    fresh = folder / (FILE_NAME + ".tmp")
    if fresh.name in disk.names(folder):
        disk.unlink(fresh)
    file = disk.create(fresh)
    try:
        disk.write(file, _MAGIC + crc32(body).to_bytes(4, "little") + body)
        disk.sync(file)
    finally:
        disk.close(file)
    disk.rename(fresh, folder / FILE_NAME)
    disk.sync_folder(folder)


def read_checkpoint(disk: Disk, folder: Path) -> Checkpoint | None:
    """None when there is none, or none that can be read (which is logged)."""
    if FILE_NAME not in disk.names(folder):
        return None
    try:
        return decode_checkpoint(disk.read(folder / FILE_NAME))
    except StoreError as error:
        _log.warning("checkpoint unreadable, blocks are read instead", error=str(error))
        return None


def decode_checkpoint(data: bytes) -> Checkpoint:
    """Raises CorruptionError."""
    start = len(_MAGIC) + 4
    body = data[start:]
    if not data.startswith(_MAGIC) or crc32(body).to_bytes(4, "little") != data[len(_MAGIC) : start]:
        raise CorruptionError("the checkpoint does not match its checksum")
    try:
        content = msgspec.msgpack.decode(body, type=_Content)
    except msgspec.MsgspecError as error:
        raise CorruptionError(f"the checkpoint is not one: {error}") from error
    return Checkpoint(
        horizon_ms=content.horizon_ms,
        next_block=content.next_block,
        next_segment=content.next_segment,
        blocks=content.blocks,
        ids=unpack_ints(content.ids)[0],
        first_ms=unpack_ints(content.first)[0],
        last_ms=unpack_ints(content.last)[0],
        marks=decode_marks(content.marks),
    )
