"""A hub introduces members to each other: only members, only by its signed word, only for a while."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from peerwatch.errors import DecodeError, LinkError, PeerError, QuotaError, SignatureError
from peerwatch.fleet.authority import Authority
from peerwatch.fleet.introducer import Introducer
from peerwatch.fleet.partners import MAX_LIFE_MS, MAX_PARTNERS, Partner, PartnerList, open_partners, seal_partners
from peerwatch.fleet.roster import AGENT
from peerwatch.testing.clock import ManualClock
from peerwatch.wire.identity import PrivateKey
from peerwatch.wire.multiaddr import parse_tcp
from peerwatch.wire.peer_info import seal_peer_info
from tests.fleet.kit import second_hub

HERE = "/ip4/192.0.2.1/tcp/4001"
FROM = "/ip4/198.51.100.9/tcp/53422"


class Fleet:
    """A hub and agents, in standing time."""

    def __init__(self, folder: Path, count: int = 3) -> None:
        self.clock = ManualClock()
        self.hub = Authority.open(folder / "hub", "hub-1", self.clock)
        self.introducer = Introducer(self.hub, self.clock)
        self.keys = [PrivateKey.generate() for _ in range(count)]
        for number, key in enumerate(self.keys):
            self.hub.admit(key.public, PrivateKey.generate().public, f"web-{number}", (AGENT,))

    def ask(
        self, key: PrivateKey, listen: Sequence[str] = ("/ip4/192.0.2.1/tcp/4001",), *, sent_from: str = FROM
    ) -> PartnerList:
        """What a member is answered, as it believes it."""
        said = seal_peer_info(key, tuple(parse_tcp(one).pack() for one in listen), {}, self.clock.now_ms())
        raw = self.say(key.public, said, sent_from)
        return open_partners(raw, self.hub.membership, key.public, self.clock.now_ms())

    def say(self, member: bytes, said: bytes, sent_from: str = FROM) -> bytes:
        return anyio.run(self.introducer.answer, member, sent_from, said)

    def settled(self, listens: Sequence[bool] | None = None) -> list[PartnerList]:
        """Everybody's list, once all have asked long enough."""
        lists: list[PartnerList] = []
        for _ in range(6):
            self.clock.advance(5)
            lists = [
                self.ask(key, (HERE,) if listens is None or listens[at] else ()) for at, key in enumerate(self.keys)
            ]
        return lists


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def names(partners: Sequence[Partner]) -> set[str]:
    return {one.name for one in partners}


def test_members_are_introduced_to_each_other(fleet: Fleet) -> None:
    """With names and addresses; who does not listen is let in and not visited."""
    lists = fleet.settled([True, True, False])
    assert [names(one.partners) for one in lists] == [{"web-1"}, {"web-0"}, {"web-0", "web-1"}]
    assert [names(one.visitors) for one in lists] == [{"web-2"}, {"web-2"}, set()]
    assert lists[0].partners[0].addresses == (HERE,)
    assert {one.candidates for one in lists} == {2}
    assert all(not one.addresses for answer in lists for one in answer.visitors)


def test_whoever_is_to_be_visited_hears_of_it_first(fleet: Fleet) -> None:
    """A new member's partners let it in before it is told to come."""
    fleet.settled()
    newcomer = PrivateKey.generate()
    fleet.hub.admit(newcomer.public, PrivateKey.generate().public, "new", (AGENT,))
    fleet.keys.append(newcomer)
    awaited: set[str] = set()
    for _ in range(8):
        fleet.clock.advance(5)
        visited = names(fleet.ask(newcomer).partners)
        assert visited <= awaited
        for key in fleet.keys[:3]:
            answer = fleet.ask(key)
            if "new" in names(answer.visitors) | names(answer.partners):
                awaited |= {entry.name for entry in fleet.hub.membership.roster if entry.member == key.public}
    assert visited == awaited == {"web-0", "web-1", "web-2"}


def test_a_revoked_member_is_introduced_to_nobody(fleet: Fleet) -> None:
    """From its revocation on, and is not answered itself."""
    fleet.settled()
    fleet.hub.revoke("web-1")
    fleet.clock.advance(5)
    answer = fleet.ask(fleet.keys[0])
    assert "web-1" not in names(answer.partners) | names(answer.visitors)
    with pytest.raises(SignatureError, match="no member"):
        fleet.ask(fleet.keys[1])


def test_a_revocation_waits_for_no_new_pairing(fleet: Fleet) -> None:
    """Also where the pairs were made just before it."""
    fleet.settled()
    newcomer = PrivateKey.generate()
    fleet.hub.admit(newcomer.public, PrivateKey.generate().public, "new", (AGENT,))
    fleet.ask(newcomer)
    fleet.clock.advance(2)
    fleet.ask(newcomer)
    fleet.hub.revoke("web-1")
    answer = fleet.ask(fleet.keys[0])
    assert "web-2" in names(answer.partners) and "web-1" not in names(answer.partners) | names(answer.visitors)


def test_who_is_silent_is_forgotten(fleet: Fleet) -> None:
    """A machine that was taken away is not probed for ever."""
    fleet.settled()
    gone = fleet.keys.pop()
    fleet.clock.advance(70)
    lists = fleet.settled()
    assert [names(one.partners) for one in lists] == [{"web-1"}, {"web-0"}]
    assert gone.public not in [one.member for answer in lists for one in answer.visitors]


