"""A peer of js-libp2p or go-libp2p is a member like any other."""

from __future__ import annotations

import random

import anyio
import pytest

from peerwatch.model import SystemClock
from peerwatch.node.config import NodeLimits
from peerwatch.node.connection import ConnectionClosed, ConnectionOpened, ConnectionRefused, Stream
from peerwatch.node.gater import Direction
from peerwatch.node.messages import Probe
from peerwatch.node.metrics import NodeMetrics
from peerwatch.node.prober import Prober
from peerwatch.telemetry import CollectorRegistry
from tests.node.host.foreign import PARAMETERS, ForeignPeer, Kind, built, foreign
from tests.node.host.kit import ANYWHERE, BY_WEBSOCKET, Node, node, run, until

_ECHO = "/peerwatch/test/echo/1"
_TRANSPORTS = pytest.mark.parametrize("at", [ANYWHERE, BY_WEBSOCKET], ids=["tcp", "websocket"])

pytestmark = [pytest.mark.p2p, pytest.mark.servers, pytest.mark.parametrize("kind", PARAMETERS)]


@pytest.fixture(autouse=True)
def _built(kind: Kind) -> None:
    """Before a test's own time runs."""
    built(kind)


async def _echo(stream: Stream) -> None:
    while data := await stream.read(65536):
        await stream.write(data)


async def _swap(hub: Node, peer: ForeignPeer) -> None:
    """Pings and a megabyte, each way."""
    address = hub.host.addresses[0]
    assert 0 < await hub.host.ping(peer.member) < 1
    assert 0 <= (await peer.do("ping", address))["rtt_ms"] < 1000
    assert (await peer.do("echo", address, 1 << 20)) == {"got": 1 << 20}
    stream = await hub.host.open_stream(peer.member, _ECHO)
    got = 0
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stream.write, bytes(1 << 20))
        while got < 1 << 20:
            got += len(await stream.read(65536))
    await stream.close()
    assert await peer.do("connections") == {"count": 1}


@_TRANSPORTS
def test_one_that_dials_is_served(kind: Kind, at: str) -> None:
    """As an admitted member: pings, streams and identify, both ways."""

    async def story() -> None:
        hub = node(at=at)
        hub.host.handle(_ECHO, _echo)
        async with hub.host, foreign(kind) as peer:
            assert "rtt_ms" in await peer.do("ping", hub.host.addresses[0])
            (opened,) = await hub.ear.wait(ConnectionOpened)
            assert (opened.member, opened.direction) == (peer.member, Direction.IN)
            await _swap(hub, peer)
            assert _ECHO in (await peer.do("identified", hub.host.peer_id))["protocols"]
            await hub.host.close_peer(peer.member)
            await hub.ear.wait(ConnectionClosed)

    run(story, 60)


@_TRANSPORTS
def test_one_that_is_dialled_is_a_member_too(kind: Kind, at: str) -> None:
    """The same from our side."""

    async def story() -> None:
        hub = node()
        hub.host.handle(_ECHO, _echo)
        async with hub.host, foreign(kind, "--listen", at) as peer:
            await hub.host.dial(peer.member, [peer.address])
            await _swap(hub, peer)

    run(story, 60)


def test_a_stranger_is_refused(kind: Kind) -> None:
    """It is told by its own dial."""

    async def story() -> None:
        hub = node()
        async with hub.host, foreign(kind) as peer:
            hub.gate.denied.add(peer.member)
            assert "error" in await peer.do("ping", hub.host.addresses[0])
            (refused, *_) = await hub.ear.wait(ConnectionRefused)
            assert refused.reason == "not_a_member"

    run(story, 60)


def test_one_is_measured_for_longer_than_it_keeps_a_ping_open(kind: Kind) -> None:
    """js ends a ping's stream after ten seconds, Go after a minute of silence: neither is a loss."""
    found: list[Probe] = []

    async def story() -> None:
        hub = node()
        metrics = NodeMetrics(CollectorRegistry(), NodeLimits(), 10)
        prober = Prober(hub.host, found.append, metrics, SystemClock(), random.Random(7))
        async with hub.host, foreign(kind) as peer, anyio.create_task_group() as tasks:
            tasks.start_soon(prober.run)
            prober.measure({peer.member: (peer.address,)}, 0.5)
            await until(lambda: len(found) >= 30)
            tasks.cancel_scope.cancel()

    run(story, 60)
    assert [(one.sent, len(one.rtts_us)) for one in found] == [(1, 1)] * len(found)
    assert sum(one.opened for one in found) == 1
