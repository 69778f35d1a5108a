"""Baselines change what a batch costs, never what it says; and nothing passes for one that is none."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from peerwatch.errors import DecodeError
from peerwatch.model import Batch, BatchBlock, SampleMatrix
from peerwatch.wire import schema_pb2 as pb
from peerwatch.wire.baseline import Baseline, decode_baseline
from peerwatch.wire.batch import MissingBaselineError, decode_batch, encode_batch
from peerwatch.wire.limits import WireLimits
from peerwatch.wire.named_cache import NamedCache
from peerwatch.wire.packing import PackedMatrix, pack, unpack_all
from peerwatch.wire.schema import Schema
from tests.collector.kit import series
from tests.wire.strategies import BITS, values


def bits(matrix: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(matrix).view(np.uint64)


def ticks(rows: int) -> st.SearchStrategy[np.ndarray]:
    """Any values of one tick."""
    return hnp.arrays(np.uint64, rows, elements=BITS).map(lambda one: one.view(np.float64))


@given(values(), st.data())
def test_any_matrix_comes_back_relative_to_any_tick(matrix: np.ndarray, data: st.DataObject) -> None:
    """Bit for bit, also when nothing in them is alike, and after the baseline has travelled."""
    rows, count = matrix.shape
    told = Baseline.of(data.draw(st.one_of(ticks(rows), st.just(matrix[:, 0].copy()))))
    read = decode_baseline(told.record)
    assert read.id == told.id and read.rows == rows
    again = PackedMatrix.checked(pack(matrix, told.base), np.arange(count), None, rows, read.base)
    assert np.array_equal(bits(again.values), bits(matrix))


@given(st.lists(values(max_rows=4), min_size=1, max_size=5), st.data())
def test_matrices_of_several_baselines_unpack_together(matrices: list[np.ndarray], data: st.DataObject) -> None:
    """As they come out of a head."""
    rows = min(len(one) for one in matrices)
    cut = [np.ascontiguousarray(one[:rows]) for one in matrices]
    known = [None, Baseline.of(data.draw(ticks(rows))).base, Baseline.of(data.draw(ticks(rows))).base]
    bases = [data.draw(st.sampled_from(known)) for _ in cut]
    packed = [
        PackedMatrix.checked(pack(one, base), np.arange(one.shape[1]), None, rows, base)
        for one, base in zip(cut, bases, strict=True)
    ]
    assert np.array_equal(bits(unpack_all(packed)), bits(np.concatenate([one.T for one in cut])))


def test_what_stays_costs_nothing() -> None:
    """Constants are zeros throughout; a counter costs what it has grown by."""
    constants = np.repeat(np.array([[1e9 + 0.25], [42.0], [-7.5], [np.nan]]), 2, axis=1)
    base = Baseline.of(constants[:, 0]).base
    assert pack(constants, base) == bytes(4 + 8)
    counter = np.array([[1e12 + 100, 1e12 + 160]])
    assert len(pack(counter)) == 1 + 2 + 7
    assert len(pack(counter, Baseline.of(np.array([1e12])).base)) == 1 + 2 + 2


def _block(rows: int) -> tuple[Batch, Baseline]:
    matrix = SampleMatrix(np.array([1000, 2000]), np.arange(2.0 * rows).reshape(rows, 2))
    named = series(*({"row": str(row)} for row in range(rows)))
    return Batch((BatchBlock(named, matrix),)), Baseline.of(matrix.values[:, 0])


def test_a_reader_asks_for_the_baseline_that_it_lacks() -> None:
    """By the name that is in the batch; with it everything is there."""
    batch, baseline = _block(3)
    body = encode_batch(batch, Schema.of, [baseline])
    with pytest.raises(MissingBaselineError) as missing:
        decode_batch(body)
    assert missing.value.name == baseline.id
    (block,) = decode_batch(body, baseline_of={baseline.id: baseline}.get)
    assert np.array_equal(block.matrix.values, batch.blocks[0].matrix.values)


def test_a_baseline_of_another_size_is_refused() -> None:
    """A batch that names one was made by no sealer."""
    (batch, _), (_, other) = _block(3), _block(4)
    message = pb.Batch.FromString(encode_batch(batch, Schema.of))
    message.blocks[0].baseline_id = other.id
    with pytest.raises(DecodeError, match="block of 3 rows, its baseline has 4"):
        decode_batch(message.SerializeToString(), baseline_of={other.id: other}.get)
    message.blocks[0].baseline_id = b"short"
    with pytest.raises(DecodeError, match="baseline name of 5 bytes, expected 16"):
        decode_batch(message.SerializeToString())


def test_a_record_is_believed_by_its_content_alone() -> None:
    """Another name, other rows, a schema instead: all refused with the reason."""
    baseline = Baseline.of(np.arange(4.0))
    message = pb.SchemaRecord.FromString(baseline.record)
    message.id = b"x" * 16
    with pytest.raises(DecodeError, match="claims the name 7878"):
        decode_baseline(message.SerializeToString())
    with pytest.raises(DecodeError, match="baseline of 4 rows, allowed are 1 to 3"):
        decode_baseline(baseline.record, WireLimits(max_series=3))
    with pytest.raises(DecodeError, match="is wanted as a baseline and holds none"):
        decode_baseline(pb.SchemaRecord(id=b"i" * 16).SerializeToString())
    with pytest.raises(DecodeError, match="baseline of 2000 bytes, limit 1000"):
        decode_baseline(bytes(2000), WireLimits(max_envelope_bytes=1000))


@given(st.binary(max_size=100), st.integers(0, 20), st.binary(max_size=60))
def test_any_bytes_are_a_baseline_or_refused(raw: bytes, rows: int, columns: bytes) -> None:
    """No input raises anything else."""
    made = pb.SchemaRecord(id=b"i" * 16, baseline=pb.Baseline(rows=rows, columns=columns)).SerializeToString()
    for record in (raw, made):
        with contextlib.suppress(DecodeError):
            decode_baseline(record)


def test_the_cache_forgets_the_longest_unused() -> None:
    """It is bounded in rows; one that is larger than the bound is kept alone."""
    cache: NamedCache[Baseline] = NamedCache(10)
    made = [Baseline.of(np.full(4, float(number))) for number in range(3)]
    cache.put(made[0])
    cache.put(made[1])
    assert cache.get(made[0].id) is made[0]
    cache.put(made[2])
    assert [cache.get(one.id) is not None for one in made] == [True, False, True]
    large = Baseline.of(np.zeros(50))
    cache.put(large)
    assert [cache.get(one.id) is not None for one in (*made, large)] == [False, False, False, True]
