"""What the fast lane reads of a question's head, and what it leaves to a full parser."""

from __future__ import annotations

import pytest

from peerwatch.serve.question import Question, read_question

LINE = b"GET /api/v1/query?query=up HTTP/1.1"


def head(*fields: bytes, line: bytes = LINE) -> bytes:
    return b"\r\n".join([line, *fields])


def test_a_question_is_read() -> None:
    """Names in any case; what a gate judges is kept, what frames the request is understood."""
    fields = [b"Host: localhost:9480", b"AUTHORIZATION:  Bearer t ", b"Origin: http://localhost", b"Content-Length: 12"]
    assert read_question(head(*fields, b"Connection: close", b"Accept-Encoding: gzip", line=LINE)) == Question(
        "GET",
        "/api/v1/query",
        b"query=up",
        {b"host": b"localhost:9480", b"authorization": b"Bearer t", b"origin": b"http://localhost"},
        b"gzip",
        12,
        closes=True,
    )


def test_what_grafana_sends_is_read() -> None:
    """Its own headers say who asks, which changes nothing."""
    fields = [
        b"Host: hub:9480",
        b"User-Agent: Grafana/12.1.0",
        b"Content-Length: 20",
        b"Content-Type: application/x-www-form-urlencoded",
        b"X-Datasource-Uid: abc",
        b"X-Grafana-Org-Id: 1",
        b"X-Panel-Id: 4",
        b"Accept-Encoding: gzip",
    ]
    found = read_question(head(*fields, line=b"POST /api/v1/query_range HTTP/1.1"))
    assert found == Question("POST", "/api/v1/query_range", b"", {b"host": b"hub:9480"}, b"gzip", 20, closes=False)


@pytest.mark.parametrize(
    "unusual",
    [
        head(),
        head(b"host: "),
        head(b"host: a", b"host: a"),
        head(b"host: a", b"authorization: Bearer t", b"authorization: Bearer t"),
        head(b"host: a", b"origin: http://a", b"Origin: http://a"),
        head(b"host: a", b"x-forwarded-for: 10.0.0.1"),
        head(b"host: a", b"forwarded: for=10.0.0.1"),
        head(b"host: a", b"x-real-ip: 10.0.0.1"),
        head(b"host: a", b"x-forwarded-proto : https"),
        head(b"host: a", b"transfer-encoding: chunked"),
        head(b"host: a", b"expect: 100-continue"),
        head(b"host: a", b"upgrade: h2c"),
        head(b"host: a", b"connection: upgrade"),
        head(b"host: a", b"connection: close, x"),
        head(b"host: a", b"content-length: +1"),
        head(b"host: a", b"content-length: 1", b"content-length: 1"),
        head(b"host: a", b"content-length: 100000"),
        head(b"host: a", b" folded"),
        head(b"host"),
        head(b"host: a\nx-forwarded-for: b"),
        head(b"host: a\rx: b"),
        head(b"host: a", line=b"GET /api/v1/query HTTP/1.0"),
        head(b"host: a", line=b"DELETE /api/v1/query HTTP/1.1"),
        head(b"host: a", line=b"GET http://a/api/v1/query HTTP/1.1"),
        head(b"host: a", line=b"GET /api/v1/query?a=b#c HTTP/1.1"),
        head(b"host: a", line=b"GET /api/v1/query?a=\xc3\xa4 HTTP/1.1"),
        head(b"host: a", line=b"GET  /api/v1/query HTTP/1.1"),
        head(b"host: a", line=b"GET /api/v1/query?a= b HTTP/1.1"),
        head(b"host: a", line=b" GET /api/v1/query HTTP/1.1"),
    ],
)
def test_anything_unusual_is_not_read(unusual: bytes) -> None:
    """So that nothing which a gate or a full parser would see differently is ever answered in the lane."""
    assert read_question(unusual) is None
