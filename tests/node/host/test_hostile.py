"""Whatever a peer sends ends its stream or its connection, and nothing else."""

from __future__ import annotations

import logging
import os
import struct

import anyio
import pytest

from peerwatch.node.connection import (
    ConnectionClosed,
    ConnectionOpened,
    ConnectionRefused,
    Stream,
    StreamOpened,
    StreamRefused,
)
from peerwatch.node.host import PING
from tests.node.host.kit import (
    ACK,
    DATA,
    FIN,
    GO_AWAY,
    MULTISTREAM,
    RST,
    SYN,
    WINDOW,
    Attacker,
    Node,
    limits,
    node,
    run,
    until,
    word,
)

pytestmark = pytest.mark.p2p

SINK = "/sink/1"


async def _never_read(stream: Stream) -> None:
    await anyio.sleep_forever()


async def _alive(hub: Node) -> None:
    """A member is served."""
    client = node(listen=False)
    async with client.host:
        await client.host.dial(hub.member, hub.host.addresses)
        assert await client.host.ping(hub.member) > 0


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (b"\xff\xfe/meshsub/1.1.0", "malformed"),
        (b"", "handshake"),
        (b"/unknown/1", "handshake"),
        (b"ls", "handshake"),
        (b"x" * 2000, "malformed"),
    ],
    ids=["not UTF-8", "empty", "unknown", "ls", "too long"],
)
def test_any_protocol_name_is_survived(name: bytes, reason: str) -> None:
    """Also one that is not UTF-8, which is told apart from one that is not known. (libp2p: the host ends.)"""

    async def story() -> None:
        hub = node()
        async with hub.host, await Attacker.muxed(hub) as peer:
            await peer.data(1, MULTISTREAM + word(name), SYN)
            await peer.frame(WINDOW, FIN, 1)
            (refused,) = await hub.ear.wait(StreamRefused)
            assert refused.reason == reason
            await _alive(hub)

    run(story)


def test_a_name_that_is_not_utf_8_from_a_stranger_is_survived() -> None:
    """Before any handshake."""

    async def story() -> None:
        hub = node()
        async with hub.host, await Attacker.connect(hub) as stranger:
            await stranger.socket.write(MULTISTREAM + word(b"\xff\xff"))
            await stranger.closed()
            (refused,) = await hub.ear.wait(ConnectionRefused)
            assert refused.reason == "handshake"
            await _alive(hub)

    run(story)


@pytest.mark.parametrize("size", [b"\xff\xff\xff\xff\x0f", b"\xff" * 9 + b"\x01", b"\xff" * 20])
def test_no_memory_is_asked_for_because_a_stranger_names_a_size(size: bytes) -> None:
    """The length is judged before the name is read. (libp2p asks the socket for as much.)"""

    async def story() -> None:
        hub = node()
        async with hub.host, await Attacker.connect(hub) as stranger:
            await stranger.socket.write(MULTISTREAM + size + b"x")
            await stranger.closed()
            (refused,) = await hub.ear.wait(ConnectionRefused)
            assert refused.reason == "handshake"

    run(story)


@pytest.mark.parametrize("protocol", [PING, "/ipfs/id/1.0.0", "/ipfs/id/push/1.0.0", SINK, "/meshsub/1.1.0"])
@pytest.mark.parametrize("junk", [b"", b"\x00" * 10, b"\xff" * 4096, os.urandom(5000)], ids=["end", "0", "ff", "any"])
def test_junk_on_every_protocol_is_survived(protocol: str, junk: bytes) -> None:
    """Whatever is registered, and what is not."""

    async def sink(stream: Stream) -> None:
        data = await stream.read(65536)
        struct.unpack("!I", data)  # a handler that does not expect it

    async def story() -> None:
        hub = node()
        hub.host.handle(SINK, sink)
        async with hub.host, await Attacker.muxed(hub) as peer:
            await peer.data(1, MULTISTREAM + word(protocol.encode()), SYN)
            if junk:
                await peer.data(1, junk)
            await peer.frame(WINDOW, FIN, 1)
            await peer.until(WINDOW, FIN | RST, 1)
            await _alive(hub)

    run(story)


@pytest.mark.parametrize("step", ["tcp", "noise", "muxer"])
def test_junk_instead_of_a_handshake_is_survived(step: str) -> None:
    """At each step of it."""

    async def story() -> None:
        hub = node(limits(handshake_timeout_s=1.0))
        async with hub.host, await Attacker.connect(hub) as peer:
            if step == "noise":
                await peer.select(peer.raw, "/noise")
            if step == "muxer":
                await peer.shake(hub.member)
                await peer.secured.write(os.urandom(3000))
            else:
                await peer.socket.write(b"\x10" + os.urandom(5000))
            await peer.closed()
            await hub.ear.wait(ConnectionRefused)
            await _alive(hub)
            await hub.settled()

    run(story)


@pytest.mark.parametrize(
    "frame",
    [
        (7, 0, 1, 0, b""),
        (DATA, SYN, 2, 0, b""),
        (WINDOW, SYN, 0, 0, b""),
        (DATA, SYN, 1, 300_000, b""),
        (DATA, SYN, 1, 0xFFFFFFFF, b""),
    ],
    ids=["type", "parity", "zero", "window", "size"],
)
def test_who_breaks_the_rules_of_the_muxer_is_cut_off(frame: tuple[int, int, int, int, bytes]) -> None:
    """With the reason, so that it can be counted against it."""

    async def story() -> None:
        hub = node()
        async with hub.host, await Attacker.muxed(hub) as peer:
            await hub.ear.wait(ConnectionOpened)
            kind, flags, stream_id, length, body = frame
            await peer.frame(kind, flags, stream_id, length, body)
            await peer.closed()
            (gone,) = await hub.ear.wait(ConnectionClosed)
            assert gone.reason == "abuse"
            await _alive(hub)

    run(story)


