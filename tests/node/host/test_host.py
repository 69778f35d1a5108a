"""Two hosts find each other, talk, and part without a trace."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest
import trio

from peerwatch.errors import ConfigError, LinkError
from peerwatch.node.connection import (
    ConnectionClosed,
    ConnectionOpened,
    ConnectionRefused,
    Stream,
    StreamClosed,
    StreamOpened,
)
from peerwatch.node.gater import Direction
from peerwatch.wire.identity import PrivateKey
from tests.node.host.kit import ANYWHERE, Ear, Node, OpenGate, limits, node, run, until

pytestmark = pytest.mark.p2p

ECHO = "/peerwatch/test/echo/1"


async def _echo(stream: Stream) -> None:
    while data := await stream.read(65536):
        await stream.write(data)


def _pair(story: Callable[[Node, Node], Awaitable[None]], **changed: float) -> None:
    async def main() -> None:
        a, b = node(limits(**changed)), node(limits(**changed))
        async with a.host, b.host:
            await story(a, b)

    run(main)


def test_each_side_pings_the_other_over_one_connection() -> None:
    """Who dialled does not matter."""

    async def story(a: Node, b: Node) -> None:
        await b.host.dial(a.member, a.host.addresses)
        await a.ear.wait(ConnectionOpened)
        assert 0 < await b.host.ping(a.member) < 1
        assert 0 < await a.host.ping(b.member) < 1
        assert [one.direction for one in a.host.connections] == [Direction.IN]
        assert [one.direction for one in b.host.connections] == [Direction.OUT]

    _pair(story)


def test_the_peer_id_is_that_of_the_key_in_the_roster() -> None:
    """A member id names the peer."""
    key = PrivateKey.generate()

    async def story() -> None:
        a, b = node(key=key), node()
        async with a.host, b.host:
            assert a.host.member == key.public
            assert (await b.host.dial(key.public, a.host.addresses)).member == key.public

    run(story)


def test_a_stream_carries_what_is_written_and_ends_when_closed() -> None:
    """A megabyte there and back."""
    sent = os.urandom(1 << 20)

    async def story(a: Node, b: Node) -> None:
        a.host.handle(ECHO, _echo)
        await b.host.dial(a.member, a.host.addresses)
        stream = await b.host.open_stream(a.member, ECHO)
        assert (stream.member, stream.protocol, stream.direction) == (a.member, ECHO, Direction.OUT)
        got = bytearray()

        async def write() -> None:
            for start in range(0, len(sent), 10_000):
                await stream.write(sent[start : start + 10_000])
            await stream.close()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write)
            while piece := await stream.read(65536):
                got += piece
        assert bytes(got) == sent

    _pair(story)


def test_events_tell_who_came_spoke_and_went() -> None:
    """With durations and reasons."""

    async def story(a: Node, b: Node) -> None:
        a.host.handle(ECHO, _echo)
        await b.host.dial(a.member, a.host.addresses)
        stream = await b.host.open_stream(a.member, ECHO)
        await stream.close()
        (ended,) = await a.ear.wait(StreamClosed)
        await b.host.close_peer(a.member)
        (gone,) = await a.ear.wait(ConnectionClosed)
        (left,) = await b.ear.wait(ConnectionClosed)
        assert a.ear.of(StreamOpened) == [StreamOpened(b.member, ECHO, Direction.IN)]
        assert (ended.member, ended.protocol, ended.reason) == (b.member, ECHO, "closed")
        assert (gone.member, gone.direction, gone.reason) == (b.member, Direction.IN, "remote")
        assert (left.member, left.direction, left.reason) == (a.member, Direction.OUT, "closed")
        assert 0 < gone.lasted_s < 5

    _pair(story)


def test_a_handler_that_raises_costs_its_stream_only() -> None:
    """The connection, and the host, go on. (libp2p: the host ends.)"""

    async def fail(stream: Stream) -> None:
        raise RuntimeError("a bug of ours")

    async def story(a: Node, b: Node) -> None:
        a.host.handle("/fails/1", fail)
        await b.host.dial(a.member, a.host.addresses)
        with pytest.raises(LinkError):  # maybe before the answer to the protocol is read
            await (await b.host.open_stream(a.member, "/fails/1")).read(10)
        (ended,) = await a.ear.wait(StreamClosed)
        assert ended.reason == "failed"
        assert await b.host.ping(a.member) > 0

    _pair(story)


def test_a_protocol_that_is_not_spoken_is_a_link_error() -> None:
    """At once, with its name; without a connection too."""

    async def story(a: Node, b: Node) -> None:
        with pytest.raises(LinkError, match="not connected"):
            await b.host.open_stream(a.member, "/unknown/1")
        await b.host.dial(a.member, a.host.addresses)
        with pytest.raises(LinkError, match="/unknown/1"):
            await b.host.open_stream(a.member, "/unknown/1")
        assert b.host.usage().streams == 0

    _pair(story)


def test_a_dial_that_failed_is_followed_by_one_that_does_not() -> None:
    """Nobody is banned for having been away. (libp2p: for 60 s.)"""

    async def story(a: Node, b: Node) -> None:
        with pytest.raises(LinkError):
            await b.host.dial(a.member, ["/ip4/127.0.0.1/tcp/1"])
        began_s = anyio.current_time()
        await b.host.dial(a.member, ["/ip4/127.0.0.1/tcp/1", *a.host.addresses])
        assert anyio.current_time() - began_s < 2
        assert [one.reason for one in b.ear.of(ConnectionRefused)] == ["unreachable", "unreachable"]

    _pair(story)


def test_the_newer_of_two_connections_takes_the_place_of_the_older() -> None:
    """A machine that comes back is not kept out by what is left of it."""
    key = PrivateKey.generate()

    async def story() -> None:
        hub, first, second = node(), node(key=key, listen=False), node(key=key, listen=False)
        async with hub.host, first.host, second.host:
            await first.host.dial(hub.member, hub.host.addresses)
            await second.host.dial(hub.member, hub.host.addresses)
            (gone,) = await hub.ear.wait(ConnectionClosed)
            assert gone.reason == "replaced"
            assert len(hub.host.connections) == hub.host.usage().inbound == 1
            await first.ear.wait(ConnectionClosed)
            assert await second.host.ping(hub.member) > 0

    run(story)


def test_two_that_dial_each_other_at_once_end_with_one_connection() -> None:
    """The same one on both sides, and each dial gives it."""

    async def story(a: Node, b: Node) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(a.host.dial, b.member, b.host.addresses)
            tasks.start_soon(b.host.dial, a.member, a.host.addresses)
        assert await a.host.ping(b.member) > 0
        assert await b.host.ping(a.member) > 0
        await until(lambda: sum(one.host.usage().inbound + one.host.usage().outbound for one in (a, b)) == 2)
        assert {one.direction for one in (*a.host.connections, *b.host.connections)} == {Direction.IN, Direction.OUT}

    for _ in range(5):
        _pair(story)


def test_dialling_whom_one_is_connected_to_gives_that_connection() -> None:
    """However many ask at once."""

    async def story(a: Node, b: Node) -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(b.host.dial, a.member, a.host.addresses)
        assert len(b.ear.of(ConnectionOpened)) == 1
        with pytest.raises(LinkError, match="itself"):
            await a.host.dial(a.member, a.host.addresses)

    _pair(story)


def test_external_addresses_come_before_those_that_are_bound() -> None:
    """With the peer id behind each."""

    async def story() -> None:
        one = node(external=["/ip4/192.0.2.7/tcp/4001"])
        async with one.host:
            first, second = one.host.addresses
            assert first == f"/ip4/192.0.2.7/tcp/4001/p2p/{one.host.peer_id}"
            assert second.startswith("/ip4/127.0.0.1/tcp/") and second.endswith(f"/p2p/{one.host.peer_id}")

    run(story)


def test_a_port_that_is_taken_is_noticed() -> None:
    """Also by another host, whose sockets share ports with whoever asks. (libp2p: two hosts on one port.)"""

    async def story() -> None:
        first = node()
        async with first.host:
            taken = first.host.addresses[0].partition("/p2p/")[0]
            second = node(listen=False)
            second.host = type(second.host)(second.key, OpenGate(), Ear(), listen=[taken])
            with pytest.raises(ConfigError, match="in use"):
                async with second.host:
                    pass

    run(story)


@pytest.mark.parametrize(
    "text", ["nonsense", "/ip4/127.0.0.1/udp/1", "/ip4/1.2.3.4/tcp/1/wss", "/dns4/localhost/tcp/1"]
)
def test_what_cannot_be_listened_on_is_a_setting_that_is_wrong(text: str) -> None:
    """Named, before anything is opened."""
    with pytest.raises(ConfigError, match="address"):
        type(node().host)(PrivateKey.generate(), OpenGate(), Ear(), listen=[text])


def test_an_address_that_is_not_this_machines_is_a_setting_that_is_wrong() -> None:
    """Found when it is opened."""

    async def story() -> None:
        host = type(node().host)(PrivateKey.generate(), OpenGate(), Ear(), listen=["/ip4/192.0.2.1/tcp/0"])
        with pytest.raises(ConfigError, match=r"192\.0\.2\.1"):
            async with host:
                pass

    run(story)


def test_ipv6_is_judged_by_its_address_too() -> None:
    """(libp2p does not know where an IPv6 connection comes from, and lets it past its lists.)"""
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")

    async def story() -> None:
        a, b = node(listen=False), node()
        a.host = type(a.host)(a.key, a.gate, a.ear, listen=["/ip6/::1/tcp/0"])
        async with a.host, b.host:
            await b.host.dial(a.member, a.host.addresses)
            await a.ear.wait(ConnectionOpened)
            assert a.gate.screened[0][0].startswith("/ip6/::1/tcp/")

    run(story)


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_leaving_closes_every_socket_and_ends_every_task() -> None:
    """Also with connections open and streams in the middle of something."""

    async def story() -> None:
        async def wait(stream: Stream) -> None:
            await stream.read(1)

        async def use() -> None:
            a, b, c = node(), node(), node(listen=False)
            async with a.host, b.host, c.host:
                a.host.handle("/waits/1", wait)
                for one in (b, c):
                    await one.host.dial(a.member, a.host.addresses)
                    await one.host.open_stream(a.member, "/waits/1")

        await use()
        before = _descriptors(), trio.lowlevel.current_statistics().tasks_living
        for _ in range(3):
            await use()
        assert (_descriptors(), trio.lowlevel.current_statistics().tasks_living) == before

    run(story)


def test_an_error_inside_the_block_comes_out_as_it_is() -> None:
    """Not inside a group of groups."""

    async def story() -> None:
        with pytest.raises(KeyError):
            async with node().host:
                raise KeyError("mine")

    run(story)


def test_listening_starts_and_ends_with_the_block() -> None:
    """The port is free afterwards."""

    async def story() -> None:
        one = node()
        async with one.host:
            port = one.port
        again = node(listen=False)
        again.host = type(again.host)(again.key, OpenGate(), Ear(), listen=[ANYWHERE.replace("/0", f"/{port}")])
        async with again.host:
            assert again.port == port

    run(story)
