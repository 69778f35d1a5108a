"""A block is what its maker signed, for as long as he said, or it is refused."""

from __future__ import annotations

import contextlib
import struct
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerwatch.errors import DecodeError, PeerError, SignatureError
from peerwatch.wire import schema_pb2 as pb
from peerwatch.wire.block import open_block, seal_block
from peerwatch.wire.identity import PrivateKey, Verifier
from peerwatch.wire.limits import PeerLimits

KEY = PrivateKey(bytes(range(32)))
MAKER = Verifier(KEY.public)
NOW = 1_700_000_000_000


@settings(deadline=None)
@given(st.binary(max_size=500), st.integers(0, 2**62), st.integers(1, 30 * 86_400))
def test_round_trip(data: bytes, time_ms: int, ttl_s: int) -> None:
    """Everything comes back, under the maker's signature."""
    block, raw = seal_block(KEY, data, time_ms, ttl_s)
    assert open_block(raw, MAKER, time_ms) == block
    assert (block.data, block.expires_ms) == (data, time_ms + ttl_s * 1000)


def test_the_bytes_stay_what_they_are() -> None:
    """A block that another program made by docs/formats/messages.md is read: its layout is fixed."""
    _, raw = seal_block(KEY, b"content", NOW, 60)
    digest = sha256(b"content").digest()
    signature = KEY.sign(b"peerwatch/block/1\n" + digest + struct.pack("<qII", NOW, 60, 1))
    time = bytes.fromhex("1880d095ffbc31")
    assert raw == b"\x0a\x20" + digest + b"\x12\x07content" + time + b"\x20\x3c\x28\x01\x32\x40" + signature


@settings(deadline=None)
@given(st.data())
def test_a_changed_bit_never_passes(data: st.DataObject) -> None:
    """It does not parse, does not verify, or means exactly the same."""
    block, raw = seal_block(KEY, b"some content", NOW, 60)
    at = data.draw(st.integers(0, len(raw) * 8 - 1))
    broken = bytearray(raw)
    broken[at // 8] ^= 1 << (at % 8)
    with contextlib.suppress(PeerError):
        assert open_block(bytes(broken), MAKER, NOW) == block


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_open_or_are_refused(raw: bytes) -> None:
    """No input raises anything but our own error."""
    with contextlib.suppress(PeerError):
        open_block(raw, MAKER, NOW)


@settings(deadline=None)
@given(
    st.builds(
        pb.Block,
        hash=st.binary(max_size=40),
        data=st.binary(max_size=40),
        timestamp=st.integers(-(2**63), 2**63 - 1),
        ttl=st.integers(0, 2**32 - 1),
        version=st.integers(0, 3),
        signature=st.binary(min_size=60, max_size=70),
    )
)
def test_any_fields_open_or_are_refused(message: pb.Block) -> None:
    """Whatever the fields hold; and nothing that KEY did not sign passes."""
    with pytest.raises(PeerError):
        open_block(message.SerializeToString(), MAKER, NOW)


def test_a_strangers_block_is_refused() -> None:
    """Its hash may be right."""
    _, raw = seal_block(PrivateKey.generate(), b"content", NOW, 60)
    with pytest.raises(SignatureError, match="does not verify"):
        open_block(raw, MAKER, NOW)


def test_other_content_is_refused() -> None:
    """The message names block and length."""
    _, raw = seal_block(KEY, b"content", NOW, 60)
    with pytest.raises(SignatureError, match="block ed7002b439e9ac84…: its 7 bytes have another hash"):
        open_block(raw.replace(b"content", b"CONTENT"), MAKER, NOW)


@pytest.mark.parametrize(
    ("now_ms", "words"),
    [
        (NOW + 60_000, f"block expired at {NOW + 60_000} ms, it is {NOW + 60_000} ms"),
        (NOW - 600_001, "it is from the future"),
    ],
)
def test_a_block_has_its_time(now_ms: int, words: str) -> None:
    """Not before it was made, not after its ttl."""
    _, raw = seal_block(KEY, b"content", NOW, 60)
    with pytest.raises(DecodeError, match=words):
        open_block(raw, MAKER, now_ms)
    open_block(raw, MAKER, NOW + 59_999)


@pytest.mark.parametrize(
    ("size", "ttl_s", "words"),
    [
        (11, 60, "block data: 11 bytes, limit 10"),
        (10, 0, "block ttl: 0 s, limit 1 to 2592000"),
        (10, 2_592_001, "block ttl: 2592001 s, limit 1 to 2592000"),
        (10, 2**32, "outside their 64 and 32 bits"),
    ],
)
def test_a_block_past_a_limit_is_not_made(size: int, ttl_s: int, words: str) -> None:
    """So that its maker hears of it, not its readers."""
    with pytest.raises(DecodeError, match=words):
        seal_block(KEY, bytes(size), NOW, ttl_s, PeerLimits(max_block_bytes=10))


def test_length_is_checked_first() -> None:
    """Before anything is parsed."""
    with pytest.raises(DecodeError, match="block: 300 bytes, limit 266"):
        open_block(bytes(300), MAKER, NOW, PeerLimits(max_block_bytes=10))


def test_another_version_is_refused() -> None:
    """Never guessed at."""
    with pytest.raises(DecodeError, match="block of version 2, this program reads 1"):
        open_block(pb.Block(version=2).SerializeToString(), MAKER, NOW)
