"""Who misbehaves is slowed down and then kept out; who does not is not, whatever happens around it."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from peerwatch.node.bans import Ban, Bans
from peerwatch.node.conduct import Conduct
from peerwatch.node.config import NodeConfig
from peerwatch.node.connection import ConnectionClosed, ConnectionOpened, ConnectionRefused, StreamOpened, StreamRefused
from peerwatch.node.gater import Direction
from peerwatch.node.reputation import Deed
from peerwatch.testing.clock import ManualClock
from peerwatch.wire.identity import PrivateKey, peer_id
from peerwatch.wire.protocols import PUSH

ME, HUB, A, B, C = (PrivateKey(bytes([n] * 32)).public for n in range(5))
IN = Direction.IN
HOME, NEIGHBOUR, ELSEWHERE = "/ip4/192.0.2.9/tcp/5", "/ip4/192.0.2.77/tcp/5", "/ip4/198.51.100.1/tcp/5"
MIB = 1 << 20


class Story:
    """A conduct with a clock, and what it decided."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.bans = Bans()
        self.made: list[Ban] = []
        self.counted: list[Deed] = []
        hub = peer_id(HUB)
        self.conduct = Conduct(
            NodeConfig(),
            self.bans,
            self.clock,
            peer_id(ME),
            lambda peer: peer == hub,
            self.made.append,
            self.counted.append,
        )

    def comes(self, member: bytes, address: str = HOME) -> None:
        self.conduct.hear(ConnectionOpened(member, address, IN))

    def refused(self, address: str, reason: str, times: int = 1, every_s: float = 0.0) -> None:
        for _ in range(times):
            self.conduct.hear(ConnectionRefused(address, IN, reason, "words"))
            self.clock.advance(every_s)

    @property
    def banned(self) -> list[tuple[str, str]]:
        return [(ban.subject, ban.reason) for ban in self.made]

    def does(self, deed: Deed, member: bytes, times: int) -> None:
        for _ in range(times):
            self.conduct.did(deed, member)


@pytest.mark.parametrize(
    ("deed", "times"),
    [(Deed.BAD_SIGNATURE, 2), (Deed.REPLAY, 4), (Deed.MALFORMED, 5), (Deed.OVERSIZE, 5), (Deed.FLOOD, 25)],
)
def test_what_is_proved_bans_after_some_times(deed: Deed, times: int) -> None:
    """With its reason, by this node, for ten minutes; one time less does not."""
    story = Story()
    story.comes(A)
    story.does(deed, A, times - 1)
    assert story.banned == []
    story.does(deed, A, 1)
    assert story.banned == [(peer_id(A), f"{deed.value}: score -100")]
    (ban,) = story.made
    assert (ban.by, ban.expires_ms) == (peer_id(ME), story.clock.now_ms() + 600_000)
    assert story.counted == [deed] * times


@pytest.mark.parametrize("deed", [Deed.TIMEOUT, Deed.DENIED, Deed.DELIVERED])
def test_what_proves_nothing_bans_nobody(deed: Deed) -> None:
    """Bad links, older hubs."""
    story = Story()
    story.comes(A)
    story.does(deed, A, 5000)
    assert story.banned == []


def test_bans_grow_and_shrink_again() -> None:
    """Each is four times as long as the one before, up to a day; a day of good conduct ends that."""
    story, lasted_s = Story(), []
    for _ in range(6):
        story.does(Deed.BAD_SIGNATURE, A, 4)
        ban = story.made[-1]
        lasted_s.append((ban.expires_ms - story.clock.now_ms()) / 1000)
        story.clock.advance(lasted_s[-1])
    assert lasted_s == [600, 2400, 9600, 38_400, 86_400, 86_400]
    story.clock.advance(86_400)
    story.does(Deed.BAD_SIGNATURE, A, 4)
    assert story.made[-1].expires_ms == story.clock.now_ms() + 600_000
    assert len(story.made) == 7


def test_a_ban_that_stands_is_not_made_again() -> None:
    """What comes in while the connection ends does not make it longer."""
    story = Story()
    story.does(Deed.MALFORMED, A, 50)
    assert len(story.made) == 1


