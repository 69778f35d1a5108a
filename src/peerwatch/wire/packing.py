"""Packing of a value matrix: exact, small, and decoded by a dozen numpy calls.

Per row: the smallest decimal scale that is exact for every cell, else the raw bits. Then, in tick order, the difference
to the tick before, zigzag, and only the bytes that are not leading zeros. Measured on node-exporter-like data (300
series, after zstd-1): 2.65 bytes per sample at 2 ticks and 1.50 at 12, where raw float64 columns take 3.65 and 2.33.
docs/formats/batch.md has the layout, docs/decisions/0002 the measurement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from peerwatch.errors import DecodeError
from peerwatch.model import BoolArray, Float64Array, Int64Array

_RAW = 255  # scale code of a row that holds float bits
_SCALES = np.array([1.0, 10.0, 100.0, 1000.0])
_EXACT_BELOW = 9e15  # under 2**53, so that the scaled value is an integer that float64 holds exactly
_DIVISOR = np.ones(256)
_DIVISOR[: len(_SCALES)] = _SCALES
_SCALE_CODES = bytes([*range(len(_SCALES)), _RAW])
_SIZES = bytes(range(9))
_KEEP = np.array([(1 << (8 * size)) - 1 for size in range(9)], dtype=np.uint64)
_BYTE_MASKS = np.arange(8) < np.arange(9)[:, None]
_STEPS = np.uint64(1) << (np.arange(8, dtype=np.uint64) * np.uint64(8))
_ONE = np.uint64(1)
_LOAD = np.dtype("<u8")
_FEW_TICKS = 16
_PADDING = bytes(8)  # so that the last cell can be loaded as 8 bytes too


@dataclass(frozen=True, slots=True, eq=False)
class Base:
    """One tick as scale codes and integers [rows]: what the first tick of a matrix may be packed relative to."""

    scales: NDArray[np.uint8]
    integers: NDArray[np.int64]


def pack(values: Float64Array, base: Base | None = None) -> bytes:
    """`values` [n, k] as scales (n bytes), sizes (k * n bytes, tick by tick), then the bytes that count.

    With a `base` of as many rows, constants cost nothing and counters what they have grown by.
    """
    scales, integers = _to_integers(np.ascontiguousarray(values))
    deltas = integers.copy()
    deltas[:, 1:] -= integers[:, :-1]
    if base is not None:
        deltas[:, 0] -= np.where(scales == base.scales, base.integers, 0)
        scales = scales ^ base.scales
    zigzag = np.ascontiguousarray(((deltas << 1) ^ (deltas >> 63)).T).reshape(-1)
    sizes = np.searchsorted(_STEPS, zigzag.view(np.uint64), side="right").astype(np.uint8)
    kept = zigzag.astype("<i8", copy=False).view(np.uint8).reshape(-1, 8)[_BYTE_MASKS.take(sizes, axis=0)]
    return b"".join((scales.tobytes(), sizes.tobytes(), kept.tobytes()))


@dataclass(frozen=True, slots=True)
class PackedMatrix:
    """A Matrix whose values are still packed. Checked when it is made, so that unpacking cannot fail.

    Unpacking one of 300 series x 2 ticks costs 24 us alone and 10 among eight: who holds several calls `unpack_all`.
    """

    times_ms: Int64Array
    presence: BoolArray | None
    rows: int
    data: bytes
    base: Base | None = None

    @classmethod
    def checked(
        cls, data: bytes, times_ms: Int64Array, presence: BoolArray | None, rows: int, base: Base | None = None
    ) -> PackedMatrix:
        """Raises DecodeError unless `pack` can have made `data` from `rows` series and these ticks."""
        if base is not None and len(base.scales) != rows:
            raise DecodeError(f"block of {rows} rows, its baseline has {len(base.scales)}")
        cells = rows * len(times_ms)
        end = rows + cells
        if len(data) < end:
            raise DecodeError(
                f"packed columns of {len(data)} bytes, a {rows} x {len(times_ms)} matrix needs {end} or more"
            )
        scales = data[:rows]
        if base is not None:
            scales = (np.frombuffer(scales, np.uint8) ^ base.scales).tobytes()
        if scales.translate(None, _SCALE_CODES):
            raise DecodeError(f"scale code outside 0 to {len(_SCALES) - 1} and {_RAW}")
        if data[rows:end].translate(None, _SIZES):
            raise DecodeError(f"packed cell of {max(data[rows:end])} bytes, limit 8")
        total = int(np.add.reduce(np.frombuffer(data, np.uint8, cells, rows), dtype=np.int64))
        if end + total != len(data):
            raise DecodeError(f"packed columns hold {len(data) - end} bytes of cells, their sizes say {total}")
        return cls(times_ms, presence, rows, data, base)

    @property
    def values(self) -> Float64Array:
        """Unpacked anew at every call; absent cells are 0.0."""
        values: Float64Array = unpack_all([self]).T.copy()
        if self.presence is not None:
            values[~self.presence] = 0.0
        return values

    @property
    def sample_count(self) -> int:
        """How many cells are present."""
        return self.rows * len(self.times_ms) if self.presence is None else int(self.presence.sum())


def unpack_all(matrices: Sequence[PackedMatrix]) -> Float64Array:
    """The values of matrices of equally many rows, one after the other: [ticks of all, rows], bit for bit.

    Absent cells hold anything. Time and memory are linear in the cells.
    """
    alike = groupby(matrices, lambda one: (len(one.times_ms), id(one.base)))
    parts = [_unpack_equal(list(group)) for _, group in alike]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _unpack_equal(matrices: Sequence[PackedMatrix]) -> Float64Array:
    """`unpack_all` of matrices of one shape and base."""
    scales, integers = _integers(matrices)
    return _to_floats(scales, integers).reshape(-1, matrices[0].rows)


def base_of(matrix: PackedMatrix) -> Base:
    """The first tick of a matrix, for others to be relative to."""
    scales, integers = _integers([matrix])
    return Base(scales[0], integers[0, 0])


def _integers(matrices: Sequence[PackedMatrix]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Scale codes [matrices, rows] and scaled integers [matrices, ticks, rows] of matrices of one shape and base."""
    count, rows, ticks = len(matrices), matrices[0].rows, len(matrices[0].times_ms)
    end = rows + rows * ticks
    datas = [one.data for one in matrices]
    scales = np.frombuffer(b"".join([data[:rows] for data in datas]), np.uint8).reshape(count, rows)
    sizes = np.frombuffer(b"".join([data[rows:end] for data in datas]), np.uint8)
    integers = _unzigzag(_gather(b"".join([data[end:] for data in datas] + [_PADDING]), sizes))
    integers = integers.reshape(count, ticks, rows)
    base = matrices[0].base
    if base is not None:
        scales = scales ^ base.scales
        integers[:, 0] += np.where(scales == base.scales, base.integers, 0)
    _undo_deltas(integers)
    return scales, integers


