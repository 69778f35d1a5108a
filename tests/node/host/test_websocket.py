"""WebSocket: the gate, the limits and the time-outs of TCP hold there too, from the first byte on."""

from __future__ import annotations

import struct
from collections import Counter
from contextlib import AsyncExitStack, suppress

import anyio
import pytest

pytest.importorskip("libp2p", reason="the extra p2p is not installed: make p2p")

from peerwatch.errors import ConfigError, LinkError
from peerwatch.node.connection import ConnectionClosed, ConnectionOpened, ConnectionRefused, DeniedError
from peerwatch.node.gater import Direction
from peerwatch.wire.identity import PrivateKey
from tests.node.host.kit import (
    ACK,
    ANYWHERE,
    BY_WEBSOCKET,
    MULTISTREAM,
    Attacker,
    Node,
    limits,
    node,
    run,
)
from tests.node.host.kit import PING as YAMUX_PING
from tests.node.host.test_relay import ECHO, echo, echoed, relay_node, reserve, started, through
from tests.node.host.ws_kit import BINARY, MORE, PING, PONG, REQUEST, TEXT, WebSocketAttacker, frame

pytestmark = pytest.mark.p2p

_MOST_HEAD = 8192
_MOST_MESSAGE = 1 << 20


def _hub(**changed: object) -> Node:
    return node(limits(**changed), at=BY_WEBSOCKET)


async def _served(hub: Node) -> None:
    client = node(listen=False)
    async with client.host:
        await client.host.dial(hub.member, hub.host.addresses)
        assert await client.host.ping(hub.member) > 0


# ---- members


@pytest.mark.parametrize("host", ["/ip4/127.0.0.1", "/dns4/localhost"])
def test_members_meet_over_websocket(host: str) -> None:
    """Pings and a megabyte both ways, at the addresses that they really have; and the end of it is told."""

    async def story() -> None:
        hub, member = _hub(), node(listen=False)
        for one in (hub, member):
            one.host.handle(ECHO, echo)
        async with started(hub, member):
            assert hub.host.addresses == (f"/ip4/127.0.0.1/tcp/{hub.port}/ws/p2p/{hub.host.peer_id}",)
            dialled = await member.host.dial(hub.member, [f"{host}/tcp/{hub.port}/ws"])
            assert dialled.address == hub.host.addresses[0]
            assert 0 < await member.host.ping(hub.member) < 5
            assert 0 < await hub.host.ping(member.member) < 5
            data = bytes(range(256)) * 4096
            assert await echoed(member, hub, data) == data
            assert await echoed(hub, member, data) == data
            (opened,) = hub.ear.of(ConnectionOpened)
            assert (opened.member, opened.direction) == (member.member, Direction.IN)
            assert opened.address.startswith("/ip4/127.0.0.1/tcp/") and opened.address.endswith("/ws")
            await member.host.close_peer(hub.member)
            await hub.ear.wait(ConnectionClosed)
            await hub.settled()

    run(story)


def test_bytes_may_come_in_any_pieces() -> None:
    """A message is not a unit of anything: Noise and Yamux in messages of one byte, fragments with pings between.

    (libp2p gives up on whatever comes in more than a hundred pieces, over TCP too.)
    """

    async def story() -> None:
        hub, key = _hub(), PrivateKey.generate()
        async with hub.host, await WebSocketAttacker.upgraded(hub, key) as peer:
            peer.messages.piece_bytes = 1
            await peer.muxer(hub.member)
            await hub.ear.wait(ConnectionOpened)
            await peer.socket.write(frame(PING, b"lives?"))
            await peer.frame(YAMUX_PING, 1, 0, 77)
            await peer.until(YAMUX_PING, ACK, 0)
            assert (PONG, b"lives?") in peer.messages.control
            pieces = [frame(BINARY, b"", final=False), frame(PING), frame(MORE, b"", final=False), frame(MORE)]
            await peer.socket.write(b"".join(pieces))
            await peer.frame(YAMUX_PING, 1, 0, 78)
            await peer.until(YAMUX_PING, ACK, 0)

    run(story)


def test_a_relay_is_reached_over_websocket() -> None:
    """And whoever is behind it, by the relay's address."""

    async def story() -> None:
        relay, hidden, caller = relay_node(at=BY_WEBSOCKET), node(listen=False), node(listen=False)
        hidden.host.handle(ECHO, echo)
        async with started(relay, hidden, caller):
            await reserve(hidden, relay)
            assert hidden.host.addresses == (through(relay, hidden),) and "/ws/p2p/" in through(relay, hidden)
            await caller.host.dial(hidden.member, hidden.host.addresses)
            assert await echoed(caller, hidden, b"x" * 100_000) == b"x" * 100_000

    run(story)


