"""Who may connect: judged on what is really dialled, in both directions, and closed when in doubt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerwatch.errors import DecodeError
from peerwatch.fleet.roster import Roster, RosterEntry, sign_entry
from peerwatch.fleet.trust import Trust
from peerwatch.node.bans import Bans
from peerwatch.node.gater import Admit, Attempt, Deny, Direction, PeerList, Reason, Rules, judge
from peerwatch.node.roster_view import MemberView, RosterView, view_of
from peerwatch.wire.identity import PrivateKey
from tests.node.kit import NOW, PEERS

HUB, AGENT, EXPIRED, STRANGER = PEERS[:4]
MEMBERS: Mapping[str, MemberView] = {
    HUB: MemberView(("hub",)),
    AGENT: MemberView(("agent",), NOW + 1),
    EXPIRED: MemberView(("agent",), NOW),
}
PLACE = "/ip4/192.0.2.9/tcp/4001"
RELAYED = f"{PLACE}/p2p/{HUB}/p2p-circuit"


@dataclass
class Case:
    """Rules with one thing different from "members only"."""

    allow: Sequence[str] = ()
    deny: Sequence[str] = ()
    bans: Sequence[str] = ()

    def judge(
        self, address: str, peer: str | None, direction: Direction = Direction.IN, pending: int = 0
    ) -> Reason | None:
        """The reason of a denial, None for an admission."""
        bans = Bans()
        for subject in self.bans:
            bans.ban_permanent(subject, "test", "hub", NOW)
        rules = Rules(RosterView(1, MEMBERS), bans, PeerList(self.allow), PeerList(self.deny), 2)
        verdict = judge(Attempt(direction, address, peer, pending), rules, NOW)
        return None if isinstance(verdict, Admit) else verdict.reason


def test_members_pass() -> None:
    """In and out, direct and through a relay."""
    for direction in Direction:
        assert Case().judge(PLACE, AGENT, direction) is None
        assert Case().judge(RELAYED, AGENT, direction) is None
        assert Case().judge(f"{RELAYED}/p2p/{AGENT}", None, direction) is None


def test_before_the_handshake_only_the_address_is_known() -> None:
    """Nobody is let further than to the handshake by it; a name that is empty is none."""
    for direction in Direction:
        assert Case().judge(PLACE, None, direction) is None
        assert Case().judge(RELAYED, None, direction) is None
        assert Case().judge(PLACE, "", direction) is Reason.NOT_A_MEMBER


@pytest.mark.parametrize("peer", [STRANGER, EXPIRED])
@pytest.mark.parametrize("direction", list(Direction))
def test_others_do_not(peer: str, direction: Direction) -> None:
    """Strangers and members whose time is over; nor do they serve as relays."""
    assert Case().judge(PLACE, peer, direction) is Reason.NOT_A_MEMBER
    assert Case().judge(RELAYED, peer, direction) is Reason.NOT_A_MEMBER
    assert Case().judge(f"{PLACE}/p2p/{peer}/p2p-circuit", AGENT, direction) is Reason.NOT_A_MEMBER


@pytest.mark.parametrize(
    "address", ["", "junk", "/ip4/999.0.0.1/tcp/1", "/unix/tmp", "/dns4/hub.example/tcp/1", f"/p2p/{AGENT}"]
)
@pytest.mark.parametrize("direction", list(Direction))
def test_an_address_that_is_not_understood_is_denied(address: str, direction: Direction) -> None:
    """A name is none either: what it resolves to is judged."""
    assert Case().judge(address, AGENT, direction) is Reason.ADDRESS


def test_the_dialled_peer_must_answer() -> None:
    """Not another member."""
    assert Case().judge(f"{PLACE}/p2p/{HUB}", AGENT, Direction.OUT) is Reason.IDENTITY


@pytest.mark.parametrize("listed", [AGENT, "192.0.2.9", "192.0.2.0/24", "::ffff:192.0.2.0/120"])
@pytest.mark.parametrize("direction", list(Direction))
def test_deny_list_and_bans(listed: str, direction: Direction) -> None:
    """By peer id, by address, by network; in and out."""
    assert Case(deny=[listed]).judge(PLACE, AGENT, direction) is Reason.DENIED
    assert Case(bans=[listed]).judge(PLACE, AGENT, direction) is Reason.BANNED
    assert Case(deny=[listed], bans=[listed], allow=[AGENT]).judge(PLACE, AGENT, direction) is Reason.DENIED
    assert Case(bans=[listed], allow=[AGENT]).judge(PLACE, AGENT, direction) is Reason.BANNED


def test_ipv4_in_ipv6_clothes_is_judged_as_ipv4() -> None:
    """Or every IPv4 rule could be walked round."""
    for address in ("/ip6/::ffff:192.0.2.9/tcp/1", "/ip6/::ffff:c000:0209/tcp/1"):
        assert Case(deny=["192.0.2.0/24"]).judge(address, AGENT) is Reason.DENIED
        assert Case(bans=["192.0.2.0/24"]).judge(address, AGENT) is Reason.BANNED
        assert Case(allow=["192.0.2.0/24"]).judge(address, AGENT) is None


def test_a_banned_network_gets_no_handshake() -> None:
    """It is refused by its address alone."""
    assert Case(bans=["192.0.2.0/24"]).judge(PLACE, None) is Reason.BANNED


def test_relayed_ones_are_judged_on_both_identities() -> None:
    """A banned peer does not come in through an honest relay, nor an honest one through a banned relay."""
    assert Case(bans=[AGENT]).judge(RELAYED, AGENT) is Reason.BANNED
    assert Case(bans=[HUB]).judge(RELAYED, AGENT) is Reason.BANNED
    assert Case(deny=[HUB]).judge(RELAYED, AGENT) is Reason.DENIED
    assert Case(deny=["192.0.2.0/24"]).judge(RELAYED, AGENT) is Reason.DENIED


def test_an_allow_list_lets_nobody_else_in() -> None:
    """Membership is still needed."""
    assert Case(allow=[AGENT]).judge(PLACE, AGENT) is None
    assert Case(allow=["192.0.2.0/24"]).judge(PLACE, AGENT) is None
    assert Case(allow=[HUB, "10.0.0.0/8"]).judge(PLACE, AGENT) is Reason.NOT_ALLOWED
    assert Case(allow=[STRANGER]).judge(PLACE, STRANGER) is Reason.NOT_A_MEMBER


def test_an_allow_list_before_the_handshake() -> None:
    """Of networks only: refused at once. With peers on it: their name must be heard first."""
    assert Case(allow=["10.0.0.0/8"]).judge(PLACE, None) is Reason.NOT_ALLOWED
    assert Case(allow=["10.0.0.0/8", AGENT]).judge(PLACE, None) is None


def test_a_relays_address_allows_nobody_behind_it() -> None:
    """The relay and the peer must each be allowed."""
    assert Case(allow=["192.0.2.0/24"]).judge(RELAYED, AGENT) is Reason.NOT_ALLOWED
    assert Case(allow=[AGENT]).judge(RELAYED, AGENT) is Reason.NOT_ALLOWED
    assert Case(allow=[AGENT, "192.0.2.0/24"]).judge(RELAYED, AGENT) is None
    assert Case(allow=[AGENT, HUB]).judge(RELAYED, AGENT) is None


def test_one_neighbourhood_does_not_fill_the_door() -> None:
    """Handshakes are limited per subnet; who has finished his is not counted."""
    assert Case().judge(PLACE, None, pending=1) is None
    assert Case().judge(PLACE, None, pending=2) is Reason.CROWDED
    assert Case().judge(PLACE, AGENT, pending=2) is None


def test_an_empty_roster_lets_nobody_in() -> None:
    """Before the main process has spoken, and after it said that all are gone."""
    rules = Rules(RosterView(), Bans(), PeerList(), PeerList(), 2)
    verdict = judge(Attempt(Direction.IN, PLACE, AGENT), rules, NOW)
    assert verdict == Deny(Reason.NOT_A_MEMBER, f"{AGENT} is not a member (roster version 0)")


@settings(deadline=None)
@given(st.text(max_size=60), st.none() | st.text(max_size=60) | st.sampled_from(PEERS), st.sampled_from(Direction))
def test_nothing_a_peer_chooses_raises(address: str, peer: str | None, direction: Direction) -> None:
    """And text that is no address is denied."""
    assert Case().judge(address, peer, direction) is Reason.ADDRESS
    assert Case().judge(PLACE, peer, direction) is not None or peer in (None, HUB, AGENT)


def test_lists_take_ids_and_networks_only() -> None:
    """What is neither is an error, not an entry that matches nothing."""
    with pytest.raises(DecodeError, match="peer id"):
        PeerList(["hub-1"])


def test_roster_view() -> None:
    """Roles count while the member is active; who is no longer listed is named."""
    view = RosterView(1, MEMBERS)
    assert view.has_role(HUB, "hub", NOW) and not view.has_role(AGENT, "hub", NOW)
    assert not view.has_role(EXPIRED, "agent", NOW)
    assert RosterView(2, {HUB: MemberView(("hub",))}).gone_since(view) == [AGENT, EXPIRED]


def test_the_node_is_told_of_active_members_only() -> None:
    """Whoever is revoked or expired is not in what it gets."""
    keys = [PrivateKey(bytes([n] * 32)).public for n in range(4)]
    roster = Roster(Trust(b"F" * 16, keys[0]))
    for n, (expires_ms, revoked) in enumerate([(0, False), (NOW + 1, False), (NOW, False), (0, True)]):
        entry = RosterEntry(keys[n], keys[n], f"m{n}", ("agent",), expires_ms, n + 1, revoked)
        roster.restore(sign_entry(PrivateKey(bytes(32)), keys[0], b"F" * 16, entry))
    assert view_of(roster, NOW) == RosterView(
        4, {PEERS[0]: MemberView(("agent",)), PEERS[1]: MemberView(("agent",), NOW + 1)}
    )
    told, version = roster.changes, roster.version
    other = RosterEntry(keys[1], keys[1], "m1", ("agent",), NOW + 1, 2, True)  # from another hub, of a lower version
    roster.restore(sign_entry(PrivateKey(bytes(32)), keys[0], b"F" * 16, other))
    assert (roster.changes, roster.version) == (told + 1, version)
    assert list(view_of(roster, NOW).members) == [PEERS[0]]
    again = RosterEntry(PrivateKey(bytes([9] * 32)).public, keys[1], "m1", ("agent",), 0, 5, False)  # with a barred key
    roster.restore(sign_entry(PrivateKey(bytes(32)), keys[0], b"F" * 16, again))
    assert list(view_of(roster, NOW).members) == [PEERS[0]]
