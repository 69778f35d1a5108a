"""Packing: integer columns to bytes and back. Delta, zigzag, byte planes, zstd-1: what tiles and indexes share."""

from __future__ import annotations

import struct
import threading
from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray

from peerwatch.errors import CorruptionError
from peerwatch.model import Int64Array

MAX_UNZIPPED_BYTES = 1 << 28
MAX_COLUMN = 1 << 25  # what a reader makes room for; a block of a million series has columns of a million
_COLUMN = struct.Struct("<IBI")  # values, bytes per value, zipped bytes

Bytes = NDArray[np.uint8]
Mapped = NDArray[np.uint32] | NDArray[np.uint64]


class _Codecs(threading.local):
    """zstd contexts are costly to make and not thread-safe: one pair per thread."""

    def __init__(self) -> None:
        self.pack = zstandard.ZstdCompressor(level=1, write_content_size=True)
        self.unpack = zstandard.ZstdDecompressor()


_codecs = _Codecs()


def zip_bytes(data: bytes | NDArray[Any]) -> bytes:
    """zstd-1 with the content size in the frame."""
    return _codecs.pack.compress(data)  # type: ignore[arg-type]  # any buffer will do; the stub knows bytes only


def unzip(data: bytes | memoryview) -> bytes:
    """The reverse. Raises CorruptionError; the content size is checked before memory is taken."""
    try:
        size = zstandard.frame_content_size(data)
        if not 0 <= size <= MAX_UNZIPPED_BYTES:
            raise CorruptionError(f"zstd frame claims {size} bytes, limit {MAX_UNZIPPED_BYTES}")
        return _codecs.unpack.decompress(data)
    except zstandard.ZstdError as error:
        raise CorruptionError(f"zstd frame of {len(data)} bytes: {error}") from error


def zigzag(deltas: Int64Array) -> NDArray[np.uint64]:
    """Small magnitudes to small unsigned numbers."""
    mapped: NDArray[np.uint64] = ((deltas << 1) ^ (deltas >> 63)).view(np.uint64)
    return mapped


def unzigzag(mapped: Mapped) -> NDArray[np.signedinteger[Any]]:
    """The reverse of `zigzag`, in the width of what is given."""
    if mapped.dtype == np.uint32:
        narrow: NDArray[np.int32] = (mapped >> np.uint32(1)).view(np.int32) ^ -(mapped & np.uint32(1)).view(np.int32)
        return narrow
    deltas: Int64Array = (mapped >> np.uint64(1)).view(np.int64) ^ -(mapped & np.uint64(1)).view(np.int64)
    return deltas


def width_of(mapped: NDArray[np.uint64]) -> int:
    """Bytes that the largest number needs; 0 when all are 0."""
    largest = int(mapped.max()) if mapped.size else 0
    return (largest.bit_length() + 7) // 8


def to_planes(mapped: NDArray[np.uint64], width: int) -> Bytes:
    """The `width` low bytes of each number, all first bytes together, then all second ones: [width, N]."""
    planes: Bytes = np.ascontiguousarray(mapped.reshape(-1).view(np.uint8).reshape(-1, 8)[:, :width].T)
    return planes


def from_planes(planes: Bytes, width: int, count: int) -> Mapped:
    """The reverse of `to_planes`; 32 bits wide where that is enough, which halves the work that follows."""
    wide = np.uint32 if width <= 4 else np.uint64
    shaped = planes.reshape(width, count)
    total: Mapped = shaped[0].astype(wide)
    for byte in range(1, width):
        total |= shaped[byte].astype(wide) << wide(8 * byte)
    return total


def pack_ints(column: NDArray[np.signedinteger[Any]]) -> bytes:
    """A column of integers: best when neighbours are close. Deltas wrap around, so every int64 survives."""
    values = np.ascontiguousarray(column, dtype=np.int64)
    with np.errstate(over="ignore"):
        mapped = zigzag(np.diff(values, prepend=np.int64(0)))
    width = width_of(mapped)
    body = zip_bytes(to_planes(mapped, width)) if width else b""
    return _COLUMN.pack(len(values), width, len(body)) + body


def unpack_ints(data: bytes | memoryview, at: int = 0) -> tuple[Int64Array, int]:
    """(column, where the next one starts). Raises CorruptionError."""
    try:
        count, width, size = _COLUMN.unpack_from(data, at)
    except struct.error as error:
        raise CorruptionError(f"column at {at} is cut") from error
    at += _COLUMN.size
    if count > MAX_COLUMN or width > 8:
        raise CorruptionError(f"column of {count} values in {width} bytes, limit {MAX_COLUMN} in 8")
    if width == 0:
        return np.zeros(count, np.int64), at
    planes = np.frombuffer(unzip(data[at : at + size]), np.uint8)
    if planes.size != width * count:
        raise CorruptionError(f"column of {planes.size} bytes, must be {width} x {count}")
    deltas = unzigzag(from_planes(planes, width, count))
    return np.cumsum(deltas, dtype=np.int64), at + size