def test_a_node_listens_by_both_but_not_at_one_port(capsys: pytest.CaptureFixture[str]) -> None:
    """Sockets of one process may share a port, and each caller would then meet one of them by chance."""

    async def story() -> None:
        hub, client = node(), node(listen=False)
        both = type(hub.host)(hub.key, hub.gate, hub.ear, listen=[ANYWHERE, BY_WEBSOCKET])
        async with both, client.host:
            assert [("/ws/" in one) for one in both.addresses] == [False, True]
            for address in both.addresses:
                await client.host.dial(hub.member, [address])
                await client.host.close_peer(hub.member)
            port = both.addresses[0].split("/")[4]
        shared = [f"/ip4/127.0.0.1/tcp/{port}", f"/ip4/0.0.0.0/tcp/{port}/ws"]
        with pytest.raises(ConfigError, match=f"cannot listen on /ip4/0.0.0.0/tcp/{port}/ws: Address already in use"):
            async with type(hub.host)(hub.key, hub.gate, hub.ear, listen=shared):
                pass

    run(story)
    assert "experimental" in capsys.readouterr().out


# ---- strangers


def test_a_stranger_is_refused_in_the_handshake_and_told_by_its_dial() -> None:
    """As over TCP: it is known by then who it is."""

    async def story() -> None:
        hub, stranger = _hub(), node(listen=False)
        hub.gate.denied.add(stranger.member)
        async with started(hub, stranger):
            with pytest.raises(LinkError):
                await stranger.host.dial(hub.member, hub.host.addresses)
            (refused,) = await hub.ear.wait(ConnectionRefused)
            assert refused.reason == "not_a_member"
            await hub.settled()

    run(story)


def test_an_address_is_judged_before_a_byte_of_http() -> None:
    """In and out: the one that calls, and the one that a name has led to."""

    async def story() -> None:
        hub, other = _hub(), node(listen=False)
        async with started(hub, other):
            other.gate.closed.add("/ip4/127.0.0.1/")
            with pytest.raises(DeniedError):
                await other.host.dial(hub.member, [f"/dns4/localhost/tcp/{hub.port}/ws"])
            hub.gate.closed.add("/ip4/127.0.0.1/")
            async with await Attacker.connect(hub) as caller:
                assert await caller.socket.read() == b""
            (refused,) = hub.ear.of(ConnectionRefused)
            assert refused.reason == "denied" and refused.address.endswith("/ws")

    run(story)


@pytest.mark.parametrize("at", [ANYWHERE, BY_WEBSOCKET], ids=["tcp", "websocket"])
def test_the_silent_are_held_within_the_limits_and_the_time(at: str) -> None:
    """300 connections that never send a byte: as many as may shake hands and wait, for as long as that may take. (With
    py-libp2p's own WebSocket, every one was still held after 44 s.)"""

    async def story() -> None:
        hub = node(limits(max_pending=4, handshake_timeout_s=1.0), at=at)
        most = 4 + 16
        async with hub.host, AsyncExitStack() as stack:
            began_s = anyio.current_time()
            silent = [await stack.enter_async_context(await Attacker.connect(hub)) for _ in range(300)]
            await hub.ear.wait(ConnectionRefused, 300 - most)
            usage = hub.host.usage()
            assert usage.pending <= 4 and usage.waiting <= 16 and usage.pending_per_subnet <= most
            assert max(hub.gate.crowds) == most, "counted by where they come from, while they are there"
            for one in silent:
                await one.closed()
            assert anyio.current_time() - began_s < 6
            await hub.settled()
            await hub.ear.wait(ConnectionRefused, 300)
            reasons = Counter(one.reason for one in hub.ear.of(ConnectionRefused))
            assert set(reasons) == {"queue", "timeout"} and reasons["timeout"] >= 4
            await _served(hub)

    run(story, 60)


