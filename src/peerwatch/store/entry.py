"""Entry: what callers append, and its form in a WAL record. Bytes in, values out; see docs/formats/wal.md."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from peerwatch.errors import CorruptionError
from peerwatch.model import BoolArray, EnvelopeEntry, Float64Array, Int64Array, Matrix, RowsEntry, SampleMatrix
from peerwatch.store.packing import MAX_UNZIPPED_BYTES, unzip, zip_bytes
from peerwatch.wire.packing import PackedMatrix


class RecordType(IntEnum):
    """Types of WAL records."""

    ENVELOPE = 1
    ROWS = 2
    CONTEXT = 3


@dataclass(frozen=True, slots=True)
class EnvelopeRecord:
    """An envelope as the WAL keeps it: the matrices are still inside `raw`."""

    sender: bytes
    epoch: int
    seq: int
    run_root: bytes
    layout_ids: tuple[int, ...]
    raw: bytes


@dataclass(frozen=True, slots=True)
class RowsPart:
    """Rows as the WAL keeps them: they name their series, not a layout."""

    series_ids: Int64Array
    matrix: SampleMatrix


_ENVELOPE = struct.Struct("<BQQIH")  # sender bytes, epoch, seq, run root bytes, parts
_ROWS = struct.Struct("<IIB")  # series, ticks, whether a presence bitmap follows


def encode_envelope(entry: EnvelopeEntry, layouts: Sequence[int]) -> list[bytes]:
    """Pieces of the payload; `raw` is not copied. layouts: the ids under which the store knows them now."""
    head = _ENVELOPE.pack(len(entry.sender), entry.epoch, entry.seq, len(entry.run_root), len(layouts))
    return [head + entry.sender + entry.run_root + struct.pack(f"<{len(layouts)}q", *layouts), entry.raw]


def decode_envelope_record(payload: memoryview) -> EnvelopeRecord:
    """Raises CorruptionError for what `encode_envelope` did not write."""
    try:
        sender_size, epoch, seq, root_size, parts = _ENVELOPE.unpack_from(payload)
        at = _ENVELOPE.size
        sender = bytes(payload[at : at + sender_size])
        at += sender_size
        root = bytes(payload[at : at + root_size])
        at += root_size
        layouts = struct.unpack_from(f"<{parts}q", payload, at)
        return EnvelopeRecord(sender, epoch, seq, root, layouts, bytes(payload[at + 8 * parts :]))
    except struct.error as error:
        raise CorruptionError(f"envelope record of {len(payload)} bytes is too short") from error


def encode_context(name: bytes, content: bytes) -> bytes:
    """The payload of what envelopes of this segment cannot be read without."""
    return bytes((len(name),)) + name + content


def decode_context(payload: memoryview) -> tuple[bytes, bytes]:
    """(name, content). A payload that is cut short gives a name that nobody asks for."""
    data = bytes(payload)
    size = data[0] if data else 0
    return data[1 : 1 + size], data[1 + size :]


def encode_rows(entry: RowsEntry, series_ids: Sequence[Int64Array]) -> list[bytes]:
    """Pieces of the payload: every part with its series (as the store knows them now), ticks, values, presence; zstd-1.

    Raises ValueError for more than a reader makes room for.
    """
    pieces = []
    for part, ids in zip(entry.parts, series_ids, strict=True):
        matrix = part.matrix
        pieces.append(_ROWS.pack(len(ids), len(matrix.times_ms), matrix.presence is not None))
        pieces += [ids.tobytes(), matrix.times_ms.tobytes(), matrix.values.tobytes()]
        if matrix.presence is not None:
            pieces.append(np.packbits(matrix.presence).tobytes())
    data = b"".join(pieces)
    if len(data) > MAX_UNZIPPED_BYTES:
        raise ValueError(f"rows of {len(data)} bytes, limit {MAX_UNZIPPED_BYTES}")
    return [zip_bytes(data)]


def decode_rows(payload: memoryview) -> list[RowsPart]:
    """Raises CorruptionError for what `encode_rows` did not write."""
    data = unzip(bytes(payload))
    parts: list[RowsPart] = []
    at = 0
    try:
        while at < len(data):
            part, at = _rows_part(data, at)
            parts.append(part)
    except (struct.error, ValueError) as error:
        raise CorruptionError(f"rows record of {len(data)} bytes ends within a part") from error
    return parts


def _rows_part(data: bytes, at: int) -> tuple[RowsPart, int]:
    count, ticks, masked = _ROWS.unpack_from(data, at)
    at += _ROWS.size
    ids: Int64Array = np.frombuffer(data, np.int64, count, at)
    at += 8 * count
    times: Int64Array = np.frombuffer(data, np.int64, ticks, at)
    at += 8 * ticks
    values: Float64Array = np.frombuffer(data, np.float64, count * ticks, at).reshape(count, ticks)
    at += 8 * count * ticks
    presence: BoolArray | None = None
    if masked:
        size = (count * ticks + 7) // 8
        bits = np.unpackbits(np.frombuffer(data, np.uint8, size, at), count=count * ticks)
        presence = bits.astype(np.bool_).reshape(count, ticks)
        at += size
    return RowsPart(ids, SampleMatrix(times, values, presence)), at


def check_entry(entry: EnvelopeEntry | RowsEntry) -> None:
    """Raises ValueError when a matrix does not fit its layout: a caller's bug, caught before anything is written."""
    for part in entry.parts:
        _check_matrix(part.matrix, len(part.layout.series_ids))


def check_shapes(matrices: Sequence[Matrix], rows: Sequence[int]) -> bool:
    """Whether each matrix has its number of rows."""
    return len(matrices) == len(rows) and all(m.rows == n for m, n in zip(matrices, rows, strict=True))


def _check_matrix(matrix: Matrix, rows: int) -> None:
    if isinstance(matrix, PackedMatrix):
        if matrix.rows != rows:
            raise ValueError(f"packed matrix of {matrix.rows} rows for a layout of {rows} series")
        return
    times, values = matrix.times_ms, matrix.values
    shape = (rows, len(times))
    if times.dtype != np.int64 or values.dtype != np.float64:
        raise ValueError(f"matrix of {times.dtype} times and {values.dtype} values, must be int64 and float64")
    if values.shape != shape:
        raise ValueError(f"matrix of shape {values.shape} for a layout of {rows} series and {len(times)} ticks")
    if matrix.presence is not None and matrix.presence.shape != shape:
        raise ValueError(f"presence of shape {matrix.presence.shape} beside values of shape {shape}")
    if len(times) > 1 and not (times[1:] > times[:-1]).all():
        raise ValueError("times of a matrix must be strictly increasing")
