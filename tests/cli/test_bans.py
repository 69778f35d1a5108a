"""Bans in a main process: kept, shared among hubs that prove who they are, and obeyed on every road."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import msgspec
import pytest

from peerwatch.cli.ban_book import BanBook
from peerwatch.cli.ban_sync import BanSync, BanTalk
from peerwatch.cli.member_deeds import delivered
from peerwatch.collector.collector import PushResult
from peerwatch.errors import ConfigError, DecodeError, PeerError, SignatureError
from peerwatch.fleet.authority import Authority
from peerwatch.fleet.roster import AGENT, HUB
from peerwatch.node.bans import Ban
from peerwatch.testing.clock import ManualClock
from peerwatch.wire.identity import PrivateKey, peer_id
from peerwatch.wire.push import RefusalReason
from peerwatch.wire.signed import Domain, sign_message, split_message

AGENT_KEY, OTHER_KEY = (PrivateKey(bytes([n] * 32)) for n in (7, 8))
A, B = peer_id(AGENT_KEY.public), peer_id(OTHER_KEY.public)


class Hub:
    """One hub's authority, book and sync."""

    def __init__(self, folder: Path, name: str, clock: ManualClock, authority: Authority | None = None) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.authority = authority or Authority.open(folder / "fleet", name, clock, (HUB,))
        self.clock = clock
        self.name = name
        self.open()

    def open(self) -> None:
        """Again, as after a restart."""
        self.book = BanBook(self.folder / "bans", self.name, self.clock, lambda: self.authority.membership.roster)
        self.sync = BanSync(self.authority, self.book, self.clock)

    @property
    def me(self) -> str:
        return peer_id(self.authority.member)

    def banned(self) -> list[str]:
        return [ban.subject for ban in self.book.active()]

    def node_bans(self, subject: str, for_ms: int = 600_000) -> Ban:
        now_ms = self.clock.now_ms()
        ban = Ban(subject, "flood: score -100", self.me, now_ms, now_ms + for_ms)
        self.book.take([ban])
        return ban


def _two(folder: Path) -> tuple[Hub, Hub, ManualClock]:
    """Two hubs of one fleet that know of each other."""
    clock = ManualClock()
    one = Hub(folder / "one", "one", clock)
    keys = Authority.open(folder / "two-keys", "two", clock, (HUB,)).keys
    one.authority.admit(keys.peer.public, keys.signing.public, "two", (HUB,))
    one.authority.certify("two")
    other = Authority(one.authority.membership, keys, clock, folder / "two-keys")
    return one, Hub(folder / "two", "two", clock, other), clock


def _carry(to: Hub, lengths: list[int] | None = None) -> Callable[[bytes], Awaitable[bytes]]:
    async def carry(raw: bytes) -> bytes:
        answer = to.sync.answer(raw)
        if lengths is not None:
            lengths.append(len(raw) + len(answer))
        return answer

    return carry


def _exchange(one: Hub, two: Hub, lengths: list[int] | None = None) -> None:
    anyio.run(one.sync.talk, _carry(two, lengths), two.authority.member, anyio.CapacityLimiter(1))


def test_a_ban_survives_a_restart_and_expires(tmp_path: Path) -> None:
    """With its reason; a permanent one stays until it is lifted, and a lift survives too."""
    hub = Hub(tmp_path, "one", ManualClock())
    hub.book.add(A, 3600.0, "too loud")
    hub.book.add("192.0.2.7", 0.0, "for ever")
    hub.open()
    peer, network = hub.book.active()
    assert (peer.subject, peer.reason, peer.by) == (A, "too loud", "operator at one")
    assert (network.subject, network.permanent) == ("192.0.2.7/32", True)
    assert hub.book.blocking(AGENT_KEY.public) and not hub.book.blocking(OTHER_KEY.public)
    hub.clock.advance(3600.0)
    assert not hub.book.blocking(AGENT_KEY.public)
    assert hub.banned() == ["192.0.2.7/32"]
    hub.book.lift("192.0.2.7", "a mistake")
    hub.open()
    assert hub.banned() == []