@pytest.mark.parametrize("upgraded", [False, True])
def test_upgrade_and_handshake_have_one_deadline(upgraded: bool) -> None:
    """A byte now and then prolongs neither, nor does having been upgraded."""

    async def story() -> None:
        hub = _hub(handshake_timeout_s=1.0)
        async with hub.host, await WebSocketAttacker.connect(hub) as slow, anyio.create_task_group() as tasks:
            began_s = anyio.current_time()

            async def trickle() -> None:
                if upgraded:
                    await anyio.sleep(0.6)
                    await slow.socket.write(REQUEST)
                with suppress(Exception):  # it is closed in the middle
                    for byte in frame(BINARY, MULTISTREAM) if upgraded else REQUEST:
                        await anyio.sleep(0.1)
                        await slow.socket.write(bytes([byte]))

            tasks.start_soon(trickle)
            await slow.closed()
            tasks.cancel_scope.cancel()
            assert 0.8 < anyio.current_time() - began_s < 2.5
            (refused,) = await hub.ear.wait(ConnectionRefused)
            assert refused.reason == "timeout"
            await hub.settled()

    run(story)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (MULTISTREAM, "dialled as TCP"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "dialled as TCP"),
        (b"POST / HTTP/1.1\r\n\r\n", "dialled as TCP"),
        (b"GET / HTTP/1.1\r\nHost: here\r\n\r\n", "Connection: Upgrade"),
        (REQUEST.replace(b"13", b"12"), "Sec-WebSocket-Version"),
        (REQUEST.replace(b"Host: here:1", b"Host: " + b"xn--" + b"\xff" * 60), "no WebSocket request"),
        (REQUEST.replace(b"Sec-WebSocket-Key", b"Other-Key"), "Sec-WebSocket-Key"),
        (b"GET / HTTP/1.1\r\n\xff\xfe: x\r\n\r\n", "Bad HTTP"),
        (REQUEST + frame(BINARY, MULTISTREAM), "before it was answered"),
        (REQUEST + REQUEST, "before it was answered"),
        (b"GET /" + b"x" * _MOST_HEAD, f"limit {_MOST_HEAD} bytes"),
        (REQUEST.replace(b"Host", b"Cookie: " + b"x" * _MOST_HEAD + b"\r\nHost"), f"limit {_MOST_HEAD} bytes"),
    ],
)
def test_what_is_no_request_is_refused_at_once(said: bytes, words: str) -> None:
    """With words that a person with a browser can read, and without waiting for the deadline."""

    async def story() -> None:
        hub = _hub(handshake_timeout_s=20.0)
        async with hub.host, await Attacker.connect(hub) as caller:
            await caller.socket.write(said)
            answer = await caller.socket.read()
            assert answer == b"" or answer.startswith(b"HTTP/1.1 400 "), "a reset may come before the answer is read"
            await caller.closed()
            (refused,) = await hub.ear.wait(ConnectionRefused)
            assert refused.reason == "handshake" and words in refused.words
            await hub.settled()
            await _served(hub)

    run(story, 15)


def test_each_transport_at_the_others_port_fails_at_once() -> None:
    """Our own dials, and a request at TCP's port."""

    async def story() -> None:
        by_websocket, by_tcp = _hub(handshake_timeout_s=20.0), node(limits(handshake_timeout_s=20.0))
        member = node(limits(dial_timeout_s=20.0), listen=False)
        async with started(by_websocket, by_tcp, member):
            with pytest.raises(LinkError):
                await member.host.dial(by_websocket.member, [f"/ip4/127.0.0.1/tcp/{by_websocket.port}"])
            with pytest.raises(LinkError):
                await member.host.dial(by_tcp.member, [f"/ip4/127.0.0.1/tcp/{by_tcp.port}/ws"])
            with pytest.raises(LinkError, match="not /wss or QUIC"):
                await member.host.dial(by_tcp.member, [f"/ip4/127.0.0.1/tcp/{by_tcp.port}/wss"])
            for hub in (by_websocket, by_tcp):
                await hub.settled()
                await _served(hub)

    run(story, 15)


# ---- whoever is upgraded

_BROKEN = [
    pytest.param([frame(TEXT, b"hello")], 1003, "text", id="text"),
    pytest.param([frame(PING)] * 1000, 0, "257 frames with nothing", id="pings"),
    pytest.param([frame(PONG)] * 1000, 0, "257 frames with nothing", id="pongs"),
    pytest.param([frame(BINARY)] * 1000, 0, "257 frames with nothing", id="empty messages"),
    pytest.param(
        [frame(BINARY, final=False)] + [frame(MORE, final=False)] * 1000, 0, "257 frames with", id="empty fragments"
    ),
    pytest.param([frame(BINARY, b"x", masked=False)], 1002, "unmasked", id="not masked"),
    pytest.param([frame(3, b"x")], 1002, "opcode", id="an opcode that is none"),
    pytest.param([frame(BINARY | 0x40, b"x")], 1002, "Reserved bit", id="compressed"),
    pytest.param([frame(PING, bytes(126))], 1002, "Control frame", id="a large ping"),
    pytest.param([frame(MORE, b"x")], 1002, "CONTINUATION", id="a fragment of nothing"),
]


