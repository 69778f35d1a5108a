"""Delivery to several hubs: who is served, who is dropped, and what is kept for whom."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from structlog.testing import capture_logs

from peerwatch.agent.delivery import DeliveryConfig
from peerwatch.agent.embedded import EmbeddedDelivery, embedded_hubs
from peerwatch.agent.newcomers import Newcomers
from peerwatch.agent.ship import Link, Shipper
from peerwatch.agent.ship_metrics import ShipMetrics
from peerwatch.errors import ConfigError
from peerwatch.spool import Position
from peerwatch.telemetry import CollectorRegistry, generate_latest
from peerwatch.wire.identity import peer_id
from tests.agent.ship_kit import Broken, World, until

A, B, C, D = (bytes([number]) * 32 for number in (1, 2, 3, 4))
KEEP_S = 600.0


def test_of_four_hubs_three_get_everything() -> None:
    """The same three for every agent, unless it has begun with the fourth already."""
    assert embedded_hubs([D, B, C, A], ()) == ([A, B, C], [D])
    assert embedded_hubs([D, B, C, A], [B, D]) == ([B, D, A], [C])
    assert embedded_hubs([], [A]) == ([], [])


class _Hubs:
    """One hub that works and others to which no link leads; who is a member now is in `active`."""

    def __init__(self, world: World, newcomers: Newcomers | None = None) -> None:
        self.world = world
        self.me = world.hub.authority.member
        self.active = [self.me]
        self.open: set[bytes] = set()
        self.registry = CollectorRegistry()
        self.metrics = ShipMetrics(self.registry)
        world.spool.forget("hub")
        self.delivery = EmbeddedDelivery(world.spool, lambda: self.active, self._link, self._shipper, newcomers)

    @asynccontextmanager
    async def _link(self, hub: bytes) -> AsyncIterator[Link]:
        self.open.add(hub)
        yield self.world.link() if hub == self.me else Broken()
        self.open.remove(hub)

    def _shipper(self, receiver: str, hub: bytes, link: Link) -> Shipper:
        world = self.world
        return Shipper(
            world.spool,
            receiver,
            link,
            world.membership,
            world.agent.sender,
            world.agent.sealer.delta,
            world.config,
            world.clock,
            self.registry,
            hub=hub,
            metrics=self.metrics,
        )

    def produce(self, count: int) -> None:
        self.world.produce(count)
        self.delivery.wake()


def test_a_dead_hub_blocks_no_other_and_is_forgotten_once_it_is_revoked(world: World) -> None:
    """All is delivered to the hub that works, all is kept for the one that is away, nothing for one that has left."""

    async def story() -> None:
        hubs = _Hubs(world)
        hubs.active.append(A)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hubs.delivery.run)
            await until(lambda: hubs.open == {hubs.me, A})
            hubs.produce(5)
            await until(lambda: len(world.hub.store.envelopes) == 5)
            await until(lambda: world.spool.reader(peer_id(hubs.me)).pending().count == 0)
            await until(lambda: hubs.delivery.last_ack_ms > 0)
            assert world.spool.reader(peer_id(A)).pending().count == 5
            hubs.active.remove(A)
            await until(lambda: world.spool.receivers() == [peer_id(hubs.me)])
            assert hubs.open == {hubs.me} and world.spool.stats().oldest_ms is None
            assert peer_id(A) not in generate_latest(hubs.registry).decode()
            assert await hubs.delivery.drain(1.0) == 0

    world.tell(story)
    world.assert_all_stored_once()


def test_what_is_spooled_last_is_delivered_before_the_agent_ends(world: World) -> None:
    """To each hub that answers; how much the others lack is said."""

    async def story() -> None:
        hubs = _Hubs(world)
        hubs.active.append(A)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hubs.delivery.run)
            await until(lambda: hubs.open == {hubs.me, A})
            world.produce(3)  # without waking anybody
            assert await hubs.delivery.drain(5.0) == 3
        assert hubs.open == set() and len(world.hub.store.envelopes) == 3

    world.tell(story)


def test_a_fourth_hub_is_named_once(world: World) -> None:
    """An operator reads in the agent's log which hub gets nothing, and why."""

    async def story() -> None:
        with capture_logs() as logs:
            hubs = _Hubs(world)
            hubs.active = [A, B, C, D]
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(hubs.delivery.run)
                await until(lambda: hubs.open == {A, B, C})
                await anyio.sleep(1.5)
                await hubs.delivery.drain(0.1)
        said = [one["hubs"] for one in logs if one["event"].startswith("hubs left out")]
        assert said == [peer_id(D)]
        assert hubs.delivery.hubs == [A, B, C]

    world.tell(story)


def test_a_hub_that_joins_gets_what_the_others_got_lately(world: World) -> None:
    """Up to the age that is set, and nothing older; the floor that envelopes tell allows it."""

    async def story() -> None:
        newcomers = Newcomers(world.spool, KEEP_S, world.clock)
        hubs = _Hubs(world, newcomers)
        name = peer_id(hubs.me)
        made: list[Position] = []
        world.spool.reader(name)
        for _ in range(15):  # one a minute
            made += world.produce(1)
            world.spool.reader(name).ack(made[-1].epoch, [(made[0].seq, made[-1].seq)])
            await newcomers.let_go()
            world.clock.advance(60)
        floor = world.spool.floor()
        assert floor is not None
        kept = world.spool.reader("later")
        got = [one.position for one in kept.fresh(1 << 30) + kept.backfill(1 << 30)]
        assert sorted(got) == made[5:] and floor <= made[5]

    world.tell(story)


@pytest.mark.parametrize("keep_s", [-1.0, 86_401.0])
def test_what_is_kept_for_newcomers_has_bounds(keep_s: float) -> None:
    """The error names the setting, the value and what is allowed."""
    with pytest.raises(ConfigError, match=f"delivery.newcomer_s: {keep_s:g}, must be from 0 to 86400"):
        DeliveryConfig(newcomer_s=keep_s)