def _gather(cells: bytes, sizes: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Each cell's 0 to 8 bytes as a uint64: one unaligned 8-byte load per cell, masked. `cells` ends with padding."""
    masks = _KEEP.take(sizes)
    offsets = np.zeros(len(sizes), np.int64)
    np.add.accumulate(sizes[:-1], out=offsets[1:])
    windows = np.ndarray((len(cells) - len(_PADDING) + 1,), _LOAD, cells, 0, (1,))
    masks &= windows[offsets]
    return masks


def _unzigzag(zigzag: NDArray[np.uint64]) -> NDArray[np.int64]:
    """0, 1, 2, 3, … back to 0, -1, 1, -2, …, in place where it can be."""
    signs = zigzag & _ONE
    np.negative(signs, out=signs)
    zigzag >>= _ONE
    zigzag ^= signs
    return zigzag.view(np.int64)


def _to_integers(values: Float64Array) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Per row the scale code, and the cells as integers (scaled where that is exact, else their bits)."""
    bits = values.view(np.int64)
    scales = np.full(len(values), _RAW, np.uint8)
    integers = bits.copy()
    todo = np.arange(len(values))
    with np.errstate(all="ignore"):
        for code, scale in enumerate(_SCALES):
            candidate = values[todo]
            scaled = np.rint(candidate * scale)
            whole = scaled.astype(np.int64)
            # Bitwise and by way of the integer, so that -0.0, NaN payloads and infinities stay what they are.
            exact = ((whole / scale).view(np.int64) == bits[todo]).all(axis=1) & (
                np.abs(scaled).max(axis=1, initial=0.0) < _EXACT_BELOW
            )
            hit = todo[exact]
            scales[hit] = code
            integers[hit] = whole[exact]
            todo = todo[~exact]
            if not len(todo):
                break
    return scales, integers


def _undo_deltas(integers: NDArray[np.int64]) -> None:
    """Add up along the ticks [matrices, ticks, rows], in place."""
    if integers.shape[1] > _FEW_TICKS:
        np.add.accumulate(integers, axis=1, out=integers)
        return
    for tick in range(1, integers.shape[1]):  # numpy's own loop along the short side costs four times as much
        np.add(integers[:, tick], integers[:, tick - 1], out=integers[:, tick])


def _to_floats(scales: NDArray[np.uint8], integers: NDArray[np.int64]) -> Float64Array:
    """The values [matrices, ticks, rows] of the scaled integers."""
    values: Float64Array = integers / _DIVISOR.take(scales)[:, None, :]
    raw = scales == _RAW
    if raw.any():
        np.copyto(values, integers.view(np.float64), where=raw[:, None, :])
    return values