@pytest.mark.parametrize(
    ("said", "sent_from", "expected"),
    [
        (["/ip4/0.0.0.0/tcp/4001"], FROM, ["/ip4/198.51.100.9/tcp/4001"]),
        (["/ip4/0.0.0.0/tcp/4001"], "", []),
        (["/ip4/0.0.0.0/tcp/4001"], "/ip4/203.0.113.1/tcp/1/p2p/x/p2p-circuit", []),
        (["/ip6/::/tcp/4001"], FROM, []),
        (["/ip4/127.0.0.1/tcp/4001"], FROM, []),
        (["/ip4/127.0.0.1/tcp/4001"], "/ip4/127.0.0.1/tcp/9", ["/ip4/127.0.0.1/tcp/4001"]),
        (["/ip4/224.0.0.1/tcp/4001", "/ip4/192.0.2.1/tcp/1"], FROM, ["/ip4/192.0.2.1/tcp/1"]),
        (["/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.1/tcp/1"], FROM, ["/ip4/192.0.2.1/tcp/1"]),
    ],
)
def test_where_a_member_is_reached(fleet: Fleet, said: list[str], sent_from: str, expected: list[str]) -> None:
    """Every interface means the one that it calls from; loopback leads elsewhere from elsewhere."""
    for _ in range(6):
        fleet.clock.advance(5)
        fleet.ask(fleet.keys[0], said, sent_from=sent_from)
        answer = fleet.ask(fleet.keys[1])
    assert [list(one.addresses) for one in answer.partners] == ([expected] if expected else [])


def test_what_is_not_taken(fleet: Fleet) -> None:
    """Strangers, words of others, old words, nonsense, and questions without pause; nothing of it is kept."""
    key, other = fleet.keys[:2]
    stranger = PrivateKey.generate()
    now_ms = fleet.clock.now_ms()
    with pytest.raises(SignatureError, match="no member"):
        fleet.ask(stranger)
    with pytest.raises(SignatureError, match="another"):
        fleet.say(key.public, seal_peer_info(other, (), {}, now_ms))
    for said in (b"", b"junk" * 10, seal_peer_info(key, (b"\x04\x7f",), {}, now_ms)):
        with pytest.raises(PeerError):
            fleet.say(key.public, said)
    fleet.ask(key)
    with pytest.raises(QuotaError) as caught:
        fleet.ask(key)
    assert caught.value.wait_s == 1.0
    fleet.clock.advance(2)
    with pytest.raises(SignatureError, match="came before"):
        fleet.say(key.public, seal_peer_info(key, (), {}, now_ms - 1))


def test_an_invite_and_a_revoked_hub_introduce_nobody(fleet: Fleet, tmp_path: Path) -> None:
    """An open invite is no machine; a hub that was put out does not answer."""
    invite = fleet.hub.invite((), b"", 60_000, "https")
    with pytest.raises(SignatureError, match="no member"):
        fleet.ask(invite.key)
    other = second_hub(fleet.hub, tmp_path / "hub", tmp_path / "hub-2", fleet.clock)
    other.revoke("hub-1")
    fleet.hub.membership.absorb(other.membership.export(), fleet.clock.now_ms())
    with pytest.raises(LinkError, match="revoked"):
        fleet.ask(fleet.keys[0])


def _sealed(fleet: Fleet, to: bytes, **changed: object) -> bytes:
    now_ms = fleet.clock.now_ms()
    answer = PartnerList((Partner(b"p" * 32, "web-9", ("/ip4/192.0.2.1/tcp/1",)),), (), now_ms + 60_000, 5_000, 3)
    answer = replace(answer, **changed)
    return seal_partners(fleet.hub.keys.signing, fleet.hub.member, fleet.hub.fleet, to, answer)


def test_a_list_counts_for_one_member_and_for_a_while(fleet: Fleet) -> None:
    """Not for another, not from another signer or fleet, not when it is old, and not for longer than allowed."""
    me, now_ms, known = fleet.keys[0].public, fleet.clock.now_ms(), fleet.hub.membership
    assert open_partners(_sealed(fleet, me), known, me, now_ms).partners[0].name == "web-9"
    hub = fleet.hub
    empty = PartnerList((), (), now_ms + 60_000, 5_000, 3)
    for raw in (
        _sealed(fleet, fleet.keys[1].public),
        _sealed(fleet, me, expires_ms=now_ms),
        _sealed(fleet, me, expires_ms=now_ms + MAX_LIFE_MS + 1),
        seal_partners(PrivateKey.generate(), hub.member, hub.fleet, me, empty),
        seal_partners(fleet.keys[1], fleet.keys[1].public, hub.fleet, me, empty),
        seal_partners(hub.keys.signing, hub.member, b"f" * 16, me, empty),
    ):
        with pytest.raises(SignatureError):
            open_partners(raw, known, me, now_ms)


@pytest.mark.parametrize(
    "partners",
    [
        tuple(Partner(bytes([number]) * 32, f"n-{number}") for number in range(MAX_PARTNERS + 1)),
        (Partner(b"short", "web-9"),),
        (Partner(b"p" * 32, 'web"} 1\n'),),
        (Partner(b"p" * 32, "web-9"), Partner(b"p" * 32, "web-8")),
        (Partner(b"p" * 32, "web-9", ("/dns4/example.org/tcp/1",)),),
        (Partner(b"p" * 32, "web-9", ("/ip4/192.0.2.1/tcp/1",) * 9),),
    ],
)
def test_a_list_that_is_too_long_or_nonsense_is_refused(fleet: Fleet, partners: tuple[Partner, ...]) -> None:
    """Though a hub has signed it."""
    me, now_ms = fleet.keys[0].public, fleet.clock.now_ms()
    with pytest.raises(DecodeError):
        open_partners(_sealed(fleet, me, partners=partners), fleet.hub.membership, me, now_ms)
    with pytest.raises(DecodeError):
        open_partners(b"x" * 70_000, fleet.hub.membership, me, now_ms)
