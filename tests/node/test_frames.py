"""Frames come out as they went in, however the bytes arrive."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerwatch.errors import DecodeError
from peerwatch.node.frames import FrameReader, pack_frame

PAYLOADS = st.lists(st.binary(min_size=1, max_size=40), max_size=8)


def _stream(payloads: list[bytes]) -> bytes:
    return b"".join(pack_frame(one, 100) for one in payloads)


def test_the_layout() -> None:
    """Length, big endian, then the payload."""
    assert pack_frame(b"abc", 100) == b"\x00\x00\x00\x03abc"


@settings(deadline=None)
@given(PAYLOADS, st.binary(max_size=3))
def test_fed_whole_with_trailing_bytes(payloads: list[bytes], rest: bytes) -> None:
    """What follows waits for more."""
    reader = FrameReader(100)
    assert reader.feed(_stream(payloads) + rest) == payloads
    assert reader.in_frame == bool(rest)


@settings(deadline=None)
@given(PAYLOADS)
def test_fed_byte_by_byte(payloads: list[bytes]) -> None:
    """The same frames."""
    reader, found = FrameReader(100), []
    for byte in _stream(payloads):
        found += reader.feed(bytes([byte]))
    assert found == payloads
    assert not reader.in_frame


@settings(deadline=None)
@given(PAYLOADS, st.lists(st.integers(0, 400), max_size=10))
def test_fed_in_any_pieces(payloads: list[bytes], cuts: list[int]) -> None:
    """Wherever it is cut."""
    stream, reader, found = _stream(payloads), FrameReader(100), []
    edges = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})
    for start, end in itertools.pairwise(edges):
        found += reader.feed(stream[start:end])
    assert found == payloads


@settings(deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=20))
def test_any_bytes_are_cut_or_refused(pieces: list[bytes]) -> None:
    """Nothing larger than the limit is ever held, and after an error nothing comes out any more."""
    reader, broken = FrameReader(50), False
    for piece in pieces:
        try:
            payloads = reader.feed(piece)
            assert not broken
            assert all(0 < len(one) <= 50 for one in payloads)
        except DecodeError:
            broken = True


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"\x00\x00\x00\x00", "frame of 0 bytes, limit 1 to 100"),
        (b"\x00\x00\x00\x65", "frame of 101 bytes, limit 1 to 100"),
        (b"\xff\xff\xff\xff", "frame of 4294967295 bytes, limit 1 to 100"),
    ],
)
def test_a_length_past_the_limit_is_refused_at_once(head: bytes, words: str) -> None:
    """Before any of the frame is kept, and for good: the step is lost."""
    reader = FrameReader(100)
    with pytest.raises(DecodeError, match=words):
        reader.feed(head)
    with pytest.raises(DecodeError, match=words):
        reader.feed(pack_frame(b"fine", 100))


def test_whoever_sends_too_much_hears_it() -> None:
    """Before the other side does."""
    with pytest.raises(DecodeError, match="frame of 101 bytes, limit 1 to 100"):
        pack_frame(bytes(101), 100)
    with pytest.raises(DecodeError, match="frame of 0 bytes"):
        pack_frame(b"", 100)
