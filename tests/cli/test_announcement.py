"""What a hub says of where its libp2p node is."""

from __future__ import annotations

from pathlib import Path

import pytest

from peerwatch.cli.announcement import Announcement, worth_announcing
from peerwatch.fleet.authority import Authority
from peerwatch.model import SystemClock
from peerwatch.wire.identity import peer_id
from tests.node.kit import PEERS

ME, OTHER = PEERS[:2]
AWAY, HERE = ["https://192.0.2.7:9480"], ["http://127.0.0.1:9480"]


def _mine(*bare: str) -> list[str]:
    return [f"{one}/p2p/{ME}" for one in bare]


def test_loopback_and_link_local_are_not_for_others() -> None:
    """Nor what means every address or nobody; the order stays."""
    good = _mine("/dns4/hub.example/tcp/4001", "/ip4/192.0.2.7/tcp/4001", "/ip6/2001:db8::7/tcp/4001")
    bad = ["/ip4/127.0.0.1/tcp/4001", "/ip6/::1/tcp/4001", "/ip4/0.0.0.0/tcp/4001", "/ip6/::/tcp/4001"]
    bad += ["/ip4/169.254.1.1/tcp/4001", "/ip6/fe80::1/tcp/4001", "/ip4/224.0.0.1/tcp/4001", "/dns4/localhost/tcp/4001"]
    for urls in (AWAY, HERE):
        assert worth_announcing([*_mine(*bad), *good], ME, urls) == tuple(good)


@pytest.mark.parametrize(("urls", "announced"), [(HERE, 2), (AWAY, 0), ([*HERE, *AWAY], 0)])
def test_loopback_is_announced_where_there_is_nothing_else(urls: list[str], announced: int) -> None:
    """A hub that others reach over HTTPS does not send them to their own loopback."""
    found = _mine("/ip4/127.0.0.1/tcp/4001", "/ip6/::1/tcp/4001")
    assert worth_announcing(found, ME, urls) == tuple(found[:announced])


def test_what_the_node_says_is_checked() -> None:
    """Another's address, one without a peer, nonsense and a long one are left out; more than sixteen are cut."""
    long = f"/dns4/{'a' * 300}/tcp/1"
    wrong = [f"/ip4/192.0.2.8/tcp/1/p2p/{OTHER}", "/ip4/192.0.2.8/tcp/1", "nonsense", "", *_mine(long)]
    many = _mine(*(f"/ip4/192.0.2.8/tcp/{port}" for port in range(1, 30)))
    assert worth_announcing([*wrong, *many], ME, AWAY) == tuple(many[:16])


def test_a_hub_says_where_it_is_and_says_it_again_when_that_changes(tmp_path: Path) -> None:
    """In its signed entry; what stays the same makes no new version, and without a node nothing is left of it."""
    authority = Authority.open(tmp_path, "hub", SystemClock())
    me = peer_id(authority.member)
    first, second = (f"/ip4/192.0.2.{n}/tcp/4001/p2p/{me}" for n in (7, 8))

    def versions(*steps: list[str], has_node: bool = True) -> list[int]:
        one, found = Announcement(authority, tuple(AWAY), b"", has_node=has_node), []
        one.make()
        for addresses in steps:
            one.node_listens(addresses)
            found.append(authority.membership.roster.version)
        return found

    one, same, other = versions([first], [first], [second])
    assert one == same < other
    assert authority.multiaddrs == (second,)
    reopened = Authority.open(tmp_path, "hub", SystemClock())
    assert reopened.multiaddrs == (second,)
    assert versions([second]) == [other]
    versions(has_node=False)
    assert authority.multiaddrs == ()
