"""A tile gives back every bit that was put in, whatever the values are."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerwatch.errors import CorruptionError
from peerwatch.store.packing import pack_ints, unpack_ints
from peerwatch.store.tile import decode_tile, decode_together, encode_tile

patterns = st.integers(0, 2**64 - 1)
decimals = st.decimals(-(10**9), 10**9, places=3).map(lambda d: int(np.float64(d).view(np.uint64)))
counters = st.integers(0, 2**53).map(lambda n: int(np.float64(n).view(np.uint64)))
odd = st.sampled_from(
    [0x7FF0000000000002, 0x7FF8000000000001, 0xFFF8000000000000, 0x8000000000000000, 0x7FF0000000000000, 1, 0]
)
cells = st.one_of(counters, decimals, odd, patterns)


@st.composite
def tiles(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray | None]:
    rows, ticks = draw(st.integers(1, 5)), draw(st.integers(1, 9))
    kinds = [draw(st.sampled_from([counters, decimals, cells, st.one_of(decimals, odd)])) for _ in range(rows)]
    bits = np.array([[draw(kind) for _ in range(ticks)] for kind in kinds], np.uint64)
    mask = None
    if draw(st.booleans()):
        mask = np.array([[draw(st.booleans()) for _ in range(ticks)] for _ in range(rows)])
    return bits.view(np.float64), mask


@settings(max_examples=150, deadline=None)
@given(tiles())
def test_a_tile_is_bit_exact(tile: tuple[np.ndarray, np.ndarray | None]) -> None:
    """NaN payloads, -0.0, infinities and denormals come back as they were; absent cells stay absent."""
    values, presence = tile
    data = encode_tile(values, presence)
    found = decode_tile(data)
    mask = np.ones(values.shape, bool) if presence is None else presence
    assert (found.presence is None and mask.all()) or np.array_equal(found.presence, mask)
    assert np.array_equal(found.values.view(np.uint64)[mask], values.view(np.uint64)[mask])
    for row in range(len(values)):
        one = decode_tile(data, np.array([row]))
        assert np.array_equal(one.values[0].view(np.uint64)[mask[row]], values[row].view(np.uint64)[mask[row]])
        assert (one.presence is None and mask[row].all()) or np.array_equal(one.presence[0], mask[row])


@settings(max_examples=100, deadline=None)
@given(st.lists(tiles(), min_size=1, max_size=6), st.data())
def test_tiles_decoded_together_are_those_decoded_alone(
    given_tiles: list[tuple[np.ndarray, np.ndarray | None]], data: st.DataObject
) -> None:
    """Any mixture of them, whole or some rows; each comes once."""
    parts = []
    for values, presence in given_tiles:
        rows = data.draw(st.lists(st.integers(0, len(values) - 1), min_size=1, unique=True).map(sorted))
        parts.append((encode_tile(values, presence), np.array(rows)))
    seen: list[int] = []
    for numbers, tile in decode_together(parts):
        at = 0
        for number in numbers:
            alone = decode_tile(*parts[number])
            rows = slice(at, at + len(alone.values))
            at = rows.stop
            assert tile.values[rows].tobytes() == alone.values.tobytes()
            assert (tile.presence is None) is (alone.presence is None)
            assert alone.presence is None or (tile.presence[rows] == alone.presence).all()
        assert at == len(tile.values)
        seen += numbers
    assert sorted(seen) == list(range(len(parts)))


def test_what_compresses_is_small() -> None:
    """Counters, decimals and one stale marker cost about a byte per sample; full mantissas cost what they must."""
    rng = np.random.default_rng(1)
    counter = np.cumsum(rng.integers(0, 100, (16, 500)), axis=1).astype(float)
    decimal = np.round(np.cumsum(rng.normal(0, 1, (16, 500)), axis=1), 2)
    decimal[3, -1] = np.array([0x7FF0000000000002], np.uint64).view(float)[0]
    assert len(encode_tile(np.concatenate([counter, decimal]), None)) < 1.3 * 32 * 500
    assert len(encode_tile(rng.random((32, 500)), None)) < 8 * 32 * 500


@settings(max_examples=100, deadline=None)
@given(tiles(), st.data())
def test_damaged_bytes_never_raise_anything_else(
    tile: tuple[np.ndarray, np.ndarray | None], data: st.DataObject
) -> None:
    """Whatever is done to the bytes, decoding ends in a tile or in CorruptionError."""
    raw = bytearray(encode_tile(*tile))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(0, len(raw)))
    for damaged in (bytes(raw), bytes(raw[:cut])):
        with suppress(CorruptionError):
            decode_tile(damaged)
        with suppress(CorruptionError):
            decode_together([(damaged, np.arange(len(tile[0])))] * 2)


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_a_column_of_integers_comes_back(numbers: list[int]) -> None:
    """Also at the ends of the 64-bit range, where deltas wrap."""
    column, _ = unpack_ints(pack_ints(np.array(numbers, np.int64)))
    assert column.tolist() == numbers
    with pytest.raises(CorruptionError):
        unpack_ints(pack_ints(np.array([1, 2], np.int64))[:4])
