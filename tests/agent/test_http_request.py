"""Who may ask the agent's port, and what is a request at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerwatch.agent.http_request import HttpRequest, is_loopback, parse_head, refusal
from peerwatch.errors import DecodeError


def test_a_head_is_read() -> None:
    """Method, path without query, headers by lower-case name."""
    head = b"GET /metrics?name[]=up HTTP/1.1\r\nHost: localhost:9100\r\nX-A: 1\r\nx-a:2\r\n\r\n"
    assert parse_head(head) == HttpRequest("GET", "/metrics", {"host": "localhost:9100", "x-a": "1,2"})


@pytest.mark.parametrize(
    "head",
    [
        b"\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/2\r\n\r\n",
        b"GET http://x/ HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nnonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\n folded: a\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 101 + b"\r\n",
    ],
)
def test_what_is_not_a_request(head: bytes) -> None:
    """Anything else is a DecodeError."""
    with pytest.raises(DecodeError):
        parse_head(head)


@given(st.binary(max_size=200))
def test_no_bytes_do_worse_than_a_decode_error(head: bytes) -> None:
    """Whatever comes is a request or a DecodeError, and being judged never fails."""
    try:
        request = parse_head(head)
    except DecodeError:
        return
    refusal(request, loopback=True, credential="")


def asked(**headers: str) -> HttpRequest:
    return HttpRequest("GET", "/metrics", {name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9100", "127.0.0.1:9100", "127.1.2.3", "[::1]:9100", "[::1]"])
def test_on_loopback_this_machine_may_ask(host: str) -> None:
    """Without a credential, under any of its own names."""
    assert refusal(asked(host=host), loopback=True, credential="") is None
    assert refusal(asked(host=host, origin=f"http://{host}"), loopback=True, credential="") is None


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"host": "evil.example"},
        {"host": "evil.example:9100"},
        {"host": "localhost.evil.example"},
        {"host": "127.0.0.1.evil.example"},
        {"host": "[::1]evil"},
        {"host": "10.0.0.1:9100"},
        {"host": "localhost,evil.example"},
        {"host": "localhost", "origin": "https://evil.example"},
        {"host": "localhost", "origin": "null"},
        {"host": "localhost", "origin": "http://[bad"},
        {"host": "localhost", "x_forwarded_for": "1.2.3.4"},
        {"host": "localhost", "forwarded": "for=1.2.3.4"},
        {"host": "evil.example", "authorization": "Bearer "},
    ],
)
def test_on_loopback_elsewhere_may_not_ask(headers: dict[str, str]) -> None:
    """A foreign Host, a foreign Origin or a proxy is refused, unless the credential comes with it."""
    found = refusal(asked(**headers), loopback=True, credential="")
    assert found is not None and found.status == 403
    with_credential = asked(**{**headers, "authorization": "Bearer s3cret"})
    assert refusal(with_credential, loopback=True, credential="s3cret") is None
    assert refusal(with_credential, loopback=True, credential="other") is not None


def test_elsewhere_only_the_credential_counts() -> None:
    """On an address that others reach, a local Host opens nothing."""
    found = refusal(asked(host="localhost"), loopback=False, credential="s3cret")
    assert found is not None and found.status == 401
    assert refusal(asked(host="h", authorization="bearer s3cret"), loopback=False, credential="s3cret") is None
    assert refusal(asked(host="h", authorization="Bearer "), loopback=False, credential="") is not None


def test_loopback_addresses() -> None:
    """Only what can mean nothing but this machine."""
    assert [is_loopback(h) for h in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "::", "10.0.0.1", "host")] == [
        *(True, True, True),
        *(False, False, False, False),
    ]
