"""An answer is the same however its bytes are cut, and what is none is refused."""

from __future__ import annotations

import pytest

from peerwatch.errors import DecodeError
from peerwatch.links.http_answer import AnswerReader

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 429 Full\r\nretry-After: 7\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
CLOSING = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello"
INTERIM = b"HTTP/1.1 103 Early\r\nretry-after: 99\r\n\r\n" + LENGTH
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"


def fed(data: bytes, step: int, limit: int = 1 << 20) -> AnswerReader:
    reader = AnswerReader(limit)
    for at in range(0, len(data), step):
        assert not reader.whole
        reader.feed(data[at : at + step])
    return reader


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
@pytest.mark.parametrize(
    ("data", "found"),
    [
        (LENGTH, (200, b"hello", "", True)),
        (CHUNKED, (429, b"hello", "7", True)),
        (CLOSING, (200, b"hello", "", False)),
        (INTERIM, (200, b"hello", "", True)),
        (EMPTY, (204, b"", "", True)),
    ],
)
def test_an_answer_is_read_however_it_is_cut(data: bytes, step: int, found: tuple[int, bytes, str, bool]) -> None:
    """Whole, byte by byte and in between; with a length, in chunks, after an interim answer."""
    reader = fed(data, step)
    assert reader.whole
    assert (reader.status, reader.body, reader.header(b"retry-after"), reader.keeps_alive) == found


@pytest.mark.parametrize("data", [LENGTH, CHUNKED])
def test_every_answer_that_is_cut_off_is_known_as_such(data: bytes) -> None:
    """At any byte."""
    for size in range(len(data)):
        reader = AnswerReader(1 << 20)
        reader.feed(data[:size])
        assert not reader.whole
        with pytest.raises(DecodeError, match=f"connection closed after {size} bytes"):
            reader.end()


def test_an_answer_without_a_length_ends_with_the_connection() -> None:
    """As old proxies send it; the connection is then over."""
    reader = fed(b"HTTP/1.0 200 OK\r\n\r\nhello", 4)
    assert not reader.whole
    reader.end()
    assert (reader.whole, reader.body, reader.keeps_alive) == (True, b"hello", False)


def test_a_second_answer_that_nobody_asked_for_ends_the_connection() -> None:
    """It could be taken for the answer to the next request."""
    reader = AnswerReader(1 << 20)
    reader.feed(LENGTH + CHUNKED)
    assert (reader.status, reader.body, reader.header(b"retry-after"), reader.keeps_alive) == (200, b"hello", "", False)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", "not an HTTP answer"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: five\r\n\r\n", "not an HTTP answer"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "not an HTTP answer"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 11_000, "head of an answer of 66017 bytes or more, limit 65536"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 3_000, "head of an answer of 75000 bytes or more, limit 65536"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + bytes(200_000), "answer of 200019 bytes or more, limit 100000"),
    ],
)
def test_what_is_no_answer_is_refused(data: bytes, words: str) -> None:
    """Another protocol, broken framing, more than the limit in head or body."""
    with pytest.raises(DecodeError, match=words):
        fed(data, len(data), 100_000)
