"""A peer says where it is; nobody else can say it."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerwatch.errors import DecodeError, PeerError, SignatureError
from peerwatch.wire import schema_pb2 as pb
from peerwatch.wire.identity import PrivateKey, peer_id_bytes, public_key_in
from peerwatch.wire.limits import PeerLimits
from peerwatch.wire.peer_info import PeerInfo, open_peer_info, seal_peer_info

KEY = PrivateKey(bytes(range(32)))
OTHER = PrivateKey(bytes(range(1, 33)))
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@settings(deadline=None)
@given(
    st.lists(st.binary(max_size=60), max_size=5).map(tuple),
    st.dictionaries(TEXT, TEXT, max_size=5),
    st.integers(0, 2**64 - 1),
)
def test_round_trip(multiaddrs: tuple[bytes, ...], metadata: dict[str, str], seq_no: int) -> None:
    """Addresses in their order, metadata and number."""
    raw = seal_peer_info(KEY, multiaddrs, metadata, seq_no)
    assert open_peer_info(raw) == (PeerInfo(KEY.public, multiaddrs, metadata), seq_no)


def test_equal_metadata_gives_equal_bytes() -> None:
    """In whatever order it was put in."""
    one = seal_peer_info(KEY, (), {"a": "1", "b": "2"}, 1)
    assert one == seal_peer_info(KEY, (), {"b": "2", "a": "1"}, 1)


@settings(deadline=None)
@given(st.data())
def test_a_changed_bit_never_passes(data: st.DataObject) -> None:
    """In the number neither."""
    raw = seal_peer_info(KEY, (b"\x04\x7f\x00\x00\x01\x06\x0f\xa1",), {"name": "hub"}, 7)
    at = data.draw(st.integers(0, len(raw) * 8 - 1))
    broken = bytearray(raw)
    broken[at // 8] ^= 1 << (at % 8)
    with contextlib.suppress(PeerError):
        assert open_peer_info(bytes(broken)) == open_peer_info(raw)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_open_or_are_refused(data: bytes) -> None:
    """As a message, or as the payload of one."""
    for raw in (data, pb.SignedMessage(payload=data, signature=bytes(64)).SerializeToString()):
        with pytest.raises(PeerError):
            open_peer_info(raw)


def test_nobody_speaks_for_another_peer() -> None:
    """Whoever signs, the key in the peer id decides."""
    message = pb.SignedMessage.FromString(seal_peer_info(OTHER, (b"addr",), {}, 1))
    payload = pb.PeerInfo(peer_id=peer_id_bytes(KEY.public), multiaddrs=[b"addr"]).SerializeToString()
    message.payload = payload
    message.signature = OTHER.sign(b"peerwatch/peer-info/1\n" + bytes([1, 0, 0, 0, 0, 0, 0, 0]) + payload)
    with pytest.raises(SignatureError):
        open_peer_info(message.SerializeToString())


@pytest.mark.parametrize(
    ("multiaddrs", "metadata", "words"),
    [
        ((b"",) * 33, {}, "33 addresses, limit 32"),
        ((bytes(513),), {}, "address of 513 bytes, limit 512"),
        ((), {str(n): "" for n in range(33)}, "33 entries of metadata, limit 32"),
        ((), {"k": "é" * 2048}, "4097 bytes of metadata, limit 4096"),
    ],
)
def test_too_much_is_not_made(multiaddrs: tuple[bytes, ...], metadata: dict[str, str], words: str) -> None:
    """The message names what, how much and the limit."""
    with pytest.raises(DecodeError, match=words):
        seal_peer_info(KEY, multiaddrs, metadata, 1)


def test_too_much_is_not_taken() -> None:
    """A reader with tighter limits refuses by length first, then by number."""
    raw = seal_peer_info(KEY, (b"x", b"y"), {}, 1)
    with pytest.raises(DecodeError, match="2 addresses, limit 1"):
        open_peer_info(raw, PeerLimits(max_multiaddrs=1))
    with pytest.raises(DecodeError, match="peer info: 30000 bytes, limit"):
        open_peer_info(bytes(30_000))


def test_a_number_has_64_bits() -> None:
    """More is refused, not cut."""
    with pytest.raises(DecodeError, match="peer info number -1"):
        seal_peer_info(KEY, (), {}, -1)


def test_binary_peer_ids() -> None:
    """They hold the key, and nothing else passes for one."""
    assert public_key_in(peer_id_bytes(KEY.public)) == KEY.public
    for raw in (b"", KEY.public, peer_id_bytes(KEY.public) + b"\x00"):
        with pytest.raises(DecodeError, match=f"peer id of {len(raw)} bytes"):
            public_key_in(raw)