@pytest.mark.parametrize(("sent", "code", "words"), _BROKEN)
def test_a_stranger_that_breaks_the_rules_is_gone(sent: list[bytes], code: int, words: str) -> None:
    """Within the handshake, long before its time is over."""

    async def story() -> None:
        hub = _hub(handshake_timeout_s=20.0)
        async with hub.host, await WebSocketAttacker.upgraded(hub) as stranger:
            await stranger.select(stranger.raw, "/noise")
            await _send(stranger, sent)
            (refused,) = await hub.ear.wait(ConnectionRefused)
            assert refused.reason == "handshake" and words in refused.words
            if code:  # a reset may come before the words, when there is more to read than was read
                assert await stranger.said_goodbye() == code
            await hub.settled()
            await _served(hub)

    run(story, 15)


@pytest.mark.parametrize(("sent", "code", "words"), _BROKEN)
def test_a_member_that_breaks_the_rules_is_put_out_for_abuse(sent: list[bytes], code: int, words: str) -> None:
    """Which counts against it (`conduct.py`); it is told the code of RFC 6455."""

    async def story() -> None:
        hub, key = _hub(), PrivateKey.generate()
        async with hub.host, await WebSocketAttacker.upgraded(hub, key) as peer:
            await peer.muxer(hub.member)
            await hub.ear.wait(ConnectionOpened)
            await _send(peer, sent)
            (closed,) = await hub.ear.wait(ConnectionClosed)
            assert (closed.member, closed.reason) == (key.public, "abuse")
            if code:
                assert await peer.said_goodbye() == code
            await hub.settled()
            await _served(hub)

    run(story, 15)


@pytest.mark.parametrize("fragments", [True, False])
def test_a_message_has_an_end(fragments: bool) -> None:
    """A member whose message goes on past 1 MB is put out, though every byte of it is good: in fragments, or one frame.

    The frame says that it has 2 to the 50 bytes, for which nobody asks any memory.
    """

    async def story() -> None:
        hub, key = _hub(), PrivateKey.generate()
        async with hub.host, await WebSocketAttacker.upgraded(hub, key) as peer:
            await peer.muxer(hub.member)
            await hub.ear.wait(ConnectionOpened)
            if fragments:
                peer.messages.endless = True
            else:
                await peer.socket.write(frame(BINARY, size=1 << 50))  # its key is made of zeros: see below
                peer.messages.bare = True
            passed_over = struct.pack("!BBHII", 0, YAMUX_PING, ACK, 0, 1)
            sent = 0
            with suppress(Exception):
                while sent < 16 * _MOST_MESSAGE:
                    await peer.secured.write(passed_over * 1000)
                    sent += 12_000
            assert 0.9 * _MOST_MESSAGE < sent < 16 * _MOST_MESSAGE, "and what the sockets hold"
            (closed,) = await hub.ear.wait(ConnectionClosed)
            assert (closed.member, closed.reason) == (key.public, "abuse")
            await hub.settled()
            await _served(hub)

    run(story, 30)


async def _send(peer: Attacker, pieces: list[bytes]) -> None:
    with suppress(Exception):  # it is closed in the middle
        for piece in pieces:
            await peer.socket.write(piece)


def test_a_member_that_takes_no_pongs_is_let_go() -> None:
    """Its pings are answered one by one: whoever does not take the answers is read no further, and a check ends it."""

    async def story() -> None:
        hub, key = _hub(idle_connection_s=0.5), PrivateKey.generate()
        async with hub.host, await WebSocketAttacker.upgraded(hub, key) as peer:
            await peer.muxer(hub.member)
            await hub.ear.wait(ConnectionOpened)

            async def flood() -> None:
                pings = b"".join([frame(PING, bytes(125))] * 100)
                with suppress(Exception):
                    while True:
                        await peer.socket.write(pings)
                        await peer.frame(YAMUX_PING, ACK, 0, 1)  # an answer to nothing: passed over, but not empty

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(flood)
                (closed,) = await hub.ear.wait(ConnectionClosed)
                tasks.cancel_scope.cancel()
            assert closed.reason in ("stuck", "health")
            await hub.settled()

    run(story, 60)