def test_a_ban_that_was_lifted_leaves_nothing() -> None:
    """Neither points nor growth."""
    story = Story()
    story.does(Deed.BAD_SIGNATURE, A, 2)
    story.bans.lift(peer_id(A), "a mistake", "op", story.clock.now_ms())
    story.conduct.forget(peer_id(A))
    story.does(Deed.BAD_SIGNATURE, A, 1)
    assert len(story.made) == 1
    story.does(Deed.BAD_SIGNATURE, A, 1)
    assert story.made[-1].expires_ms == story.clock.now_ms() + 600_000


def test_a_hub_is_never_banned() -> None:
    """Whatever it does: people revoke hubs."""
    story = Story()
    story.comes(HUB, ELSEWHERE)
    story.does(Deed.BAD_SIGNATURE, HUB, 100)
    story.clock.advance(30)
    story.does(Deed.BAD_SIGNATURE, HUB, 100)
    assert story.banned == []


def test_what_one_agent_does_is_held_against_that_agent() -> None:
    """Not against the others at its address, nor against its neighbours, who keep their speed."""
    story = Story()
    for member in (A, B):
        story.comes(member)
    story.comes(C, NEIGHBOUR)
    for member in (B, C):
        story.conduct.did(Deed.DELIVERED, member)
    for _ in range(40):
        story.does(Deed.BAD_SIGNATURE, A, 4)
        story.clock.advance(60)
    assert {subject for subject, _ in story.banned} == {peer_id(A)}
    assert story.conduct.score(B) >= 0 and story.conduct.score(C) >= 0
    assert [story.conduct.charge(C, 1000) for _ in range(200)] == [0.0] * 200


def test_a_decommissioned_neighbour_costs_honest_ones_nothing() -> None:
    """It goes on dialling every 15 s with a key that was revoked: at worst its own address is kept out."""
    story = Story()
    story.comes(A)
    story.comes(B, ELSEWHERE)
    story.refused(NEIGHBOUR, "not_a_member", times=2000, every_s=15.0)
    assert {subject for subject, _ in story.banned} <= {"192.0.2.77/32"}
    assert not story.bans.is_blocked(peer_id(A), ip_address("192.0.2.9"), story.clock.now_ms())
    assert not story.conduct.is_crowded(HOME)


def test_behind_one_address_nobody_is_banned_for_another() -> None:
    """A member and a stranger share it; the stranger's calls are slowed down, the member's connection stays."""
    story = Story()
    story.comes(A)
    story.refused(HOME, "not_a_member", times=2000, every_s=0.1)
    story.refused(HOME, "not_a_member", times=3)
    assert story.banned == []
    assert story.conduct.is_crowded(HOME)
    story.clock.advance(20.0)
    assert not story.conduct.is_crowded(HOME)


@pytest.mark.parametrize("reason", ["not_a_member", "handshake", "timeout", "crowded", "identity"])
def test_strangers_that_go_on_are_kept_out_by_their_place(reason: str) -> None:
    """After 20 s of it, for a minute, with the reason; again when they go on."""
    story = Story()
    story.refused(ELSEWHERE, reason, times=1900, every_s=0.01)
    assert story.banned == []
    story.refused(ELSEWHERE, reason, times=200, every_s=0.01)
    (ban,) = story.made
    assert ban.subject == "198.51.100.0/24"
    assert ban.reason.startswith("flood: score -" if reason == "crowded" else "stranger: score -")
    assert ban.expires_ms - story.clock.now_ms() < 60_000


def test_a_place_is_banned_for_what_its_trouble_began_with() -> None:
    """Once too many handshakes from there have failed, most are refused for that."""
    story = Story()
    story.refused(ELSEWHERE, "not_a_member", times=100, every_s=0.01)
    story.refused(ELSEWHERE, "crowded", times=2100, every_s=0.01)
    (ban,) = story.made
    assert ban.reason.startswith("stranger: score -")


def test_sybils_of_one_subnet_are_kept_out_together() -> None:
    """Each address calls once."""
    story = Story()
    for n in range(60):
        story.refused(f"/ip4/203.0.113.{n}/tcp/9", "not_a_member", every_s=0.5)
    assert [subject for subject, _ in story.banned] == ["203.0.113.0/24"]


