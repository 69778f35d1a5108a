"""Tile: the samples of some alike series, compressed. Bytes <-> matrices, bit-exact; see docs/formats/block.md.

Per row the smallest decimal exponent is sought that makes every value an integer exactly; integers become deltas,
zigzag, byte planes, zstd (common trailing zero bits are shifted out first: memory comes in pages). Rows with full
mantissas are XORed with their predecessors instead. A few odd values (NaN, infinity, -0.0) in a decimal row are kept
beside it, so that one stale marker does not cost the row its compression.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from peerwatch.errors import CorruptionError
from peerwatch.model import BoolArray, Float64Array, Int64Array
from peerwatch.store.packing import (
    Bytes,
    from_planes,
    pack_ints,
    to_planes,
    unpack_ints,
    unzigzag,
    unzip,
    width_of,
    zigzag,
)
from peerwatch.store.packing import zip_bytes as zipped

MAX_ROWS = 256
_MAX_CELLS = 1 << 23  # one series with a tick in every millisecond of the longest window
_HEAD = struct.Struct("<BBHIIIII")  # flags, plane width, rows, ticks, bytes of: ints, xors, presence, odd values
_XOR = 255
_POWERS = np.array([10.0**exponent for exponent in range(7)])  # exact doubles; microseconds need six digits
_MAX_INTEGER = float(1 << 60)  # the difference of two such still fits 64 bits
_PROBE = 8  # columns tried before a whole row is: most exponents fail at once
_ODD_SHARE = 4  # rows with more than a quarter of odd values are XORed

Kinds = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Tile:
    """Decoded rows: `values[i, j]`; where presence is False there is no sample."""

    values: Float64Array
    presence: BoolArray | None


def encode_tile(values: Float64Array, presence: BoolArray | None) -> bytes:
    """values: float64 [rows, ticks], C order, at least one of each. presence None: every cell is there."""
    if presence is not None:
        values = _fill_gaps(values, presence)
    rows, ticks = values.shape
    kinds = np.full(rows, _XOR, np.uint8)
    integers = np.empty((rows, ticks), np.int64)
    _find_decimals(values, np.arange(rows), kinds, integers)
    odd = _set_odd_aside(values, kinds, integers)
    width, starts, ints = _encode_integers(integers, kinds)
    xors = _encode_xors(values[kinds == _XOR])
    mask = b"" if presence is None else zipped(np.packbits(presence))
    head = _HEAD.pack(0, width, rows, ticks, len(ints), len(xors), len(mask), len(odd))
    return b"".join((head, kinds.tobytes(), starts, ints, xors, mask, odd))


def decode_tile(data: bytes, rows: Int64Array | None = None) -> Tile:
    """The tile, or only some of its rows. Raises CorruptionError for what `encode_tile` did not write."""
    try:
        return _decode(data, rows)
    except (struct.error, ValueError, IndexError) as error:
        raise CorruptionError(f"tile of {len(data)} bytes: {error}") from error


def decode_together(parts: Sequence[tuple[bytes, Int64Array]]) -> list[tuple[list[int], Tile]]:
    """(numbers of some parts, their rows one below the other) for all parts: a tile's bytes and the rows wanted of it.

    What is alike goes through numpy together: short tiles cost little else than its calls. Raises CorruptionError.
    """
    alike: dict[tuple[int, int], list[tuple[int, _Plain]]] = {}
    found: list[tuple[list[int], Tile]] = []
    for number, (data, rows) in enumerate(parts):
        plain = _plain_rows(data, rows)
        if plain is None:
            found.append(([number], decode_tile(data, rows)))
        else:
            alike.setdefault((plain.width, plain.planes.shape[2]), []).append((number, plain))
    for (width, ticks), group in alike.items():
        tile = _unpacked([plain for _, plain in group], width, ticks)
        found.append(([number for number, _ in group], tile))
    return found


def _unpacked(plains: list[_Plain], width: int, ticks: int) -> Tile:
    planes = np.concatenate([one.planes for one in plains], axis=1)
    starts = np.concatenate([one.first for one in plains]), np.concatenate([one.shifts for one in plains])
    kinds = np.concatenate([one.kinds for one in plains])
    try:
        return Tile(_scale_back(_add_up(planes, width, starts, ticks), kinds), None)
    except IndexError as error:
        raise CorruptionError(f"tiles of {ticks} ticks: {error}") from error


@dataclass(frozen=True, slots=True)
class _Plain:
    """Rows of a tile in which all is decimal and present: planes [width, rows, ticks], and where each row starts."""

    width: int
    planes: Bytes
    first: Int64Array
    shifts: Kinds
    kinds: Kinds


def _plain_rows(data: bytes, rows: Int64Array) -> _Plain | None:
    """These rows of a tile, when it is plain."""
    try:
        flags, width, count, ticks, ints_size, xors_size, mask_size, odd_size = _HEAD.unpack_from(data)
        if flags or not width or xors_size or mask_size or odd_size or count * ticks > _MAX_CELLS:
            return None
        kinds: Kinds = np.frombuffer(data, np.uint8, count, _HEAD.size)
        at = _HEAD.size + count
        first: Int64Array = np.frombuffer(data, np.int64, count, at)
        shifts: Kinds = np.frombuffer(data, np.uint8, count, at + 8 * count)
        at += 9 * count
        planes = np.frombuffer(unzip(data[at : at + ints_size]), np.uint8).reshape(width, count, ticks)
        if len(rows) == count:  # ascending, and each once: all of them
            return _Plain(width, planes, first, shifts, kinds)
        return _Plain(width, planes[:, rows], first[rows], shifts[rows], kinds[rows])
    except (struct.error, ValueError, IndexError) as error:
        raise CorruptionError(f"tile of {len(data)} bytes: {error}") from error


def _decode(data: bytes, rows: Int64Array | None) -> Tile:
    flags, width, count, ticks, ints_size, xors_size, mask_size, odd_size = _HEAD.unpack_from(data)
    if flags:
        raise CorruptionError(f"tile has unknown flags {flags:#x}")
    if count * ticks > _MAX_CELLS:
        raise CorruptionError(f"tile of {count} x {ticks} cells, limit {_MAX_CELLS}")
    at = _HEAD.size
    kinds: Kinds = np.frombuffer(data, np.uint8, count, at)
    decimal = kinds != _XOR
    first_at = at + count
    integer_rows = int(np.count_nonzero(decimal))
    shifts_at = first_at + 8 * integer_rows
    ints_at = shifts_at + integer_rows
    xors_at = ints_at + ints_size
    mask_at = xors_at + xors_size
    odd_at = mask_at + mask_size
    rows = np.arange(count) if rows is None else rows
    values = np.empty((len(rows), ticks))
    first: Int64Array = np.frombuffer(data, np.int64, integer_rows, first_at)
    shifts = np.frombuffer(data, np.uint8, integer_rows, shifts_at)
    chosen = decimal[rows]
    if chosen.any():
        within = (np.cumsum(decimal) - 1)[rows[chosen]]
        numbers = _decode_integers(data[ints_at:xors_at], width, (first, shifts), ticks, within)
        _put_rows(values, chosen, _scale_back(numbers, kinds[rows[chosen]]))
    if not chosen.all():
        within = (np.cumsum(~decimal) - 1)[rows[~chosen]]
        _put_rows(values, ~chosen, _decode_xors(data[xors_at:mask_at], count - len(first), ticks, within))
    if odd_size:
        _put_odd_back(values, rows, data[odd_at : odd_at + odd_size], count)
    presence = _decode_mask(data[mask_at:odd_at], count, ticks, rows) if mask_size else None
    return Tile(values, presence)


def _put_rows(values: Float64Array, chosen: BoolArray, found: Float64Array) -> None:
    if chosen.all():
        values[:] = found
    else:
        values[chosen] = found


def _fill_gaps(values: Float64Array, presence: BoolArray) -> Float64Array:
    """Absent cells repeat the value before them (or the first one): nothing compresses better."""
    at = np.maximum.accumulate(np.where(presence, np.arange(values.shape[1]), 0), axis=1)
    first = presence.argmax(axis=1)
    filled: Float64Array = np.take_along_axis(values, np.maximum(at, first[:, None]), axis=1)
    return filled


def _find_decimals(values: Float64Array, rows: Int64Array, kinds: Kinds, integers: Int64Array) -> None:
    """For each row of `rows` that has an exact decimal form, note its exponent and its integers."""
    with np.errstate(all="ignore"):
        for exponent in range(len(_POWERS)):
            tried = rows
            if exponent:
                probe = np.ascontiguousarray(values[rows, :_PROBE])
                tried = rows[_scaled(probe, exponent)[1]]
                if not len(tried):
                    continue
            block = values if len(tried) == len(values) else values[tried]
            numbers, exact = _scaled(block, exponent)
            good = tried if exact.all() else tried[exact]
            if not len(good):
                continue
            kinds[good] = exponent
            integers[good] = numbers if len(good) == len(tried) else numbers[exact]
            rows = rows[kinds[rows] == _XOR]
            if not len(rows):
                return


def _scaled(values: Float64Array, exponent: int) -> tuple[Float64Array, BoolArray]:
    """(integers as doubles, per row: do they give back every bit). Adding 0.0 makes -0.0 fail, as it must."""
    if exponent == 0:
        numbers = np.rint(values)
        back = numbers + 0.0
    else:
        power = _POWERS[exponent]
        numbers = np.rint(values * power)
        back = (numbers + 0.0) / power
    exact: BoolArray = (back.view(np.int64) == values.view(np.int64)).all(axis=1)
    exact &= (numbers.max(axis=1) < _MAX_INTEGER) & (numbers.min(axis=1) > -_MAX_INTEGER)
    return numbers, exact


def _set_odd_aside(values: Float64Array, kinds: Kinds, integers: Int64Array) -> bytes:
    """Try again the rows that only a few odd values keep from being decimal; returns those values, packed."""
    left = np.flatnonzero(kinds == _XOR)
    if not len(left):
        return b""
    rest = values[left]
    odd = ~np.isfinite(rest) | (np.signbit(rest) & (rest == 0))
    count = np.count_nonzero(odd, axis=1)
    some = (count > 0) & (count * _ODD_SHARE <= values.shape[1])
    if not some.any():
        return b""
    tried, rest, odd = left[some], rest[some], odd[some]
    sub_kinds = np.full(len(tried), _XOR, np.uint8)
    sub_integers = np.empty(rest.shape, np.int64)
    _find_decimals(_fill_gaps(rest, ~odd), np.arange(len(tried)), sub_kinds, sub_integers)
    won = sub_kinds != _XOR
    kinds[tried[won]] = sub_kinds[won]
    integers[tried[won]] = sub_integers[won]
    row, tick = np.nonzero(odd[won])
    patterns = rest[won][row, tick].view(np.int64)
    return pack_ints(tried[won][row] * values.shape[1] + tick) + pack_ints(patterns)


def _put_odd_back(values: Float64Array, rows: Int64Array, packed: bytes, count: int) -> None:
    cells, at = unpack_ints(packed)
    patterns, _ = unpack_ints(packed, at)
    ticks = values.shape[1]
    place = np.full(count, -1, np.int64)
    place[rows] = np.arange(len(rows))
    row = place[cells // ticks]
    asked = row >= 0
    values.view(np.int64)[row[asked], cells[asked] % ticks] = patterns[asked]


def _encode_integers(integers: Int64Array, kinds: Kinds) -> tuple[int, bytes, bytes]:
    """(plane width, first value and shift of each row, zipped planes of the shifted deltas)."""
    decimal = kinds != _XOR
    if not decimal.any():
        return 0, b"", b""
    rows = integers if decimal.all() else integers[decimal]
    deltas = np.empty_like(rows)
    deltas[:, 0] = 0
    np.subtract(rows[:, 1:], rows[:, :-1], out=deltas[:, 1:])
    shifts = _common_zeros(deltas)
    if shifts.any():
        deltas >>= shifts[:, None]
    mapped = zigzag(deltas)
    width = width_of(mapped)
    starts = rows[:, 0].tobytes() + shifts.tobytes()
    return width, starts, zipped(to_planes(mapped, width)) if width else b""


def _common_zeros(deltas: Int64Array) -> Kinds:
    """Per row, how many low bits are 0 in all deltas."""
    used = np.bitwise_or.reduce(deltas, axis=1)
    lowest = used & -used
    zeros: Kinds = np.where(lowest == 0, 0, np.bitwise_count(lowest - 1)).astype(np.uint8)
    return zeros


def _decode_integers(
    data: bytes, width: int, starts: tuple[Int64Array, Kinds], ticks: int, rows: Int64Array
) -> Int64Array:
    first, shifts = starts
    if width == 0:
        return np.repeat(first[rows][:, None], ticks, axis=1)
    planes = np.frombuffer(unzip(data), np.uint8).reshape(width, len(first), ticks)
    if len(rows) < len(first):
        planes = planes[:, rows]
    return _add_up(planes, width, (first[rows], shifts[rows]), ticks)


def _add_up(planes: Bytes, width: int, starts: tuple[Int64Array, Kinds], ticks: int) -> Int64Array:
    first, shifts = starts
    deltas = unzigzag(from_planes(planes, width, len(first) * ticks)).reshape(len(first), ticks)
    numbers: Int64Array = deltas.astype(np.int64)
    if shifts.any():
        numbers <<= shifts[:, None]
    numbers[:, 0] = first
    return np.cumsum(numbers, axis=1, out=numbers)


def _scale_back(numbers: Int64Array, kinds: Kinds) -> Float64Array:
    values = numbers.astype(np.float64)
    if kinds.any():
        values /= _POWERS[kinds][:, None]
    return values


def _encode_xors(values: Float64Array) -> bytes:
    if not len(values):
        return b""
    patterns = np.ascontiguousarray(values).view(np.int64)
    changes = patterns.copy()
    np.bitwise_xor(patterns[:, 1:], patterns[:, :-1], out=changes[:, 1:])
    return zipped(to_planes(changes.view(np.uint64), 8))


def _decode_xors(data: bytes, count: int, ticks: int, rows: Int64Array) -> Float64Array:
    planes = np.frombuffer(unzip(data), np.uint8).reshape(8, count, ticks)[:, rows]
    changes = np.ascontiguousarray(planes.reshape(8, -1).T).view(np.int64).reshape(len(rows), ticks)
    values: Float64Array = np.bitwise_xor.accumulate(changes, axis=1).view(np.float64)
    return values


def _decode_mask(data: bytes, count: int, ticks: int, rows: Int64Array) -> BoolArray | None:
    bits = np.unpackbits(np.frombuffer(unzip(data), np.uint8), count=count * ticks)
    presence = bits.astype(np.bool_).reshape(count, ticks)[rows]
    return None if presence.all() else presence
