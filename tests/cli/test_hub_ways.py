"""How an agent reaches each hub: what the hub announces, and before that the addresses by which the agent joined."""

from __future__ import annotations

from pathlib import Path

from peerwatch.cli.hub_ways import HubWays
from peerwatch.cli.known_hub import KnownHub
from peerwatch.fleet.authority import Authority
from peerwatch.links.hub_https import HttpsAddress
from peerwatch.model import SystemClock
from peerwatch.wire.identity import peer_id
from tests.fleet.kit import exchange, second_hub

CLOCK = SystemClock()
ONE, TWO, PROXY = "https://192.0.2.1:9480", "https://192.0.2.2:9480", "https://hub.example"
PIN = bytes(32)


def _two(tmp_path: Path) -> tuple[Authority, Authority]:
    one = Authority.open(tmp_path / "one", "one", CLOCK)
    two = second_hub(one, tmp_path / "one", tmp_path / "two", CLOCK)
    one.announce((ONE,), PIN, ())
    two.announce((TWO,), b"", ())
    exchange(one, two, CLOCK.now_ms())
    return one, two


def _addresses(one: Authority, known: KnownHub, hub: Authority) -> list[HttpsAddress]:
    return HubWays(known, one.membership, None, dict, https_too=True).https_addresses(hub.member)


def test_the_addresses_of_the_token_come_first_for_the_hub_that_announces_one_of_them(tmp_path: Path) -> None:
    """The other hub has its own only."""
    one, two = _two(tmp_path)
    known = KnownHub((PROXY, ONE), hub=peer_id(two.member))
    announced = HttpsAddress(ONE, pin=PIN)
    assert _addresses(one, known, one) == [HttpsAddress(PROXY), HttpsAddress(ONE), announced]
    assert _addresses(one, known, two) == [HttpsAddress(TWO)]


def test_else_for_the_hub_that_let_the_machine_in(tmp_path: Path) -> None:
    """It stands behind a proxy that it does not know of."""
    one, two = _two(tmp_path)
    known = KnownHub((PROXY,), hub=peer_id(two.member))
    assert _addresses(one, known, one) == [HttpsAddress(ONE, pin=PIN)]
    assert _addresses(one, known, two) == [HttpsAddress(PROXY), HttpsAddress(TWO)]


def test_and_where_nothing_tells_for_the_only_hub(tmp_path: Path) -> None:
    """As in files that do not name the hub; of two, neither is guessed."""
    alone = Authority.open(tmp_path / "alone", "alone", CLOCK)
    assert _addresses(alone, KnownHub((PROXY,)), alone) == [HttpsAddress(PROXY)]
    one, two = _two(tmp_path)
    assert _addresses(one, KnownHub((PROXY,)), one) == [HttpsAddress(ONE, pin=PIN)]
    assert _addresses(one, KnownHub((PROXY,)), two) == [HttpsAddress(TWO)]
