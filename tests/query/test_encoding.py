"""Answers are compressed for those who ask, when they are large."""

from __future__ import annotations

import gzip

import pytest

from peerwatch.query.encoding import MIN_BYTES, Encoded, accepts_gzip, encoded


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("gzip", True),
        ("GZIP", True),
        ("deflate, gzip", True),
        ("gzip;q=1.0, identity; q=0.5", True),
        ("br;q=1, gzip ; q=0.001", True),
        ("", False),
        ("identity", False),
        ("*", False),
        ("x-gzip", False),
        ("gzip;q=0", False),
        ("gzip; q=0.00, deflate", False),
    ],
)
def test_who_asks_for_gzip(header: str, accepted: bool) -> None:
    """By name; a weight of 0 says that it must not be."""
    assert accepts_gzip(header) is accepted


def test_large_answers_are_compressed() -> None:
    """They come back as they were, and say how they came."""
    body = b"0123456789" * MIN_BYTES
    found = encoded(body, "gzip")
    assert gzip.decompress(found.body) == body and len(found.body) < len(body) // 10
    assert found.headers == (("content-encoding", "gzip"), ("vary", "accept-encoding"))


def test_others_are_not() -> None:
    """A small one, and what nobody asked to be compressed."""
    assert encoded(b"x" * (MIN_BYTES - 1), "gzip") == Encoded(b"x" * (MIN_BYTES - 1))
    assert encoded(b"x" * MIN_BYTES, "identity") == Encoded(b"x" * MIN_BYTES)
