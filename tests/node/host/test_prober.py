"""Mesh probes between real hosts: what is answered, lost and not reached, and that they leave nothing behind."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import anyio
import pytest

from peerwatch.model import SystemClock
from peerwatch.node import prober as prober_module
from peerwatch.node.config import NodeLimits
from peerwatch.node.connection import ConnectionRefused, Stream, StreamClosed, StreamOpened
from peerwatch.node.gater import Direction
from peerwatch.node.host import PING
from peerwatch.node.messages import Probe
from peerwatch.node.metrics import NodeMetrics
from peerwatch.node.prober import Prober
from peerwatch.telemetry import CollectorRegistry
from tests.node.host.kit import Node, node, run

OFTEN_S = 0.05


class Look:
    """A node that measures; what it found, in order."""

    def __init__(self) -> None:
        self.node = node(listen=False)
        self.registry = CollectorRegistry()
        self.found: list[Probe] = []
        metrics = NodeMetrics(self.registry, NodeLimits(), 10)
        self.prober = Prober(self.node.host, self.hear, metrics, SystemClock(), random.Random(7))
        self._news = anyio.Event()

    def hear(self, probe: Probe) -> None:
        self.found.append(probe)
        self._news.set()
        self._news = anyio.Event()

    async def until(self, count: int) -> list[Probe]:
        """So many results from now on."""
        wanted = len(self.found) + count
        while len(self.found) < wanted:
            await self._news.wait()
        return self.found[-count:]


def story(tell: Callable[[Look, Node], Awaitable[None]], other: Node | None = None) -> None:
    """A look and another node, both started."""

    async def main() -> None:
        async with AsyncExitStack() as stack:
            look, partner = Look(), other or node()
            await stack.enter_async_context(partner.host)
            await stack.enter_async_context(look.node.host)
            tasks = await stack.enter_async_context(anyio.create_task_group())
            tasks.start_soon(look.prober.run)
            await tell(look, partner)
            tasks.cancel_scope.cancel()

    run(main)


def result(probe: Probe) -> tuple[int, int, int, int]:
    """(sent, answered, opened, failed)"""
    return probe.sent, len(probe.rtts_us), probe.opened, probe.failed


def pings(of: Node, direction: Direction) -> list[StreamOpened]:
    return [one for one in of.ear.of(StreamOpened) if (one.protocol, one.direction) == (PING, direction)]


def test_a_partner_is_dialled_once_and_pinged_on_one_stream() -> None:
    """Round trips in microseconds; the stream ends with the partnership, and no more results come."""

    async def tell(look: Look, partner: Node) -> None:
        look.prober.measure({partner.member: partner.host.addresses}, OFTEN_S)
        found = await look.until(5)
        assert [result(one) for one in found] == [(1, 1, 1, 0), *[(1, 1, 0, 0)] * 4]
        assert all(0 < one.rtts_us[0] < 1e6 and one.peer == partner.host.peer_id for one in found)
        assert len(pings(partner, Direction.IN)) == 1
        sent = look.registry.get_sample_value("p2p_messages_total", {"direction": "outbound", "protocol": "ping"})
        assert sent is not None and sent >= 5
        look.prober.measure({}, OFTEN_S)
        await partner.ear.wait(StreamClosed)
        count = len(look.found)
        await anyio.sleep(4 * OFTEN_S)
        assert len(look.found) <= count + 1

    story(tell)


def test_whoever_is_not_reached_is_dialled_with_growing_waits() -> None:
    """Each look says that it is not there; few of them dial."""

    async def tell(look: Look, partner: Node) -> None:
        stranger = node(listen=False)
        look.prober.measure({stranger.member: ("/ip4/127.0.0.1/tcp/9",)}, OFTEN_S)
        found = [result(one) for one in await look.until(16)]
        assert set(found) == {(0, 0, 0, 1), (0, 0, 0, 0)}
        assert 2 <= len(look.node.ear.of(ConnectionRefused)) == found.count((0, 0, 0, 1)) <= 6

    story(tell)


async def _silent(stream: Stream) -> None:
    await anyio.sleep_forever()


async def _wrong(stream: Stream) -> None:
    await stream.read(32)
    await stream.write(b"w" * 32)


async def _once(stream: Stream) -> None:
    await stream.write(await stream.read(32))


@pytest.mark.parametrize(
    ("answer", "expected"), [(_silent, (1, 0)), (_wrong, (1, 0)), (_once, (1, 1))], ids=["silent", "wrong", "once"]
)
def test_what_is_not_answered_is_lost(
    monkeypatch: pytest.MonkeyPatch, answer: Callable[[Stream], Awaitable[None]], expected: tuple[int, int]
) -> None:
    """Silence and a wrong answer; a stream that others end after one answer, as they may, is no loss."""
    monkeypatch.setattr(prober_module, "ANSWER_S", 0.3)
    partner = node()
    partner.host.handle(PING, answer)

    async def tell(look: Look, partner: Node) -> None:
        look.prober.measure({partner.member: partner.host.addresses}, OFTEN_S)
        assert {result(one)[:2] for one in await look.until(4)} == {expected}
        assert look.node.host.is_connected(partner.member)  # a lost ping ends no connection

    story(tell, partner)


def test_who_cuts_the_connection_is_reached_again() -> None:
    """The next look dials anew."""

    async def tell(look: Look, partner: Node) -> None:
        look.prober.measure({partner.member: partner.host.addresses}, OFTEN_S)
        await look.until(2)
        await partner.host.close_peer(look.node.member)
        later = [result(one) for one in await look.until(8)]
        assert (1, 1, 1, 0) in later and later[-1] == (1, 1, 0, 0)

    story(tell)


def test_partners_that_are_told_before_it_runs_are_measured() -> None:
    """Whatever comes first."""

    async def main() -> None:
        look, partner = Look(), node()
        async with partner.host, look.node.host, anyio.create_task_group() as tasks:
            look.prober.measure({partner.member: partner.host.addresses}, OFTEN_S)
            tasks.start_soon(look.prober.run)
            assert result((await look.until(1))[0]) == (1, 1, 1, 0)
            tasks.cancel_scope.cancel()

    run(main)
