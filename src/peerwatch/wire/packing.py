"""Packing of a value matrix: exact, small, and decoded by a dozen numpy calls.

Per row: the smallest decimal scale that is exact for every cell, else the raw bits. Then, in tick order, the difference
to the tick before, zigzag, and only the bytes that are not leading zeros. Measured on node-exporter-like data (300
series, after zstd-1): 2.65 bytes per sample at 2 ticks and 1.50 at 12, where raw float64 columns take 3.65 and 2.33.
docs/formats/batch.md has the layout, docs/decisions/0002 the measurement.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from peerwatch.errors import DecodeError
from peerwatch.model import Float64Array

_RAW = 255  # scale code of a row that holds float bits
_SCALES = np.array([1.0, 10.0, 100.0, 1000.0])
_EXACT_BELOW = 9e15  # under 2**53, so that the scaled value is an integer that float64 holds exactly
_DIVISOR = np.ones(256)
_DIVISOR[: len(_SCALES)] = _SCALES
_KEEP = np.array([(1 << (8 * size)) - 1 for size in range(9)], dtype=np.uint64)
_BYTE_MASKS = np.arange(8) < np.arange(9)[:, None]
_STEPS = np.uint64(1) << (np.arange(8, dtype=np.uint64) * np.uint64(8))
_ONE = np.uint64(1)
_LOAD = np.dtype("<u8")
_FEW_TICKS = 16
_PADDING = bytes(8)  # so that the last cell can be loaded as 8 bytes too


def pack(values: Float64Array) -> bytes:
    """`values` [n, k] as scales (n bytes), sizes (k * n bytes, tick by tick), then the bytes that count."""
    scales, integers = _to_integers(np.ascontiguousarray(values))
    deltas = integers.copy()
    deltas[:, 1:] -= integers[:, :-1]
    zigzag = np.ascontiguousarray(((deltas << 1) ^ (deltas >> 63)).T).reshape(-1)
    sizes = np.searchsorted(_STEPS, zigzag.view(np.uint64), side="right").astype(np.uint8)
    kept = zigzag.astype("<i8", copy=False).view(np.uint8).reshape(-1, 8)[_BYTE_MASKS.take(sizes, axis=0)]
    return b"".join((scales.tobytes(), sizes.tobytes(), kept.tobytes()))


def unpack(data: bytes, rows: int, ticks: int) -> Float64Array:
    """The matrix [rows, ticks] that `pack` made `data` from, bit for bit. Raises DecodeError for anything else.

    Time and memory are linear in rows * ticks, which the caller has bounded.
    """
    cells = rows * ticks
    if len(data) < rows + cells:
        raise DecodeError(
            f"packed columns of {len(data)} bytes, a {rows} x {ticks} matrix needs {rows + cells} or more"
        )
    padded = data + _PADDING
    scales = np.frombuffer(padded, np.uint8, rows)
    sizes = np.frombuffer(padded, np.uint8, cells, rows)
    integers = _unzigzag(_gather(padded, sizes, rows + cells, len(data))).reshape(ticks, rows)
    _undo_deltas(integers)
    return _to_floats(scales, integers)


def _gather(padded: bytes, sizes: NDArray[np.uint8], start: int, end: int) -> NDArray[np.uint64]:
    """Each cell's 0 to 8 bytes as a uint64: one unaligned 8-byte load per cell, masked."""
    try:
        masks = _KEEP.take(sizes)
    except IndexError as error:
        raise DecodeError(f"packed cell of {int(sizes.max())} bytes, limit 8") from error
    offsets = np.zeros(len(sizes) + 1, np.int64)
    np.add.accumulate(sizes, out=offsets[1:])
    total = offsets.item(-1)
    if start + total != end:
        raise DecodeError(f"packed columns hold {end - start} bytes of cells, their sizes say {total}")
    windows = np.ndarray((end - start + 1,), _LOAD, padded, start, (1,))
    masks &= windows[offsets[:-1]]
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
    """Add up along the ticks [ticks, rows], in place."""
    if len(integers) > _FEW_TICKS:
        np.add.accumulate(integers, axis=0, out=integers)
        return
    for before, after in pairwise(integers):  # numpy's own loop along the short side costs four times as much
        np.add(after, before, out=after)


def _to_floats(scales: NDArray[np.uint8], integers: NDArray[np.int64]) -> Float64Array:
    """The values [rows, ticks] of the scaled integers [ticks, rows]."""
    ticks, rows = integers.shape
    values: Float64Array = np.empty((rows, ticks))
    divisor = _DIVISOR.take(scales)
    if ticks > _FEW_TICKS:
        np.divide(integers.T, divisor[:, None], out=values)
    else:
        for tick, scaled in enumerate(integers.astype(np.float64)):
            np.divide(scaled, divisor, out=values[:, tick])
    if int(np.maximum.reduce(scales)) >= len(_SCALES):
        raw = scales == _RAW
        if ((scales >= len(_SCALES)) & ~raw).any():
            raise DecodeError(f"scale code outside 0 to {len(_SCALES) - 1} and {_RAW}")
        values[raw] = integers.T[raw].view(np.float64)
    return values
