"""Hole punching, less the holes: what a member may have this node do, and that what there is stays when it fails."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import anyio
import pytest

pytest.importorskip("libp2p", reason="the extra p2p is not installed: make p2p")
from libp2p.relay.circuit_v2.pb.dcutr_pb2 import HolePunch
from multiaddr import Multiaddr
from structlog.testing import capture_logs

from peerwatch.errors import LinkError
from peerwatch.node.connection import ConnectionRefused
from peerwatch.node.gater import Direction
from tests.node.host.kit import Node, node, run, until
from tests.node.host.test_relay import relay_node, reserve, started, through

pytestmark = pytest.mark.p2p
DCUTR = "/libp2p/dcutr"


async def _say(stream: Any, message: Any) -> None:
    raw = message.SerializeToString()
    await stream.write(bytes([len(raw)]) + raw)


async def _answered(stream: Any) -> bool:
    """Whether there is an answer, and no reset."""
    try:
        return bool(await stream.read(1))
    except LinkError:
        return False


async def _told_to(
    relay: Node, hidden: Node, caller: Node, *addresses: str, meanwhile: Callable[[], object] = lambda: None
) -> None:
    """Have `hidden` connect to addresses that `caller` says are its own, as the side that begins does."""
    await reserve(hidden, relay)
    await caller.host.dial(hidden.member, [through(relay, hidden)])
    stream = await caller.host.open_stream(hidden.member, DCUTR)
    observed = [Multiaddr(one).to_bytes() for one in addresses]
    await _say(stream, HolePunch(type=HolePunch.CONNECT, ObsAddrs=observed))
    assert await _answered(stream)
    meanwhile()
    await _say(stream, HolePunch(type=HolePunch.SYNC))


def test_a_relayed_connection_stays_where_nobody_is_met() -> None:
    """On one machine no two first packets can cross: the tries fail, and ping goes on."""

    async def story() -> None:
        relay, hidden, caller = relay_node(), node(listen=False, punches=True), node(listen=False, punches=True)
        async with started(relay, hidden, caller):
            await reserve(hidden, relay)
            await caller.host.dial(hidden.member, [through(relay, hidden)])
            await anyio.sleep(5)  # one try is over
            assert [one.address for one in caller.host.connections if one.member == hidden.member] == [
                through(relay, hidden)
            ]
            assert await caller.host.ping(hidden.member) > 0

    run(story)


def test_whoever_is_connected_directly_has_nothing_to_ask() -> None:
    """Else a member could have this node knock at addresses without a reason."""

    async def story() -> None:
        one, other = node(punches=True), node(listen=False)
        async with started(one, other):
            await other.host.dial(one.member, one.host.addresses)
            asked = HolePunch(type=HolePunch.CONNECT, ObsAddrs=[Multiaddr("/ip4/127.0.0.1/tcp/9").to_bytes()])
            answered = False
            with suppress(LinkError):  # reset, maybe before the protocol is agreed
                stream = await other.host.open_stream(one.member, DCUTR)
                await _say(stream, asked)
                answered = await _answered(stream)
            assert not answered
            assert await other.host.ping(one.member) > 0

    run(story)


def test_addresses_that_a_member_tells_are_screened() -> None:
    """By the gate, as every dial."""

    async def story() -> None:
        relay, hidden, caller = relay_node(), node(listen=False, punches=True), node(listen=False)
        hidden.gate.closed.add("/tcp/7")
        async with started(relay, hidden, caller):
            await _told_to(relay, hidden, caller, "/ip4/127.0.0.1/tcp/7", "/ip4/127.0.0.1/tcp/8")
            await until(lambda: _knocked(hidden, 7))
            await anyio.sleep(0.5)
            assert not _knocked(hidden, 8), "denied, the try is over"

    run(story)


def test_of_what_a_member_tells_two_addresses_are_tried() -> None:
    """None but plain ones of TCP and IPv4; however many it tells, it makes no scanner of this node."""

    async def story() -> None:
        relay, hidden, caller = relay_node(), node(listen=False, punches=True), node(listen=False)
        async with started(relay, hidden, caller):
            await _told_to(relay, hidden, caller, *(f"/ip4/127.0.0.1/tcp/{port}" for port in (7, 8, 9)))
            await until(lambda: _knocked(hidden, 7) and _knocked(hidden, 8))
            await anyio.sleep(0.5)
            assert not _knocked(hidden, 9)
        relay, hidden, caller = relay_node(), node(listen=False, punches=True), node(listen=False)
        async with started(relay, hidden, caller):
            await _told_to(relay, hidden, caller, "/ip4/127.0.0.1/tcp/7/ws", "/ip6/::1/tcp/7")
            await anyio.sleep(0.5)
            assert not _knocked(hidden, 7)
        relay, hidden, caller = relay_node(), node(listen=False, punches=True), node(listen=False)
        async with started(relay, hidden, caller):
            await _told_to(relay, hidden, caller, "/ip4/127.0.0.1/udp/7")
            await anyio.sleep(0.5)
            assert not _knocked(hidden, 7)

    run(story)


def _knocked(one: Node, port: int) -> bool:
    """Whether it was to connect there."""
    return any(direction is Direction.OUT and f"/tcp/{port}/" in address for address, direction in one.gate.screened)


def test_whoever_is_met_must_be_the_one_that_was_expected() -> None:
    """Another member listens at the address: its handshake fails, and the relayed connection stays."""

    async def story() -> None:
        relay, hidden, caller = relay_node(), node(listen=False, punches=True), node(listen=False)
        other = node()
        async with started(relay, hidden, caller, other):
            await _told_to(relay, hidden, caller, f"/ip4/127.0.0.1/tcp/{other.port}")
            refused = await hidden.ear.wait(ConnectionRefused)
            assert refused[0].direction is Direction.OUT
            assert {one.member for one in hidden.host.connections} == {relay.member, caller.member}

    run(story)


@pytest.mark.parametrize("junk", [b"\x05hello", b"\xff\xff\xff\xff\x0f", b"\x00", b"\x02\x08\x7f"])
def test_junk_ends_its_stream_only(junk: bytes) -> None:
    """The connection goes on."""

    async def story() -> None:
        relay, hidden, caller = relay_node(), node(listen=False, punches=True), node(listen=False)
        async with started(relay, hidden, caller):
            await reserve(hidden, relay)
            await caller.host.dial(hidden.member, [through(relay, hidden)])
            stream = await caller.host.open_stream(hidden.member, DCUTR)
            await stream.write(junk)
            assert not await _answered(stream)
            assert await caller.host.ping(hidden.member) > 0

    run(story)


@contextmanager
def _full_table() -> Iterator[None]:
    """No descriptor more for this process."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def _failed(logs: Any) -> list[str]:
    return [one["reason"] for one in logs if one["event"] == "no direct connection"]