@pytest.mark.parametrize(
    ("subject", "words"),
    [
        ("nobody", "no member's name"),
        ("0.0.0.0/0", "wider than a /8"),
        ("::/3", "wider than a /16"),
        ("", "peer id"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, subject: str, words: str) -> None:
    """In words."""
    with pytest.raises(ConfigError, match=words):
        Hub(tmp_path, "one", ManualClock()).book.add(subject, 0.0, "")


def test_hubs_are_not_banned(tmp_path: Path) -> None:
    """Not by people, who revoke them, nor by another hub's word."""
    one, two, clock = _two(tmp_path)
    with pytest.raises(ConfigError, match="peerwatch revoke"):
        one.book.add(two.me, 0.0, "")
    now_ms = clock.now_ms()
    taken = one.book.take_shared([Ban(peer, "lies", "x", now_ms, 0) for peer in (one.me, two.me, A)])
    assert [ban.subject for ban in taken] == [A]


def test_bans_and_lifts_of_one_hub_hold_on_the_other(tmp_path: Path) -> None:
    """Whoever asks; while both agree only digests travel."""
    one, two, clock = _two(tmp_path)
    one.book.add(A, 3600.0, "too loud")
    two.book.add("192.0.2.0/24", 0.0, "spam")
    _exchange(one, two)
    assert one.banned() == two.banned() == sorted([A, "192.0.2.0/24"])
    lengths: list[int] = []
    _exchange(two, one, lengths)
    assert len(lengths) == 1 and lengths[0] < 700
    clock.advance(1.0)
    two.book.lift(A, "sorry")
    _exchange(one, two)
    assert one.banned() == two.banned() == ["192.0.2.0/24"]


def test_what_a_node_bans_is_shared_where_it_is_a_peer(tmp_path: Path) -> None:
    """A place says what was seen from one hub only: the other may have honest members there."""
    one, two, clock = _two(tmp_path)
    one.node_bans(A)
    one.node_bans("192.0.2.0/24")
    _exchange(two, one)
    assert two.banned() == [A]
    now_ms = clock.now_ms()
    assert two.book.take_shared([Ban("192.0.2.0/24", "flood", one.me, now_ms, now_ms + 1000)]) == []
    lengths: list[int] = []
    _exchange(two, one, lengths)
    assert len(lengths) == 1


def test_only_hubs_are_heard(tmp_path: Path) -> None:
    """Not an agent of the fleet, not a stranger, not who is revoked, nor what is old, altered or for somebody else."""
    one, two, clock = _two(tmp_path)
    two.book.add(A, 0.0, "x")
    good = two.sync._say(one.authority.member, whole=True)
    agent = one.authority.admit(AGENT_KEY.public, OTHER_KEY.public, "agent", (AGENT,))

    def said_by(hub: bytes, key: PrivateKey, **changed: object) -> bytes:
        talk = msgspec.msgpack.decode(split_message(good)[0], type=BanTalk)
        talk = msgspec.structs.replace(talk, hub=hub, **changed)
        return sign_message(key, Domain.BANS, msgspec.msgpack.encode(talk))

    signing, hub = two.authority.keys.signing, two.authority.member
    hostile = [
        said_by(agent.member, OTHER_KEY),
        said_by(hub, OTHER_KEY),
        said_by(hub, signing, to=hub),
        said_by(hub, signing, fleet=b"x" * 16),
        said_by(hub, signing, time_ms=clock.now_ms() - 400_000),
        sign_message(signing, Domain.ROSTER_QUESTION, split_message(good)[0]),
        sign_message(signing, Domain.BANS, b"\xc1"),
        b"junk",
        b"",
        b"x" * (9 << 20),
    ]
    for raw in hostile:
        with pytest.raises(PeerError):
            one.sync.answer(raw)
    assert one.banned() == []
    one.sync.answer(good)
    assert one.banned() == [A]
    one.authority.revoke("two")
    with pytest.raises(SignatureError, match="revoked"):
        one.sync.answer(two.sync._say(one.authority.member, whole=True))


def test_an_answer_of_somebody_else_is_not_believed(tmp_path: Path) -> None:
    """Whoever sits between."""
    one, two, _ = _two(tmp_path)

    async def lie(raw: bytes) -> bytes:
        return raw

    async def junk(raw: bytes) -> bytes:
        return b"\x0a\x01x"

    for carry in (lie, junk):
        with pytest.raises((SignatureError, DecodeError)):
            anyio.run(one.sync.talk, carry, two.authority.member, anyio.CapacityLimiter(1))


def test_changes_are_told_once(tmp_path: Path) -> None:
    """So that node and other hubs hear of them at once, and nobody of what is not new."""
    hub, told = Hub(tmp_path, "one", ManualClock()), list[int]()
    hub.book.on_change = lambda: told.append(hub.book.changes)
    ban = hub.node_bans(A)
    hub.book.take([ban])
    hub.book.lift(A, "")
    assert len(told) == 2 and told[0] < told[1]
    with pytest.raises(ConfigError, match="no ban on"):
        hub.book.lift(A, "")


@pytest.mark.parametrize(
    ("refused", "repeated", "deeds"),
    [
        ({RefusalReason.SIGNATURE}, set(), ["bad_signature"]),
        ({RefusalReason.MALFORMED, RefusalReason.CLONED}, set(), ["malformed", "replay"]),
        ({RefusalReason.QUOTA, RefusalReason.FUTURE, RefusalReason.NOT_A_MEMBER, RefusalReason.STORE}, set(), []),
        (set(), {AGENT_KEY.public}, []),
        (set(), {AGENT_KEY.public, OTHER_KEY.public}, ["replay"]),
        ({RefusalReason.CLONED}, {OTHER_KEY.public}, ["replay"]),
    ],
)
def test_what_a_push_proves(refused: set[RefusalReason], repeated: set[bytes], deeds: list[str]) -> None:
    """Its own batches may come twice, for an ack may be lost; those of others it has no business with."""
    result = PushResult(b"reply", refused=frozenset(refused), repeated=frozenset(repeated))
    answer = delivered(result, AGENT_KEY.public)
    assert answer.body == b"reply"
    assert [one.deed for one in answer.deeds or []] == deeds
