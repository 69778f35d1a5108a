"""The compression rule, and decompression that never exceeds what was announced."""

import contextlib
import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from peerwatch.errors import DecodeError
from peerwatch.wire.compression import Codec, Compressor, Purpose, choose_codec


def test_rule_b21() -> None:
    """Under 1 KB never; above, Snappy when it is live and zstd when it is bulk."""
    assert [choose_codec(size, Purpose.BULK) for size in (0, 1023, 1024, 10_241)] == [
        Codec.NONE,
        Codec.NONE,
        Codec.ZSTD,
        Codec.ZSTD,
    ]
    assert choose_codec(20_000, Purpose.LIVE) is Codec.SNAPPY


@given(st.binary(max_size=3000), st.sampled_from(Codec))
def test_round_trip(body: bytes, codec: Codec) -> None:
    """Every codec gives back what went in."""
    box = Compressor()
    assert box.decompress(box.compress(body, codec), codec, len(body)) == body


@given(st.binary(max_size=300), st.sampled_from(Codec), st.integers(0, 1000))
def test_any_bytes_decompress_or_are_refused(data: bytes, codec: Codec, size: int) -> None:
    """No input raises anything but DecodeError, and the size is the announced one."""
    with contextlib.suppress(DecodeError):
        assert len(Compressor().decompress(data, codec, size)) == size


@pytest.mark.parametrize("codec", [Codec.SNAPPY, Codec.GZIP, Codec.ZSTD])
def test_a_bomb_is_refused(codec: Codec) -> None:
    """A body that grows past its announced size is an error before it has grown."""
    box = Compressor()
    bomb = box.compress(bytes(10_000_000), codec)
    with pytest.raises(DecodeError):
        box.decompress(bomb, codec, 1000)


def test_a_zstd_bomb_without_a_size_is_refused() -> None:
    """A frame may leave its size out; the bound holds all the same."""
    stream = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    bomb = stream.compress(bytes(10_000_000)) + stream.flush()
    with pytest.raises(DecodeError):
        Compressor().decompress(bomb, Codec.ZSTD, 1000)


def test_gzip_of_others_is_read() -> None:
    """gzip is accepted on input, as any tool makes it."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    assert Compressor().decompress(packer.compress(b"x" * 50) + packer.flush(), Codec.GZIP, 50) == b"x" * 50