def test_a_full_table_of_descriptors_ends_the_try_that_begins_and_no_more() -> None:
    """The port that it needs for it cannot be had; the connection and the node stay."""

    async def story() -> None:
        relay, hidden, caller = relay_node(), node(listen=False, punches=True), node(listen=False)
        async with started(relay, hidden, caller):
            await reserve(hidden, relay)
            await caller.host.dial(hidden.member, [through(relay, hidden)])
            with capture_logs() as logs, _full_table():
                await until(lambda: bool(_failed(logs)))
            assert "Too many open files" in _failed(logs)[0]
            assert await caller.host.ping(hidden.member) > 0

    run(story)


def test_a_full_table_of_descriptors_ends_the_try_of_who_was_asked_and_no_more() -> None:
    """It is full when the other side gives the word: no socket to connect by, at none of the tries."""

    async def story() -> None:
        relay, hidden, caller = relay_node(), node(listen=False, punches=True), node(listen=False)
        full = _full_table()
        async with started(relay, hidden, caller):
            with capture_logs() as logs:
                try:
                    await _told_to(relay, hidden, caller, "/ip4/127.0.0.1/tcp/9", meanwhile=full.__enter__)
                    await until(lambda: any("127.0.0.1/tcp/9" in one for one in _failed(logs)))
                finally:
                    full.__exit__(None, None, None)
            assert any("Too many open files" in one for one in _failed(logs) if "tcp/9" in one)
            assert await caller.host.ping(hidden.member) > 0

    run(story)
