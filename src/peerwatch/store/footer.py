"""Footer: the end of a block: what it holds, what it replaces, where its parts are; see docs/formats/block.md."""

from __future__ import annotations

import struct
from zlib import crc32

import msgspec

from peerwatch.errors import CorruptionError, StoreError

MAGIC = b"PWBLOCK\x01"
END_MAGIC = b"PWBLKEND"
FORMAT_VERSION = 1
SUFFIX = ".blk"
_END = struct.Struct("<II8s")  # footer bytes, their crc, magic
END_BYTES = _END.size
_CRC = struct.Struct("<I")
CRC_BYTES = _CRC.size


class Footer(msgspec.Struct, frozen=True, kw_only=True):
    """Keyed by name on disk, so that later versions can add fields.

    The window is [window_start, window_end); first_ms > last_ms in a block without samples (it carries marks only).
    replaces: numbers of blocks whose data is in this one. wal: numbers of WAL segments whose data is in this block
    and those published before it. from_wal: the segments that the samples came from, also for blocks that do not
    finish their flush. horizon_ms: retention's horizon when it was written. sections: name -> (offset, bytes, crc).
    """

    version: int = FORMAT_VERSION
    window_start: int
    window_end: int
    first_ms: int
    last_ms: int
    series: int
    samples: int
    top_series: int
    horizon_ms: int
    replaces: list[int]
    wal: list[int]
    from_wal: list[int]
    sections: dict[str, tuple[int, int, int]]


def block_name(number: int) -> str:
    """File name of block `number`."""
    return f"{number:010d}{SUFFIX}"


def encode_footer(footer: Footer) -> bytes:
    """The footer and what follows it."""
    body = msgspec.msgpack.encode(footer)
    return body + _END.pack(len(body), crc32(body), END_MAGIC)


def footer_size(end: bytes) -> int:
    """Bytes of the footer, from the last END_BYTES of the file. Raises CorruptionError."""
    if len(end) != END_BYTES or not end.endswith(END_MAGIC):
        raise CorruptionError("the block has no end")
    size: int = _END.unpack(end)[0]
    return size


def decode_footer(body: bytes, end: bytes) -> Footer:
    """Raises CorruptionError, or StoreError for a version of the future."""
    if crc32(body) != _END.unpack(end)[1]:
        raise CorruptionError("the footer does not match its checksum")
    try:
        version = msgspec.msgpack.decode(body, type=dict[str, object])["version"]
        if version != FORMAT_VERSION:
            raise StoreError(f"the block has format {version}, this peerwatch reads {FORMAT_VERSION}")
        return msgspec.msgpack.decode(body, type=Footer)
    except (msgspec.MsgspecError, KeyError) as error:
        raise CorruptionError(f"the footer is not one: {error}") from error


def seal(data: bytes) -> bytes:
    """A chunk: checksum, then the bytes."""
    return _CRC.pack(crc32(data)) + data


def unseal(chunk: bytes) -> bytes:
    """The bytes of a chunk. Raises CorruptionError."""
    data = chunk[CRC_BYTES:]
    if len(chunk) < CRC_BYTES or crc32(data) != _CRC.unpack_from(chunk)[0]:
        raise CorruptionError("a chunk does not match its checksum")
    return data