@pytest.mark.parametrize("reason", ["crowded", "timeout"])
def test_a_site_that_comes_back_at_once_is_no_attack(reason: str) -> None:
    """A thousand agents behind one address, after a restart of the hub's node, which knows nobody: one gets in."""
    story = Story()
    story.refused(ELSEWHERE, reason, times=900, every_s=0.001)
    story.comes(A, ELSEWHERE)
    story.clock.advance(25.0)
    story.refused(ELSEWHERE, reason, times=900, every_s=0.1)
    assert story.banned == []


def test_failed_handshakes_of_one_place_have_a_rate() -> None:
    """Past a hundred its calls are refused before the handshake; other places and members at home are not."""
    story = Story()
    story.comes(A, ELSEWHERE)
    story.comes(B, NEIGHBOUR)
    story.refused(HOME, "handshake", times=101)
    assert story.conduct.is_crowded(HOME)
    assert not story.conduct.is_crowded(NEIGHBOUR)
    assert not story.conduct.is_crowded(ELSEWHERE)
    story.clock.advance(0.3)
    assert not story.conduct.is_crowded(HOME)


def test_who_is_kept_out_already_is_not_counted_again() -> None:
    """Else whoever is banned would stay so by knocking."""
    story = Story()
    story.bans.ban_temporary("198.51.100.0/24", 60.0, "why", "who", story.clock.now_ms())
    story.refused(ELSEWHERE, "banned", times=500, every_s=0.1)
    assert story.counted == []


def test_an_agent_that_comes_back_after_a_day_is_no_flood() -> None:
    """A full spool of 512 MiB in requests of 2 MiB, eight at once, and fresh samples beside it: slowed down, all of it
    is taken, and nothing is held against it."""
    story, left = Story(), 256
    story.comes(A)
    story.conduct.hear(StreamOpened(A, PUSH, IN))
    began_s, waits = story.clock.monotonic_s(), []
    while left:
        for _ in range(8):
            wait_s = story.conduct.charge(A, 2 * MIB)
            waits.append(wait_s)
            if not wait_s:
                left -= 1
                story.conduct.did(Deed.DELIVERED, A)
        fresh_s = story.conduct.charge(A, 3000)
        assert fresh_s <= 1.0
        story.clock.advance(max(0.05, min(waits[-8:])))
    assert max(waits) < 2.0  # far below what would be refused
    assert story.clock.monotonic_s() - began_s < 512 * MIB / 2_000_000
    assert story.banned == [] and story.conduct.score(A) > 0
    assert set(story.counted) == {Deed.DELIVERED}


def test_too_many_streams_are_a_flood() -> None:
    """Two hundred at once and twenty a second are not; refused ones count alike, ours not at all."""
    story = Story()
    story.comes(A)
    for _ in range(200):
        story.conduct.hear(StreamOpened(A, PUSH, IN))
    for _ in range(1000):
        story.clock.advance(0.051)
        story.conduct.hear(StreamRefused(A, "limit", "words"))
        story.conduct.hear(StreamOpened(B, PUSH, Direction.OUT))
    assert story.counted == []
    for _ in range(300):
        story.conduct.hear(StreamOpened(A, PUSH, IN))
    assert story.banned == [(peer_id(A), "flood: score -100")]


def test_junk_and_broken_rules_are_held_against_the_member() -> None:
    """As the host reports them; an unknown protocol or a limit of all is none of its doing."""
    story = Story()
    story.comes(A)
    for _ in range(60):
        story.conduct.hear(StreamRefused(A, "handshake", "no protocol agreed"))
        story.conduct.hear(StreamRefused(A, "limit", "6144 streams in all"))
    assert story.counted == []
    for _ in range(3):
        story.conduct.hear(StreamRefused(A, "malformed", "not UTF-8"))
        story.conduct.hear(ConnectionClosed(A, HOME, IN, 1.0, "abuse"))
        story.comes(A)
        story.conduct.hear(ConnectionClosed(A, HOME, IN, 1.0, "remote"))
    assert story.banned == [(peer_id(A), "malformed: score -100")]


def test_a_bad_score_slows_down() -> None:
    """The buckets shrink before a ban comes."""
    story = Story()
    story.comes(A)
    story.does(Deed.MALFORMED, A, 4)
    granted = sum(story.conduct.charge(A, 100) == 0.0 for _ in range(300))
    assert 0 < granted < 100
    assert story.conduct.charge(B, 100) == 0.0
