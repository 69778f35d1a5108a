"""An agent that no hub answers asks its relays where the hubs have gone, and believes what the hubs have signed."""

from __future__ import annotations

from pathlib import Path

import anyio

from peerwatch.cli.relay_word import RelayWord
from peerwatch.errors import LinkError
from peerwatch.fleet.authority import Authority
from peerwatch.fleet.membership import Membership, membership_from_hub
from peerwatch.testing.clock import ManualClock
from peerwatch.wire.protocols import MEMBERSHIP

DEAD, JUNK, GOOD = b"dead", b"junk", b"good"
NEW = ("/ip4/192.0.2.9/tcp/4001",)


class _Agent:
    """What an agent knows of a hub that has moved since, and the relays that it was given."""

    def __init__(self, folder: Path, *relays: bytes, interval_s: float = 5.0) -> None:
        self.clock = ManualClock()
        self.hub = Authority.open(folder / "hub", "hub", self.clock)
        self.path = folder / "membership.bin"
        root, now_ms = self.hub.membership.trust.root, self.clock.now_ms()
        self.membership = membership_from_hub(self.path, self.hub.membership.welcome(b""), self.hub.fleet, root, now_ms)
        self.hub.announce((), b"", NEW)
        self.last_ack_ms = self.clock.now_ms()
        self.asked: list[bytes] = []
        self.word = RelayWord(
            self.membership, lambda: relays, self._ask, lambda: self.last_ack_ms, self.clock, interval_s
        )

    async def _ask(self, relay: bytes, protocol: str, _: bytes) -> bytes:
        assert protocol == MEMBERSHIP
        self.asked.append(relay)
        if relay == DEAD:
            raise LinkError("nobody is there")
        return b"\xff\xff" if relay == JUNK else self.hub.membership.welcome(b"")

    def look(self, after_s: float) -> tuple[str, ...]:
        """Where the hub is, for all that it knows, after a look so long later."""
        self.clock.advance(after_s)
        anyio.run(self.word.look)
        entry = self.membership.roster.get(self.hub.member)
        assert entry is not None
        return entry.multiaddrs


def test_nobody_is_asked_while_hubs_acknowledge(tmp_path: Path) -> None:
    """It is for the case that there is no other way: 15 s without a word."""
    agent = _Agent(tmp_path, GOOD)
    assert (agent.look(15.0), agent.asked) == ((), [])
    assert (agent.look(0.1), agent.asked) == (NEW, [GOOD])


def test_an_agent_that_reports_seldom_waits_for_two_reports(tmp_path: Path) -> None:
    """Its hub is silent in between, and there."""
    agent = _Agent(tmp_path, GOOD, interval_s=60.0)
    assert (agent.look(120.0), agent.asked) == ((), [])
    assert (agent.look(0.1), agent.asked) == (NEW, [GOOD])


def test_the_next_relay_is_asked_where_one_says_nothing(tmp_path: Path) -> None:
    """Dead, or talking nonsense. The first news ends the round, and is on disk."""
    agent = _Agent(tmp_path, DEAD, JUNK, GOOD, GOOD)
    assert (agent.look(16.0), agent.asked) == (NEW, [DEAD, JUNK, GOOD])
    kept = Membership.load(agent.path, agent.clock.now_ms()).roster.get(agent.hub.member)
    assert kept is not None and kept.multiaddrs == NEW


def test_what_no_hub_has_signed_changes_nothing(tmp_path: Path) -> None:
    """A relay that tells of another fleet's hub is not believed."""
    agent = _Agent(tmp_path, GOOD)
    agent.hub = Authority.open(tmp_path / "other", "hub", agent.clock)
    before = agent.membership.export()
    agent.clock.advance(16.0)
    anyio.run(agent.word.look)
    assert agent.asked == [GOOD] and agent.membership.export() == before
