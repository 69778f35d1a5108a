"""Connections come and go by the hundred and leave nothing."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
import trio

from peerwatch.errors import LinkError
from peerwatch.node.connection import ConnectionClosed, ConnectionRefused
from tests.node.host.kit import Attacker, Node, limits, node, run

pytestmark = pytest.mark.p2p

_CYCLES = 300  # libp2p refuses everybody after 250


def _held() -> tuple[int, int]:
    return len(list(Path("/proc/self/fd").iterdir())), trio.lowlevel.current_statistics().tasks_living


async def _at_rest(*nodes: Node) -> tuple[int, int]:
    for one in nodes:
        await one.settled()
    held = _held()
    while True:  # the last tasks end within some rounds of the loop
        await anyio.sleep(0.3)
        if _held() == held:
            return held
        held = _held()


def test_three_hundred_connections_one_after_the_other_leave_nothing() -> None:
    """No slot, task or descriptor, on either side. (libp2p: all three, and from the 251st on nobody is let in.)"""

    async def story() -> None:
        hub, one = node(), node(listen=False)
        async with hub.host, one.host:
            before = await _at_rest(hub, one)
            for number in range(_CYCLES):
                await one.host.dial(hub.member, hub.host.addresses)
                assert await one.host.ping(hub.member) > 0
                await one.host.close_peer(hub.member)
                await hub.ear.wait(ConnectionClosed, number + 1)
            assert await _at_rest(hub, one) == before

    run(story, 240)


def test_three_hundred_refusals_leave_nothing() -> None:
    """Not one slot: the next member is let in. (libp2p keeps the slot of whom its limits refuse.)"""

    async def story() -> None:
        hub, one, welcome = node(limits(max_inbound=2)), node(listen=False), node(listen=False)
        hub.gate.denied.add(one.member)
        async with hub.host, one.host, welcome.host:
            before = await _at_rest(hub, one)
            for _ in range(_CYCLES):
                with pytest.raises(LinkError):
                    await one.host.dial(hub.member, hub.host.addresses)
            await hub.ear.wait(ConnectionRefused, _CYCLES)
            assert await _at_rest(hub, one) == before
            await welcome.host.dial(hub.member, hub.host.addresses)
            assert await welcome.host.ping(hub.member) > 0

    run(story, 240)


def test_three_hundred_half_handshakes_leave_nothing() -> None:
    """Callers that leave in the middle of it."""

    async def story() -> None:
        hub = node()
        async with hub.host:
            before = await _at_rest(hub)
            for number in range(_CYCLES):
                async with await Attacker.connect(hub) as caller:
                    if number % 2:
                        await caller.select(caller.raw, "/noise")
            await hub.ear.wait(ConnectionRefused, _CYCLES)
            assert await _at_rest(hub) == before

    run(story, 120)
