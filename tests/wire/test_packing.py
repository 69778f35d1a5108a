"""Packing loses nothing, and refuses what no packer made."""

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerwatch.errors import DecodeError
from peerwatch.wire.packing import pack, unpack
from tests.wire.strategies import values


@given(values())
def test_any_matrix_comes_back_bit_for_bit(matrix: np.ndarray) -> None:
    """-0.0, NaN payloads, infinities and denormals included (requirement B22)."""
    rows, ticks = matrix.shape
    assert np.array_equal(unpack(pack(matrix), rows, ticks).view(np.uint64), matrix.view(np.uint64))


@given(st.binary(max_size=200), st.integers(1, 6), st.integers(1, 6))
def test_any_bytes_decode_or_are_refused(data: bytes, rows: int, ticks: int) -> None:
    """No input raises anything but DecodeError."""
    with contextlib.suppress(DecodeError):
        assert unpack(data, rows, ticks).shape == (rows, ticks)


@given(values(), st.data())
def test_a_cut_or_longer_packing_is_refused(matrix: np.ndarray, data: st.DataObject) -> None:
    """Every proper prefix, and anything behind the end, is an error."""
    rows, ticks = matrix.shape
    packed = pack(matrix)
    cut = data.draw(st.integers(0, len(packed) - 1))
    for wrong in (packed[:cut], packed + b"\0"):
        with pytest.raises(DecodeError):
            unpack(wrong, rows, ticks)


@given(values(max_rows=3, max_ticks=1), st.integers(17, 40), st.integers(0, 2**32))
def test_many_ticks_come_back_too(row: np.ndarray, ticks: int, seed: int) -> None:
    """A day of back-fill in one block takes another road through the decoder than a report of two ticks."""
    matrix = np.repeat(row, ticks, axis=1)
    matrix[:, 1::3] = np.random.default_rng(seed).integers(-1000, 1000, matrix[:, 1::3].shape) / 100
    assert np.array_equal(unpack(pack(matrix), *matrix.shape).view(np.uint64), matrix.view(np.uint64))


def test_counters_cost_few_bytes() -> None:
    """A counter that grows by less than 128 costs a size and a byte per tick after the first."""
    steps = np.arange(100, dtype=np.float64)[None, :] * 60 + 10**9
    assert len(pack(steps)) <= 1 + 100 + 5 + 99
