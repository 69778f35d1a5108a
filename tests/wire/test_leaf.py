"""A leaf is over what a batch says, and can be made again from what of it is stored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from peerwatch.errors import DecodeError
from peerwatch.model import Batch, BatchBlock, Labels, SampleMatrix, Series
from peerwatch.wire.batch import decode_batch, encode_batch
from peerwatch.wire.identity_labels import with_identity
from peerwatch.wire.leaf import (
    LEAF_BYTES,
    BlockHead,
    batch_leaf,
    head_of,
    labels_digest,
    leaf_of,
    matrix_digest,
    origin_of,
    pack_presence,
    read_origin,
    without_identity,
)
from peerwatch.wire.schema import Schema
from tests.wire.strategies import BITS, batches


def _leaf(batch: Batch) -> bytes:
    return batch_leaf(batch, [head_of(block.series, block.job, block.target) for block in batch.blocks])


def _again(batch: Batch, name: str, default_job: str) -> bytes:
    """As an auditor makes it: from labels as a hub keeps them and from single cells, in any order."""
    digests = []
    for block in reversed(batch.blocks):
        kept = with_identity(block.series, name, block.job or default_job, block.target)
        job, target = read_origin(origin_of(block.job, block.target))
        digest = labels_digest(without_identity(one.labels, target) for one in kept)
        head = BlockHead(digest, len(kept), job, target)
        cells = {
            (tick, row): block.matrix.values[row, at]
            for at, tick in enumerate(block.matrix.times_ms.tolist())
            for row in range(len(kept))
            if block.matrix.presence is None or block.matrix.presence[row, at]
        }
        ticks = sorted({tick for tick, _ in cells})
        if not ticks:
            continue
        values, present = np.zeros((len(ticks), len(kept))), np.zeros((len(ticks), len(kept)), np.bool_)
        for (tick, row), value in cells.items():
            values[ticks.index(tick), row] = value
            present[ticks.index(tick), row] = True
        digests.append(head.digest(np.array(ticks, np.int64), pack_presence(present), values))
    return leaf_of(digests)


@settings(max_examples=100)
@given(batches(), st.sampled_from(["web-1", "?"]), st.sampled_from(["node", ""]))
def test_a_leaf_is_made_again_from_what_is_stored(batch: Batch, name: str, default_job: str) -> None:
    """Whatever the hub calls the member, whatever its default job, however blocks and ticks were cut and encoded."""
    assert len(_leaf(batch)) == LEAF_BYTES
    assert _again(batch, name, default_job) == _leaf(batch)


@settings(max_examples=50)
@given(batches())
def test_a_leaf_survives_the_wire(batch: Batch) -> None:
    """What the receiver decoded hashes to what the sender hashed."""
    blocks = decode_batch(encode_batch(batch, Schema.of))
    heads = [head_of(block.series, block.job, block.target) for block in batch.blocks]
    digests = [matrix_digest(head, block.matrix) for head, block in zip(heads, blocks, strict=True)]
    assert leaf_of([one for one in digests if one is not None]) == _leaf(batch)


@settings(max_examples=200)
@given(batches(), st.data())
def test_any_change_changes_the_leaf(batch: Batch, data: st.DataObject) -> None:
    """One bit of a value, a time, a hole, a label, job or target, a block less: each is another leaf."""
    at = data.draw(st.integers(0, len(batch.blocks) - 1))
    block = batch.blocks[at]
    matrix = block.matrix
    rows, ticks = matrix.values.shape
    row, tick = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, ticks - 1))
    present = matrix.presence is None or bool(matrix.presence[row, tick])
    assume(present)
    changed: tuple[BatchBlock, ...]
    what = data.draw(st.sampled_from(["value", "time", "hole", "label", "job", "target", "gone"]))
    if what == "value":
        values = matrix.values.copy()
        values.view(np.uint64)[row, tick] ^= 1 << data.draw(st.integers(0, 63))
        changed = (replace(block, matrix=replace(matrix, values=values)),)
    elif what == "time":
        times = matrix.times_ms.copy()
        times[tick:] += 1
        changed = (replace(block, matrix=replace(matrix, times_ms=times)),)
    elif what == "hole":
        presence = np.ones((rows, ticks), np.bool_) if matrix.presence is None else matrix.presence.copy()
        presence[row, tick] = False
        changed = (replace(block, matrix=replace(matrix, presence=presence)),)
    elif what == "label":
        series = list(block.series)
        series[row] = Series(series[row].labels.with_({"row": "other"}), series[row].type)
        changed = (replace(block, series=tuple(series)),)
    elif what == "job":
        changed = (replace(block, job=block.job + "x"),)
    elif what == "target":
        changed = (replace(block, target=block.target + "x"),)
    else:
        changed = ()
    assert _leaf(Batch(batch.blocks[:at] + changed + batch.blocks[at + 1 :])) != _leaf(batch)


@given(st.lists(BITS, min_size=2, max_size=2))
def test_two_series_do_not_change_places(bits: list[int]) -> None:
    """The order of rows is part of what is signed."""
    assume(bits[0] != bits[1])
    series = tuple(Series(labels) for labels in _labels())
    values = np.array(bits, np.uint64).view(np.float64).reshape(2, 1)
    times = np.array([1], np.int64)
    one = Batch((BatchBlock(series, SampleMatrix(times, values)),))
    other = Batch((BatchBlock(series, SampleMatrix(times, values[::-1].copy())),))
    assert _leaf(one) != _leaf(other)


def _labels() -> list[Labels]:
    return [Labels.of({"__name__": "m", "row": str(row)}) for row in range(2)]


@given(st.binary(max_size=64))
def test_a_hostile_origin_is_refused_or_read_as_it_was_written(raw: bytes) -> None:
    """What is not exactly job and target is no origin."""
    try:
        job, target = read_origin(raw)
    except DecodeError:
        return
    assert origin_of(job, target) == raw


@pytest.mark.parametrize("raw", [b"", b"\x02", bytes(32), origin_of("a", "b") + b"x", origin_of("a", "b")[:-1]])
def test_an_origin_of_before_is_refused(raw: bytes) -> None:
    """A schema's hash, and what is cut or too long."""
    with pytest.raises(DecodeError):
        read_origin(raw)
