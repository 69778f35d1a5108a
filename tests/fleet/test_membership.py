"""Closed membership: nobody gets in, speaks or stays without a signature that leads to the root."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerwatch.errors import ConfigError, DecodeError, SignatureError
from peerwatch.fleet.authority import Authority
from peerwatch.fleet.invite import DEFAULT_LIFE_MS, Enrolment, Invite, decode_token, encode_token, sign_enrolment
from peerwatch.fleet.keys import load_key, load_or_create_key
from peerwatch.fleet.membership import Membership, new_membership
from peerwatch.fleet.roster import AGENT, HUB, RosterEntry, sign_entry
from peerwatch.fleet.trust import HUB_CERTIFICATE_LIFE_MS, HubCertificate, certify_hub, rotate_root
from peerwatch.wire.identity import PrivateKey

NOW = 1_800_000_000_000


class Clock:
    """Stands still until it is told."""

    def __init__(self) -> None:
        self.ms = NOW

    def now_ms(self) -> int:
        return self.ms

    def monotonic_s(self) -> float:
        return self.ms / 1000


def _invite(authority: Authority, name: str = "") -> Invite:
    return authority.invite(("https://127.0.0.1:9480",), b"p" * 32, DEFAULT_LIFE_MS, "https", name)


def _request(invite: Invite, peer: PrivateKey, signing: PrivateKey, name: str = "web-1") -> bytes:
    enrolment = Enrolment(invite.fleet, invite.key.public, peer.public, signing.public, name, NOW)
    return sign_enrolment(invite.key, peer, signing, enrolment)


def test_a_token_lets_one_machine_in_once(tmp_path: Path) -> None:
    """The second machine with the same token is refused; the first may ask again, its answer could be lost."""
    hub = Authority.open(tmp_path, "hub-1", Clock())
    invite = decode_token(encode_token(_invite(hub)))
    peer, signing = PrivateKey.generate(), PrivateKey.generate()
    entry = hub.enrol(_request(invite, peer, signing))
    assert (entry.name, entry.roles, entry.member, entry.signing_key) == (
        "web-1",
        (AGENT,),
        peer.public,
        signing.public,
    )
    assert hub.enrol(_request(invite, peer, signing)) == entry
    with pytest.raises(SignatureError, match="has been used"):
        hub.enrol(_request(invite, PrivateKey.generate(), PrivateKey.generate()))


def test_an_invite_expires(tmp_path: Path) -> None:
    """The message says what to do."""
    clock = Clock()
    hub = Authority.open(tmp_path, "hub-1", clock)
    invite = _invite(hub)
    clock.ms += DEFAULT_LIFE_MS
    with pytest.raises(SignatureError, match="expired; ask for a new one"):
        hub.enrol(_request(invite, PrivateKey.generate(), PrivateKey.generate()))


def test_nobody_enrols_a_key_he_does_not_hold(tmp_path: Path) -> None:
    """All three signatures are needed."""
    hub = Authority.open(tmp_path, "hub-1", Clock())
    invite, victim = _invite(hub), PrivateKey.generate()
    enrolment = Enrolment(invite.fleet, invite.key.public, victim.public, victim.public, "x", NOW)
    forged = sign_enrolment(invite.key, PrivateKey.generate(), PrivateKey.generate(), enrolment)
    with pytest.raises(SignatureError):
        hub.enrol(forged)


def test_names_are_unique(tmp_path: Path) -> None:
    """A second web-1 becomes web-1-2, so that no member speaks under another's name."""
    hub = Authority.open(tmp_path, "hub-1", Clock())
    names = [hub.enrol(_request(_invite(hub), PrivateKey.generate(), PrivateKey.generate())).name for _ in range(3)]
    assert names == ["web-1", "web-1-2", "web-1-3"]


def test_an_invite_may_fix_the_name(tmp_path: Path) -> None:
    """What the operator chose wins over what the machine says."""
    hub = Authority.open(tmp_path, "hub-1", Clock())
    entry = hub.enrol(_request(_invite(hub, "db-7"), PrivateKey.generate(), PrivateKey.generate(), "evil"))
    assert entry.name == "db-7"


def test_membership_survives_a_restart(tmp_path: Path) -> None:
    """Keys, fleet, roster and spent invites are read back."""
    hub = Authority.open(tmp_path, "hub-1", Clock())
    invite = _invite(hub)
    entry = hub.enrol(_request(invite, PrivateKey.generate(), PrivateKey.generate()))
    again = Authority.open(tmp_path, "another name", Clock())
    assert again.fleet == hub.fleet and again.member == hub.member
    assert again.membership.roster.get(entry.member) == entry
    assert again.membership.roster.get(hub.member).name == "hub-1"  # type: ignore[union-attr]  # it is there
    with pytest.raises(SignatureError, match="has been used"):
        again.enrol(_request(invite, PrivateKey.generate(), PrivateKey.generate()))


