"""Packing loses nothing, and refuses what no packer made."""

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerwatch.errors import DecodeError
from peerwatch.wire.packing import PackedMatrix, pack, unpack_all
from tests.wire.strategies import values


def packed(data: bytes, rows: int, ticks: int) -> PackedMatrix:
    """Checked, at times that do not matter."""
    return PackedMatrix.checked(data, np.arange(ticks), None, rows)


def unpack(data: bytes, rows: int, ticks: int) -> np.ndarray:
    """The values of one matrix."""
    return packed(data, rows, ticks).values


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


@given(st.lists(values(max_rows=4), min_size=1, max_size=5))
def test_matrices_unpack_together_as_they_do_alone(matrices: list[np.ndarray]) -> None:
    """Of any numbers of ticks, one after the other, time-major."""
    rows = min(len(one) for one in matrices)
    cut = [np.ascontiguousarray(one[:rows]) for one in matrices]
    together = unpack_all([packed(pack(one), *one.shape) for one in cut])
    assert np.array_equal(together.view(np.uint64), np.concatenate([one.T for one in cut]).copy().view(np.uint64))


def test_counters_cost_few_bytes() -> None:
    """A counter that grows by less than 128 costs a size and a byte per tick after the first."""
    steps = np.arange(100, dtype=np.float64)[None, :] * 60 + 10**9
    assert len(pack(steps)) <= 1 + 100 + 5 + 99
