"""Who is revoked is out for good, whatever else is said about him and by whom."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from peerwatch.errors import ConfigError, SignatureError
from peerwatch.fleet.authority import Authority
from peerwatch.fleet.keys import MemberKeys, load_key
from peerwatch.fleet.membership import Membership
from peerwatch.fleet.roster import AGENT, HUB, INVITE, RosterEntry, sign_entry, signer_of
from peerwatch.fleet.trust import HubCertificate, certify_hub
from peerwatch.wire.identity import PrivateKey, peer_id
from tests.fleet.test_membership import NOW, Clock, _invite, _request


@pytest.fixture
def hub(tmp_path: Path) -> Authority:
    return Authority.open(tmp_path / "hub", "hub-1", Clock())


def _agent(hub: Authority, name: str = "web-1") -> RosterEntry:
    return hub.admit(PrivateKey.generate().public, PrivateKey.generate().public, name, (AGENT,))


def _acts(membership: Membership, entry: RosterEntry) -> bool:
    found = membership.roster.get(entry.member)
    return found is not None and membership.roster.may_act(found, NOW)


@pytest.mark.parametrize("by", ["name", "peer id"])
def test_a_member_is_revoked_by_name_or_peer_id(hub: Authority, tmp_path: Path, by: str) -> None:
    """Signed by the hub, on disk at once, and the same again changes nothing; the name is free for another."""
    entry = _agent(hub)
    who = entry.name if by == "name" else peer_id(entry.member)
    gone = hub.revoke(who)
    assert (gone.member, gone.revoked, gone.version > entry.version) == (entry.member, True, True)
    assert signer_of(hub.membership.roster.raw(entry.member)) == hub.member
    assert hub.revoke(who) == gone
    assert not _acts(Authority.open(tmp_path / "hub", "hub-1", Clock()).membership, entry)
    assert _agent(hub).name == "web-1"


def test_no_later_word_brings_a_revoked_member_back(hub: Authority) -> None:
    """Not a higher version, and not another member with the revoked one's signing key."""
    entry = _agent(hub)
    hub.revoke("web-1")
    roster = hub.membership.roster
    later = RosterEntry(entry.member, entry.signing_key, "web-1", (AGENT,), 0, 999, False)
    assert roster.merge(sign_entry(hub.keys.signing, hub.member, hub.fleet, later), NOW) is None
    other = RosterEntry(b"o" * 32, entry.signing_key, "web-2", (AGENT,), 0, 1000, False)
    roster.merge(sign_entry(hub.keys.signing, hub.member, hub.fleet, other), NOW)
    assert not _acts(hub.membership, entry) and not _acts(hub.membership, other)
    for member, signing in ((entry.member, b"x" * 32), (b"y" * 32, entry.signing_key)):
        with pytest.raises(SignatureError, match="never comes back"):
            hub.admit(member, signing, "web-3", (AGENT,))


def test_a_revoked_machine_does_not_use_up_an_invite(hub: Authority) -> None:
    """It is told what to do, and the invite is good for another."""
    peer, signing = PrivateKey.generate(), PrivateKey.generate()
    hub.enrol(_request(_invite(hub), peer, signing))
    hub.revoke("web-1")
    invite = _invite(hub)
    with pytest.raises(SignatureError, match="remove its keys"):
        hub.enrol(_request(invite, peer, signing))
    assert hub.enrol(_request(invite, PrivateKey.generate(), PrivateKey.generate())).name == "web-1"


def test_who_cannot_be_revoked_is_said(hub: Authority) -> None:
    """Nobody of that name, the hub itself, an invite; a name like a peer id does not shield its bearer's victim."""
    victim = _agent(hub, "victim")
    shield = _agent(hub, peer_id(victim.member))
    with pytest.raises(ConfigError, match="no member has the name or peer id 'nobody'"):
        hub.revoke("nobody")
    with pytest.raises(ConfigError, match="cannot revoke itself"):
        hub.revoke("hub-1")
    _invite(hub, "db-7")
    with pytest.raises(ConfigError, match="no member"):
        hub.revoke("db-7")
    assert hub.revoke(peer_id(victim.member)).name == "victim"
    assert _acts(hub.membership, shield)


def test_a_name_that_two_members_bear_is_not_guessed(hub: Authority) -> None:
    """Two hubs may give one name at the same time; the peer ids are shown."""
    first = _agent(hub)
    twin = RosterEntry(b"t" * 32, b"u" * 32, "web-1", (AGENT,), 0, 99, False)
    hub.membership.roster.merge(sign_entry(hub.keys.signing, hub.member, hub.fleet, twin), NOW)
    with pytest.raises(ConfigError, match=peer_id(first.member)):
        hub.revoke("web-1")
    assert hub.revoke(peer_id(twin.member)).revoked


def _second_hub(hub: Authority, root: PrivateKey) -> MemberKeys:
    """A certified second hub."""
    keys = MemberKeys(PrivateKey.generate(), PrivateKey.generate())
    certificate = HubCertificate(keys.peer.public, keys.signing.public, 0, NOW * 2, 1)
    hub.membership.trust.add_certificate(certify_hub(root, hub.fleet, certificate), NOW)
    hub.admit(keys.peer.public, keys.signing.public, "hub-2", (HUB,))
    return keys


def test_a_revoked_hub_signs_nothing_any_more(hub: Authority, tmp_path: Path) -> None:
    """Neither members nor acks; its invites are void, the members that it let in are signed for by who revoked it."""
    second = _second_hub(hub, load_key(tmp_path / "hub/root.key"))
    let_in = RosterEntry(b"m" * 32, b"k" * 32, "web-9", (AGENT,), 0, 50, False)
    raw = sign_entry(second.signing, second.peer.public, hub.fleet, let_in)
    hub.membership.roster.merge(raw, NOW)
    invite = RosterEntry(b"i" * 32, b"i" * 32, "way-in", (INVITE, HUB), NOW * 2, 51, False)
    hub.membership.roster.merge(sign_entry(second.signing, second.peer.public, hub.fleet, invite), NOW)
    hub.revoke("hub-2")
    assert _acts(hub.membership, let_in) and hub.open_invites() == []
    assert signer_of(hub.membership.roster.raw(let_in.member)) == hub.member
    bogus = RosterEntry(b"n" * 32, b"l" * 32, "x", (AGENT,), 0, 99, False)
    late = sign_entry(second.signing, second.peer.public, hub.fleet, bogus)
    with pytest.raises(SignatureError, match="a hub that was revoked"):
        hub.membership.roster.merge(late, NOW)
    with pytest.raises(SignatureError, match="was revoked"):
        hub.membership.hub_verifier(second.peer.public, NOW)


def test_a_revoked_hub_revokes_nobody(hub: Authority, tmp_path: Path) -> None:
    """Else one in wrong hands could put the whole fleet out, for good, after it was found out."""
    second = _second_hub(hub, load_key(tmp_path / "hub/root.key"))
    agent = _agent(hub)
    hub.revoke("hub-2")
    revenge = replace(agent, version=agent.version + 9, revoked=True)
    with pytest.raises(SignatureError, match="a hub that was revoked"):
        hub.membership.roster.merge(sign_entry(second.signing, second.peer.public, hub.fleet, revenge), NOW)
    assert _acts(hub.membership, agent)
