"""Snappy's block format. The one door to its library."""

from __future__ import annotations

import cramjam

from peerwatch.errors import DecodeError


def compress(data: bytes) -> bytes:
    """`data` as one block."""
    return bytes(cramjam.snappy.compress_raw(data))


def expand(data: bytes, size_bytes: int) -> bytes:
    """A Snappy block of at most `size_bytes` after decompression. Raises DecodeError for anything else."""
    try:
        announced = cramjam.snappy.decompress_raw_len(data)
        if announced > size_bytes:
            raise DecodeError(f"snappy block announces {announced} bytes, limit {size_bytes}")
        return bytes(cramjam.snappy.decompress_raw(data))
    except cramjam.DecompressionError as error:
        raise DecodeError(f"snappy: {error}") from error


def announced_bytes(data: bytes) -> int:
    """How large a Snappy block says it is after decompression; 0 where it is none."""
    try:
        return int(cramjam.snappy.decompress_raw_len(data))
    except cramjam.DecompressionError:
        return 0