def test_a_stream_that_is_not_read_takes_no_more_than_its_window() -> None:
    """256 KB, then whoever goes on sending is cut off. (libp2p keeps all that comes.)"""

    async def story() -> None:
        hub = node()
        hub.host.handle(SINK, _never_read)
        async with hub.host, await Attacker.muxed(hub) as peer:
            await peer.data(1, MULTISTREAM + word(SINK.encode()), SYN)
            try:
                for _ in range(64):
                    await peer.data(1, bytes(32_000))
            except Exception:
                pass  # it has been cut off by now
            await peer.closed()
            (gone,) = await hub.ear.wait(ConnectionClosed)
            assert gone.reason == "abuse"

    run(story)


def test_a_stream_that_was_refused_takes_no_more_bytes() -> None:
    """What comes after the reset is dropped. (libp2p keeps it for minutes.)"""

    async def story() -> None:
        hub = node(limits(max_streams_in=1))
        hub.host.handle(SINK, _never_read)
        async with hub.host, await Attacker.muxed(hub) as peer:
            await peer.data(1, MULTISTREAM + word(SINK.encode()), SYN)
            for stream_id in range(3, 41, 2):
                await peer.data(stream_id, bytes(100_000), SYN)
            await hub.ear.wait(StreamRefused, 19)
            muxer = hub.host._swarm.get_connections()[0].muxed_conn
            assert sum(len(one) for one in muxer.stream_buffers.values()) == 0
            assert list(muxer.streams) == [1]

    run(story)


def test_a_handler_ends_with_its_connection() -> None:
    """Also one that waits for something else than the other side. (libp2p: its task is left.)"""

    async def story() -> None:
        hub, ended = node(), anyio.Event()

        async def wait(stream: Stream) -> None:
            try:
                await anyio.sleep_forever()
            finally:
                ended.set()

        hub.host.handle(SINK, wait)
        async with hub.host:
            async with await Attacker.muxed(hub) as peer:
                await peer.data(1, MULTISTREAM + word(SINK.encode()), SYN)
                await hub.ear.wait(StreamOpened)
            await ended.wait()
            await hub.settled()

    run(story)


def test_streams_that_the_other_side_never_ends_are_ended() -> None:
    """We have; it does not answer. (libp2p keeps every one of them.)"""

    async def done(stream: Stream) -> None:
        pass

    async def story() -> None:
        hub = node(limits(idle_stream_s=1.0, idle_connection_s=1.0))
        hub.host.handle("/done/1", done)
        async with hub.host, await Attacker.muxed(hub) as peer:
            for number in range(20):
                await peer.data(2 * number + 1, MULTISTREAM + word(b"/done/1"), SYN)
            ended: set[int] = set()
            while len(ended) < 20:
                kind, flags, stream_id, _ = await peer.read_frame()
                if kind == WINDOW and flags & RST:
                    ended.add(stream_id)
            muxer = hub.host._swarm.get_connections()[0].muxed_conn
            await until(lambda: not muxer.streams)
            assert not muxer.stream_buffers

    run(story)


def test_more_streams_left_open_than_can_be_meant_end_the_connection() -> None:
    """The library would keep 2**31 of them."""

    async def done(stream: Stream) -> None:
        pass

    async def story() -> None:
        hub = node(limits(max_streams_in=2, max_streams_out=2))
        hub.host.handle("/done/1", done)
        async with hub.host, await Attacker.muxed(hub) as peer:
            for number in range(200):
                try:
                    await peer.data(2 * number + 1, MULTISTREAM + word(b"/done/1"), SYN)
                    await peer.until(WINDOW, FIN | RST, 2 * number + 1)
                except Exception:
                    break
            (gone,) = await hub.ear.wait(ConnectionClosed)
            assert gone.reason == "abuse"

    run(story)


def test_a_goodbye_ends_the_connection() -> None:
    """And is no offence."""

    async def story() -> None:
        hub = node()
        async with hub.host, await Attacker.muxed(hub) as peer:
            await hub.ear.wait(ConnectionOpened)
            await peer.frame(GO_AWAY, 0, 0, 0)
            (gone,) = await hub.ear.wait(ConnectionClosed)
            assert gone.reason == "remote"

    run(story)


def test_answers_that_nobody_asked_for_are_passed_over() -> None:
    """Pongs, and data for streams that are none."""

    async def story() -> None:
        hub = node()
        async with hub.host, await Attacker.muxed(hub) as peer:
            await hub.ear.wait(ConnectionOpened)
            await peer.frame(2, ACK, 0, 77)
            await peer.data(5, b"late")
            await peer.frame(WINDOW, 0, 9, 1000)
            await peer.frame(2, SYN, 0, 78)
            await peer.until(2, ACK, 0)

    run(story)


def test_the_root_logger_is_left_alone() -> None:
    """(libp2p installs a handler that prints everything.)"""
    root = logging.getLogger()
    kept, root.handlers[:] = root.handlers[:], []
    try:

        async def story() -> None:
            hub = node()
            async with hub.host:
                await _alive(hub)

        run(story)
        assert root.handlers == []
    finally:
        root.handlers[:] = kept
