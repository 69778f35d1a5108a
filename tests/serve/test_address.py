"""HOST:PORT as text, and which hosts are this machine."""

from __future__ import annotations

import pytest

from peerwatch.errors import ConfigError
from peerwatch.serve.address import Address, is_loopback_host, parse_address, split_host


@pytest.mark.parametrize(
    ("text", "address", "loopback"),
    [
        ("127.0.0.1:9480", Address("127.0.0.1", 9480), True),
        ("127.8.9.1:1", Address("127.8.9.1", 1), True),
        ("[::1]:9480", Address("::1", 9480), True),
        ("localhost:0", Address("localhost", 0), True),
        ("0.0.0.0:9480", Address("0.0.0.0", 9480), False),
        ("[::]:9480", Address("::", 9480), False),
        ("10.0.0.1:65535", Address("10.0.0.1", 65535), False),
        ("hub.example:9480", Address("hub.example", 9480), False),
        ("hub.localhost:9480", Address("hub.localhost", 9480), False),
        ("localhost.example:9480", Address("localhost.example", 9480), False),
    ],
)
def test_an_address_is_parsed_printed_and_judged(text: str, address: Address, loopback: bool) -> None:
    """Only loopback addresses and the name localhost are open; a name that DNS may answer is not."""
    assert parse_address(text, "hub.listen") == address
    assert str(address) == text
    assert address.is_loopback is loopback


@pytest.mark.parametrize("text", ["", "9480", ":9480", "host", "host:", "host:x", "host:-1", "host:65536", "host:٣"])
def test_anything_else_is_an_error_that_names_the_setting(text: str) -> None:
    """With the value and an example."""
    with pytest.raises(ConfigError) as caught:
        parse_address(text, "hub.listen")
    assert str(caught.value) == f"hub.listen: {text!r} is not HOST:PORT (for example 127.0.0.1:9480 or [::1]:9480)"


@pytest.mark.parametrize(
    ("header", "host", "own"),
    [
        ("localhost", "localhost", True),
        ("LOCALHOST.:80", "LOCALHOST.", True),
        ("app.localhost:80", "app.localhost", True),  # browsers resolve it to loopback (RFC 6761)
        ("127.0.0.1:9480", "127.0.0.1", True),
        ("[::1]:9480", "[::1]", True),
        ("::1", "::1", True),
        ("evil.example:9480", "evil.example", False),
        ("127.0.0.1.nip.io:9480", "127.0.0.1.nip.io", False),
        ("2130706433", "2130706433", False),
    ],
)
def test_the_host_of_a_header_is_this_machine_or_not(header: str, host: str, own: bool) -> None:
    """As a browser would have meant it; every trick with names and numbers is foreign."""
    assert split_host(header) == host
    assert is_loopback_host(host) is own
