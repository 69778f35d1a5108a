"""An envelope proves who sent which batch, and nothing else gets through."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerwatch.errors import DecodeError, PeerError, SignatureError
from peerwatch.model import Batch, BatchBlock, Labels, SampleMatrix, Series
from peerwatch.wire import schema_pb2 as pb
from peerwatch.wire.batch import encode_batch
from peerwatch.wire.compression import Compressor
from peerwatch.wire.envelope import Header, parse_envelope, seal
from peerwatch.wire.identity import PrivateKey, Verifier, peer_id, public_key_of
from peerwatch.wire.limits import WireLimits
from peerwatch.wire.schema import Schema
from tests.wire.strategies import batches, same_matrix

KEY = PrivateKey(bytes(range(32)))
BOX = Compressor()
HEADER = Header(fleet=b"F" * 16, sender=KEY.public, epoch=5, seq=7, floor_epoch=4, floor_seq=9)


def _small() -> Batch:
    matrix = SampleMatrix(np.array([1000, 2000]), np.array([[1.0, 2.0]]))
    return Batch((BatchBlock((Series(Labels.of(__name__="m")),), matrix),))


@settings(max_examples=50)
@given(batches())
def test_round_trip_of_any_batch(batch: Batch) -> None:
    """Every cell, hole, time, job and target comes back, under the sender's signature."""
    raw = seal(KEY, HEADER, encode_batch(batch, Schema.of), BOX)
    envelope = parse_envelope(raw)
    envelope.verify(Verifier(KEY.public))
    blocks = envelope.open(BOX)
    assert envelope.header == HEADER
    assert [(b.schema_id, b.job, b.target) for b in blocks] == [
        (Schema.of(b.series).id, b.job, b.target) for b in batch.blocks
    ]
    assert all(same_matrix(a.matrix, b.matrix) for a, b in zip(blocks, batch.blocks, strict=True))


@given(st.data())
def test_a_changed_byte_never_passes(data: st.DataObject) -> None:
    """Flip any bit: the envelope does not parse, or its signature does not hold, or it means exactly the same."""
    raw = seal(KEY, HEADER, encode_batch(_small(), Schema.of), BOX)
    at = data.draw(st.integers(0, len(raw) * 8 - 1))
    broken = bytearray(raw)
    broken[at // 8] ^= 1 << (at % 8)
    try:
        envelope = parse_envelope(bytes(broken))
        envelope.verify(Verifier(KEY.public))
    except PeerError:
        return
    assert envelope.payload == parse_envelope(raw).payload


@given(st.binary(max_size=400))
def test_any_bytes_parse_or_are_refused(data: bytes) -> None:
    """No input raises anything but our own error, as an envelope or as the signed part of one."""
    wrapped = pb.SignedMessage(payload=data, signature=bytes(64)).SerializeToString()
    for raw in (data, wrapped):
        with contextlib.suppress(PeerError):
            parse_envelope(raw).open(BOX)


@given(st.binary(max_size=300))
def test_any_body_decodes_or_is_refused(body: bytes) -> None:
    """A member who signs junk gets an error and nothing worse."""
    with contextlib.suppress(DecodeError):
        parse_envelope(seal(KEY, HEADER, body, BOX)).open(BOX)


def test_a_strangers_signature_is_refused() -> None:
    """The message names the expected key."""
    raw = seal(PrivateKey.generate(), HEADER, encode_batch(_small(), Schema.of), BOX)
    with pytest.raises(SignatureError, match=peer_id(KEY.public)):
        parse_envelope(raw).verify(Verifier(KEY.public))


def test_size_is_checked_first() -> None:
    """An oversized envelope is refused unparsed, with size and limit."""
    with pytest.raises(DecodeError, match="batch envelope: 2000 bytes, limit 1000"):
        parse_envelope(bytes(2000), WireLimits(max_envelope_bytes=1000))


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (WireLimits(max_cells=1), "batch of 2 cells, limit 1"),
        (WireLimits(max_ticks=1), "1 series x 2 ticks"),
        (WireLimits(max_body_bytes=10), "bytes, limit 10"),
    ],
)
def test_a_batch_past_a_limit_is_refused(limits: WireLimits, words: str) -> None:
    """Before its values are looked at."""
    envelope = parse_envelope(seal(KEY, HEADER, encode_batch(_small(), Schema.of), BOX))
    with pytest.raises(DecodeError, match=words):
        envelope.open(BOX, limits)


def test_times_must_rise() -> None:
    """Two samples of a series at one time are no batch."""
    matrix = SampleMatrix(np.array([2000, 2000]), np.array([[1.0, 2.0]]))
    body = encode_batch(Batch((BatchBlock((Series(Labels.of(__name__="m")),), matrix),)), Schema.of)
    with pytest.raises(DecodeError, match="do not rise"):
        parse_envelope(seal(KEY, HEADER, body, BOX)).open(BOX)


def test_peer_id_is_libp2ps() -> None:
    """The Ed25519 example of libp2p's peer-id specification is read, and written the same."""
    example = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"
    assert len(public_key_of(example)) == 32
    assert peer_id(public_key_of(example)) == example
    with pytest.raises(DecodeError, match="does not hold an Ed25519 key"):
        public_key_of("QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N")


@given(st.text(max_size=60))
def test_any_text_is_a_peer_id_or_refused(text: str) -> None:
    """No text raises anything but DecodeError."""
    with contextlib.suppress(DecodeError):
        assert peer_id(public_key_of(text)) == text
