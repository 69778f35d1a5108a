"""Which hubs a node is to be connected to."""

from __future__ import annotations

from pathlib import Path

from peerwatch.cli.hub_peers import hub_peers, relay_peers
from peerwatch.fleet.authority import Authority
from peerwatch.fleet.invite import decode_token, encode_token
from peerwatch.fleet.roster import AGENT, RELAY
from peerwatch.model import SystemClock
from peerwatch.wire.identity import PrivateKey, peer_id
from tests.fleet.kit import exchange, second_hub

CLOCK = SystemClock()


def _at(hub: Authority, number: int) -> str:
    return f"/ip4/192.0.2.{number}/tcp/4001/p2p/{peer_id(hub.member)}"


def _two(tmp_path: Path) -> tuple[Authority, Authority]:
    one = Authority.open(tmp_path / "one", "one", CLOCK)
    two = second_hub(one, tmp_path / "one", tmp_path / "two", CLOCK)
    one.announce(("https://192.0.2.1:9480",), b"", (_at(one, 1),))
    two.announce(("https://192.0.2.2:9480",), b"", (_at(two, 2), _at(one, 3), "nonsense"))
    exchange(one, two, CLOCK.now_ms())
    return one, two


def test_what_was_set_comes_first_then_what_is_announced_then_what_a_token_said(tmp_path: Path) -> None:
    """Each to the hub that it names: no hub speaks for another, and nobody else is dialled."""
    one, two = _two(tmp_path)
    stranger = Authority.open(tmp_path / "other", "other", CLOCK)
    found = hub_peers(
        two.membership.roster, CLOCK.now_ms(), first=[_at(one, 9), _at(stranger, 4)], last=[_at(two, 8), _at(two, 2)]
    )
    assert found == {one.member: (_at(one, 9), _at(one, 1)), two.member: (_at(two, 2), _at(two, 8))}
    assert hub_peers(two.membership.roster, CLOCK.now_ms(), me=two.member) == {one.member: (_at(one, 1),)}


def test_a_revoked_hub_is_not_dialled(tmp_path: Path) -> None:
    """Whatever says where it is."""
    one, two = _two(tmp_path)
    one.revoke(peer_id(two.member))
    assert hub_peers(one.membership.roster, CLOCK.now_ms(), first=[_at(two, 2)], me=one.member) == {}


def test_a_token_says_where_the_hub_is_and_names_a_spare_one(tmp_path: Path) -> None:
    """Over libp2p; the inviting hub first. It stays short enough to paste."""
    one, two = _two(tmp_path)
    one.announce((), b"", tuple(_at(one, n) for n in range(1, 10)))
    invite = one.invite(("https://192.0.2.1:9480",), b"\1" * 32, 60_000, "p2p")
    token = encode_token(invite)
    read = decode_token(token)
    assert read.link == "p2p"
    assert read.multiaddrs == (*(_at(one, n) for n in range(1, 5)), _at(two, 2))
    assert len(token) < 1_000


def test_relays_are_those_that_were_set(tmp_path: Path) -> None:
    """And that are relays of this fleet still: an agent that is named is none."""
    one, _ = _two(tmp_path)
    keys = {role: PrivateKey.generate().public for role in (RELAY, AGENT)}
    for role, key in keys.items():
        one.admit(key, key, role, (role,))
    said = [f"/ip4/192.0.2.7/tcp/4001/p2p/{peer_id(key)}" for key in keys.values()]
    roster = one.membership.roster
    assert relay_peers(roster, CLOCK.now_ms(), said) == {keys[RELAY]: (said[0],)}
    assert relay_peers(roster, CLOCK.now_ms(), []) == {}
    one.revoke(peer_id(keys[RELAY]))
    assert relay_peers(roster, CLOCK.now_ms(), said) == {}
