"""Compression: one rule of size and purpose (requirements B20, B21), and decompression within bounds."""

from __future__ import annotations

import zlib
from enum import IntEnum

import zstandard

from peerwatch.errors import DecodeError

NEVER_BELOW_BYTES = 1 << 10
_GZIP_LEVEL = 3
_ZSTD_LEVEL = 1
_MAX_WINDOW_BYTES = 32 << 20  # the largest body; without it a frame may ask for 128 MB of work space


class Codec(IntEnum):
    """How a body is compressed; the numbers are those of the wire."""

    NONE = 0
    SNAPPY = 1
    GZIP = 2
    ZSTD = 3


class Purpose(IntEnum):
    """What a message is for: a live one must not wait, bulk should be small."""

    LIVE = 0
    BULK = 1


def choose_codec(size_bytes: int, purpose: Purpose) -> Codec:
    """The codec for a body: under 1 KB none; else Snappy for live messages and zstd for bulk."""
    if size_bytes < NEVER_BELOW_BYTES:
        return Codec.NONE
    return Codec.SNAPPY if purpose is Purpose.LIVE else Codec.ZSTD


class Compressor:
    """Compresses and decompresses; holds the zstd contexts, which are not thread-safe: one per thread."""

    __slots__ = ("_pack", "_unpack")

    def __init__(self) -> None:
        self._pack = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_content_size=True)
        self._unpack = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)

    def compress(self, body: bytes, codec: Codec) -> bytes:
        """`body` in the form that `codec` names."""
        if codec is Codec.NONE:
            return body
        if codec is Codec.ZSTD:
            return self._pack.compress(body)
        if codec is Codec.SNAPPY:
            from peerwatch.wire import snappy  # here: a lean agent, which packs with zstd, saves 2 MB

            return snappy.compress(body)
        packer = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, 31)
        return packer.compress(body) + packer.flush()

    def decompress(self, data: bytes, codec: Codec, size_bytes: int) -> bytes:
        """The body, which must be exactly `size_bytes` long; the caller has checked that number against its limit.

        Never allocates more than `size_bytes` for the result. Raises DecodeError for anything else than a valid body.
        """
        body = self._expand(data, codec, size_bytes)
        if len(body) != size_bytes:
            raise DecodeError(f"body of {len(body)} bytes after decompression, announced {size_bytes}")
        return body

    def _expand(self, data: bytes, codec: Codec, size_bytes: int) -> bytes:
        if codec is Codec.NONE:
            return data
        if codec is Codec.ZSTD:
            return self._expand_zstd(data, size_bytes)
        if codec is Codec.SNAPPY:
            from peerwatch.wire import snappy

            return snappy.expand(data, size_bytes)
        return _expand_gzip(data, size_bytes)

    def _expand_zstd(self, data: bytes, size_bytes: int) -> bytes:
        try:
            announced = zstandard.frame_content_size(data)
            if announced > size_bytes:
                raise DecodeError(f"zstd frame announces {announced} bytes, limit {size_bytes}")
            # Without a size in the frame the decoder needs the bound from us; 0 would mean "no bound".
            return self._unpack.decompress(data, max_output_size=max(size_bytes, 1), allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise DecodeError(f"zstd: {error}") from error


def _expand_gzip(data: bytes, size_bytes: int) -> bytes:
    unpacker = zlib.decompressobj(31)
    try:
        body = unpacker.decompress(data, size_bytes + 1)
    except zlib.error as error:
        raise DecodeError(f"gzip: {error}") from error
    if len(body) > size_bytes:
        raise DecodeError(f"gzip body exceeds {size_bytes} bytes")
    if not unpacker.eof or unpacker.unused_data:
        raise DecodeError("gzip body is cut short or has trailing bytes")
    return body