def test_a_joining_member_verifies_everything_from_the_token(tmp_path: Path) -> None:
    """From the root in the token it comes to trust the hub, and only that fleet's."""
    hub = Authority.open(tmp_path / "a", "hub-1", Clock())
    stranger = Authority.open(tmp_path / "b", "hub-2", Clock())
    invite = _invite(hub)
    mine = new_membership(tmp_path / "m.bin", invite.root)
    mine.absorb(hub.membership.welcome(invite.key.public), NOW)
    assert mine.fleet == hub.fleet
    assert mine.trust.hub_verifier(hub.member, NOW).public == hub.keys.signing.public
    with pytest.raises(SignatureError):
        mine.absorb(stranger.membership.export(), NOW)
    with pytest.raises(SignatureError, match="holds no certificate"):
        mine.trust.hub_verifier(stranger.member, NOW)


def test_a_certificate_expires_and_is_renewed_by_the_root(tmp_path: Path) -> None:
    """Past half its life a hub with its root key renews; without it, it goes on until the end and then fails closed."""
    clock = Clock()
    hub = Authority.open(tmp_path, "hub-1", clock)
    (tmp_path / "root.key").rename(tmp_path / "offline")
    clock.ms += HUB_CERTIFICATE_LIFE_MS * 3 // 4
    Authority.open(tmp_path, "hub-1", clock)
    clock.ms += HUB_CERTIFICATE_LIFE_MS
    with pytest.raises(SignatureError):
        hub.membership.trust.hub_verifier(hub.member, clock.ms)
    with pytest.raises(SignatureError):
        Authority.open(tmp_path, "hub-1", clock)
    (tmp_path / "offline").rename(tmp_path / "root.key")
    renewed = Authority.open(tmp_path, "hub-1", clock)
    assert renewed.membership.trust.hub_verifier(hub.member, clock.ms)


def test_the_root_rotates(tmp_path: Path) -> None:
    """The old root names its successor; a root that nobody named is refused."""
    old, new = PrivateKey.generate(), PrivateKey.generate()
    membership = new_membership(tmp_path / "m.bin", old.public)
    fleet = membership.fleet
    membership.trust.add_rotation(rotate_root(old, fleet, new.public, 1))
    assert membership.trust.root == new.public and membership.fleet == fleet
    with pytest.raises(SignatureError):
        membership.trust.add_rotation(rotate_root(old, fleet, old.public, 2))


@given(st.permutations(range(6)))
def test_rosters_agree_whatever_the_order(order: list[int]) -> None:
    """The highest version wins, revocation always wins, ties are settled alike everywhere."""
    path = Path("unused")
    root, hub, member = PrivateKey(bytes(32)), PrivateKey(b"h" * 32), b"m" * 32

    def fresh() -> Membership:
        membership = new_membership(path, root.public)
        certificate = HubCertificate(hub.public, hub.public, 0, NOW * 2, 1)
        membership.trust.add_certificate(certify_hub(root, membership.fleet, certificate), NOW)
        return membership

    fleet = fresh().fleet
    entries = [
        RosterEntry(member, b"k" * 32, "a", (AGENT,), 0, 1, False),
        RosterEntry(member, b"k" * 32, "b", (AGENT,), 0, 2, False),
        RosterEntry(member, b"l" * 32, "c", (AGENT,), 0, 2, False),
        RosterEntry(member, b"k" * 32, "d", (AGENT,), 0, 3, True),
        RosterEntry(member, b"k" * 32, "e", (AGENT,), 0, 9, False),
        RosterEntry(b"n" * 32, b"k" * 32, "f", (HUB,), 0, 4, False),
    ]
    raws = [sign_entry(hub, hub.public, fleet, entry) for entry in entries]
    membership = fresh()
    for at in order:
        membership.roster.merge(raws[at], NOW)
    assert membership.roster.get(member) == entries[3]
    assert membership.roster.get(b"n" * 32) == entries[5]


def test_key_files_are_private(tmp_path: Path) -> None:
    """A key that others can read is refused with the way out; a damaged one says so."""
    path = tmp_path / "k"
    key = load_or_create_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_key(path).public == key.public
    path.chmod(0o644)
    with pytest.raises(ConfigError, match=r"mode 0644.*chmod 600"):
        load_key(path)
    path.chmod(0o600)
    path.write_bytes(b"junk")
    with pytest.raises(ConfigError, match="is not a key file"):
        load_key(path)


def test_a_damaged_membership_says_what_to_do(tmp_path: Path) -> None:
    """It is never silently founded anew."""
    Authority.open(tmp_path, "hub-1", Clock())
    path = tmp_path / "membership.bin"
    path.write_bytes(os.urandom(100))
    with pytest.raises(ConfigError, match="cannot be used"):
        Authority.open(tmp_path, "hub-1", Clock())


@given(st.text(max_size=80))
def test_any_text_is_a_token_or_refused(text: str) -> None:
    """No text raises anything but DecodeError."""
    for token in (text, "pw1." + text):
        with pytest.raises(DecodeError):
            decode_token(token)


def test_a_cut_token_is_noticed(tmp_path: Path) -> None:
    """A terminal that wrapped it is the likely reason, and the message says so."""
    token = encode_token(_invite(Authority.open(tmp_path, "hub-1", Clock())))
    with pytest.raises(DecodeError, match="copy it again"):
        decode_token(token[:-1])
