"""Invites: good for so many machines, for so long, and for nobody afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from peerwatch.errors import ConfigError, QuotaError, SignatureError
from peerwatch.fleet.authority import MAX_USES, Authority
from peerwatch.fleet.invite import Invite, decode_token, encode_token
from peerwatch.fleet.membership import Membership
from peerwatch.fleet.roster import AGENT, HUB, MAX_INVITES, RosterEntry
from peerwatch.wire.identity import PrivateKey
from tests.fleet.kit import exchange, second_hub
from tests.fleet.test_membership import NOW, Clock, _request

HOUR_MS = 3_600_000


def _open(tmp_path: Path, clock: Clock | None = None) -> Authority:
    return Authority.open(tmp_path / "hub", "hub-1", clock or Clock())


def _invite(hub: Authority, uses: int = 1, name: str = "", roles: tuple[str, ...] = (AGENT,)) -> Invite:
    return hub.invite(("https://127.0.0.1:9480",), b"", HOUR_MS, "https", name, uses=uses, roles=roles)


def _join(hub: Authority, invite: Invite, name: str = "web") -> RosterEntry:
    return hub.enrol(_request(invite, PrivateKey.generate(), PrivateKey.generate(), name))


def test_an_invite_lets_in_as_many_as_it_says(tmp_path: Path) -> None:
    """Each use is counted, also over a restart of the hub; the next machine is refused, whoever asks again is not."""
    hub = _open(tmp_path)
    invite = _invite(hub, uses=3)
    peer, signing = PrivateKey.generate(), PrivateKey.generate()
    first = hub.enrol(_request(invite, peer, signing, "a"))
    assert hub.enrol(_request(invite, peer, signing, "a")) == first
    _join(hub, invite)
    assert [hub.uses_left(entry) for entry in hub.open_invites()] == [1]
    hub = _open(tmp_path)
    assert [hub.uses_left(entry) for entry in hub.open_invites()] == [1]
    _join(hub, invite)
    assert hub.open_invites() == []
    with pytest.raises(SignatureError, match="has been used"):
        _join(hub, invite)
    assert hub.enrol(_request(invite, peer, signing, "a")) == first


def test_a_use_is_not_given_back(tmp_path: Path) -> None:
    """Not when its machine is revoked, nor when it joins again by another invite."""
    hub = _open(tmp_path)
    invite, other = _invite(hub, uses=2), _invite(hub)
    peer, signing = PrivateKey.generate(), PrivateKey.generate()
    hub.enrol(_request(invite, peer, signing, "a"))
    hub.enrol(_request(other, peer, signing, "a"))
    assert hub.open_invites()[0].member == invite.key.public and hub.uses_left(hub.open_invites()[0]) == 1
    hub.revoke("a")
    assert hub.uses_left(hub.open_invites()[0]) == 1
    assert other.key.public not in [entry.member for entry in hub.open_invites()]


def test_the_clock_ends_an_invite_whatever_is_left_of_it(tmp_path: Path) -> None:
    """At the very millisecond; one before it is good."""
    clock = Clock()
    hub = _open(tmp_path, clock)
    invite = _invite(hub, uses=5)
    clock.ms += HOUR_MS - 1
    _join(hub, invite)
    clock.ms += 1
    assert hub.open_invites() == []
    with pytest.raises(SignatureError, match="has expired"):
        _join(hub, invite)


def test_a_withdrawn_invite_is_useless_and_its_machines_stay(tmp_path: Path) -> None:
    """By its name or by the token; what is not open cannot be withdrawn."""
    hub = _open(tmp_path)
    for which in ("rack", ""):
        invite = _invite(hub, uses=3, name="rack")
        entry = _join(hub, invite)
        hub.withdraw(which or encode_token(invite))
        with pytest.raises(SignatureError, match="was withdrawn"):
            _join(hub, invite)
        assert hub.membership.roster.get(entry.member) == entry
        with pytest.raises(ConfigError, match="no open invite is called"):
            hub.withdraw("rack")


def test_machines_of_one_invite_are_told_apart(tmp_path: Path) -> None:
    """A fixed name gets numbers; an invite for one machine holds its name until it is used."""
    hub = _open(tmp_path)
    rack, single = _invite(hub, uses=3, name="rack"), _invite(hub, name="db")
    assert [_join(hub, rack).name for _ in range(3)] == ["rack", "rack-2", "rack-3"]
    assert _join(hub, _invite(hub), "db").name == "db-2"
    assert _join(hub, single, "x").name == "db"


def test_roles_come_with_the_invite(tmp_path: Path) -> None:
    """The token says what its holder becomes, and the hub decides by what it signed."""
    hub = _open(tmp_path)
    token = encode_token(_invite(hub, roles=(HUB,)))
    assert decode_token(token).roles == (HUB,)
    assert _join(hub, decode_token(token)).roles == (HUB,)
    assert decode_token(encode_token(_invite(hub))).roles == (AGENT,)


def test_an_invite_for_a_hub_is_no_hub(tmp_path: Path) -> None:
    """It is not handed to members as one of the hubs."""
    hub = _open(tmp_path)
    _invite(hub, roles=(HUB, AGENT))
    told = Membership(tmp_path / "x", hub.fleet, hub.membership.trust.root)
    told.absorb(hub.membership.welcome(b""), NOW)
    assert [entry.name for entry in told.roster] == ["hub-1"]


@pytest.mark.parametrize("uses", [0, -1, MAX_USES + 1])
def test_an_invite_that_cannot_work_is_refused(tmp_path: Path, uses: int) -> None:
    """With the limits."""
    hub = _open(tmp_path)
    with pytest.raises(ConfigError, match=f"uses: {uses}, allowed are 1 to {MAX_USES}"):
        _invite(hub, uses=uses)
    with pytest.raises(ConfigError, match="roles: king"):
        _invite(hub, roles=("king",))


def test_open_invites_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script gone wrong is told so; so is a machine that joins again and again."""
    monkeypatch.setattr("peerwatch.fleet.authority._MAX_OPEN_INVITES", MAX_INVITES)
    hub = _open(tmp_path)
    invites = [_invite(hub) for _ in range(MAX_INVITES)]
    with pytest.raises(QuotaError, match=f"{MAX_INVITES} invites are open"):
        _invite(hub)
    peer, signing = PrivateKey.generate(), PrivateKey.generate()
    for invite in invites:
        hub.enrol(_request(invite, peer, signing))
    with pytest.raises(QuotaError, match=f"joined by {MAX_INVITES} invites"):
        hub.enrol(_request(_invite(hub), peer, signing))


def test_a_race_on_two_hubs_is_settled_alike(tmp_path: Path) -> None:
    """Two hubs that did not hear of each other give the last use away: one machine stays, the same one on both."""
    first = _open(tmp_path)
    invite = _invite(first)
    second = second_hub(first, tmp_path / "hub", tmp_path / "second", Clock())
    racers = [_join(first, invite, "a"), _join(second, invite, "b")]
    exchange(first, second, NOW)
    for hub in (first, second):
        hub.settle()
    for _ in range(2):
        exchange(first, second, NOW)
    kept = [
        [one.name for one in racers if (found := hub.membership.roster.get(one.member)) and not found.revoked]
        for hub in (first, second)
    ]
    assert kept[0] == kept[1] and len(kept[0]) == 1
    for hub in (first, second):
        assert hub.open_invites() == []
        with pytest.raises(SignatureError, match="has been used"):
            _join(hub, invite)
