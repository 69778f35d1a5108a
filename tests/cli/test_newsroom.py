"""What a hub tells the others, and what it makes of what it hears."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from peerwatch.cli.newsroom import Newsroom
from peerwatch.errors import LinkError
from peerwatch.fleet.authority import Authority
from peerwatch.node.messages import Heard
from peerwatch.telemetry import CollectorRegistry, generate_latest
from peerwatch.testing.clock import ManualClock
from peerwatch.wire.identity import peer_id
from tests.fleet.kit import second_hub

SAME, OTHER = (b"r" * 32, b"b" * 32), (b"r" * 32, b"c" * 32)


class Room:
    """A newsroom, what it published, and how often it found that others know something else."""

    def __init__(self, authority: Authority, clock: ManualClock, digests: tuple[bytes, bytes] = SAME) -> None:
        self.authority = authority
        self.published: list[bytes] = []
        self.differences = 0
        self.registry = CollectorRegistry()
        self.down = False
        self.room = Newsroom(authority, self._publish, lambda: digests, self._differs, clock, self.registry)

    async def _publish(self, body: bytes) -> None:
        if self.down:
            raise LinkError("the libp2p node is not up yet")
        self.published.append(body)

    def _differs(self) -> None:
        self.differences += 1

    def hears(self, other: Room) -> None:
        """The newest of another."""
        self.room.hear(Heard(peer=peer_id(other.authority.member), body=other.published[-1]))

    def shown(self) -> dict[str, float]:
        """Other hubs by state."""
        lines = generate_latest(self.registry).decode().splitlines()
        pairs = [one.split() for one in lines if one.startswith("peerwatch_hubs{")]
        return {name.split('"')[1]: float(number) for name, number in pairs}


@pytest.fixture
def rooms(tmp_path: Path) -> tuple[Room, Room, ManualClock]:
    """Two hubs that know of each other; the second has heard of a ban that the first has not."""
    clock = ManualClock()
    first = Authority.open(tmp_path / "one", "one", clock)
    second = second_hub(first, tmp_path / "one", tmp_path / "two", clock)
    return Room(first, clock), Room(second, clock, OTHER), clock


async def _one_round(room: Room) -> None:
    with anyio.move_on_after(0.1):
        await room.room.run()


def test_a_hub_says_that_it_is_here_and_that_it_leaves(rooms: tuple[Room, Room, ManualClock]) -> None:
    """Whoever hears nothing for three rounds takes it for silent; nobody waits for one that has said that it leaves."""
    first, second, clock = rooms
    assert first.shown() == {"here": 0, "leaving": 0, "silent": 1}
    anyio.run(_one_round, second)
    first.hears(second)
    assert first.shown() == {"here": 1, "leaving": 0, "silent": 0}
    clock.advance(60.0)
    assert first.shown() == {"here": 0, "leaving": 0, "silent": 1}
    anyio.run(second.room.leave)
    first.hears(second)
    assert first.shown() == {"here": 0, "leaving": 1, "silent": 0}


def test_another_digest_wakes_the_exchange(rooms: tuple[Room, Room, ManualClock]) -> None:
    """The same one does not; nor does a replay, which is counted."""
    first, second, _ = rooms
    anyio.run(second.room.leave)
    first.hears(second)
    assert first.differences == 1
    first.hears(second)
    assert first.differences == 1
    assert b'peerwatch_hub_news_total{result="refused"} 1.0' in generate_latest(first.registry)
    anyio.run(first.room.leave)
    third = Room(second.authority, ManualClock(), SAME)
    third.hears(first)
    assert third.differences == 0


def test_a_change_is_told_at_once_and_a_node_that_is_down_costs_nothing(
    rooms: tuple[Room, Room, ManualClock], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not more often than the least gap, and again with the next round after a failure."""
    first, _, _ = rooms
    monkeypatch.setattr("peerwatch.cli.newsroom._LEAST_GAP_S", 0.05)

    async def story() -> None:
        first.down = True
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(first.room.run)
            await anyio.sleep(0.1)
            assert first.published == []
            first.down = False
            for _ in range(100):
                first.room.wake()
            await anyio.sleep(0.2)
            assert len(first.published) == 1
            tasks.cancel_scope.cancel()

    anyio.run(story)
