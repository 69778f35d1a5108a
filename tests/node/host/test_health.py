"""Who is idle is asked whether it lives; who does not answer is let go."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from peerwatch.errors import LinkError
from peerwatch.node import health
from peerwatch.node.connection import ConnectionClosed, ConnectionOpened, Stream
from peerwatch.node.host import Host
from peerwatch.wire.identity import public_key_of
from tests.node.host.kit import PING, SYN, Attacker, limits, node, run

pytestmark = pytest.mark.p2p

_ROOT = Path(__file__).parents[3]
IDLE = limits(idle_connection_s=0.3, idle_stream_s=0.3)


def _start(address: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.node.host.frozen", address]
    return subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@asynccontextmanager
async def _process(address: str) -> AsyncIterator[tuple[subprocess.Popen[str], bytes]]:
    """A member in its own process, connected."""
    child = _start(address)
    assert child.stdin is not None and child.stdout is not None
    try:
        yield child, public_key_of((await to_thread.run_sync(child.stdout.readline)).strip())
    finally:
        child.kill()
        with child.stdin, child.stdout:
            child.wait(10)


def test_a_frozen_peer_that_is_watched_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds its sockets and answers nothing. (libp2p does not notice in a minute.)"""
    monkeypatch.setattr(health, "WATCH_ANSWER_S", 2.0)

    async def story() -> None:
        hub = node()
        async with hub.host, _process(hub.host.addresses[0]) as (child, member):
            hub.host.watch(member)
            assert await hub.host.ping(member) > 0
            child.send_signal(signal.SIGSTOP)
            began_s = anyio.current_time()
            with pytest.raises(LinkError):
                await hub.host.open_stream(member, "/echo/1")
            (gone,) = await hub.ear.wait(ConnectionClosed)
            assert gone.reason == "frozen"
            assert anyio.current_time() - began_s < 6.0
            await hub.settled()

    run(story, 60)


def test_a_killed_peer_is_gone_at_once() -> None:
    """Its system says so."""

    async def story() -> None:
        hub = node()
        async with hub.host, _process(hub.host.addresses[0]) as (child, _):
            child.kill()
            began_s = anyio.current_time()
            await hub.ear.wait(ConnectionClosed)
            assert anyio.current_time() - began_s < 2.0

    run(story, 60)


def test_a_ping_to_a_frozen_peer_ends_in_time() -> None:
    """As long as was said, and no longer."""

    async def story() -> None:
        hub = node()
        async with hub.host, _process(hub.host.addresses[0]) as (child, member):
            child.send_signal(signal.SIGSTOP)
            with pytest.raises(LinkError):
                await hub.host.ping(member, 0.5)
            assert hub.host.usage().streams == 0

    run(story, 60)


def test_a_frozen_peer_that_does_not_read_does_not_hold_who_writes() -> None:
    """A write that is not taken ends with a LinkError, not never."""

    async def story() -> None:
        hub = node()
        async with hub.host, _process(hub.host.addresses[0]) as (child, member):
            stream = await hub.host.open_stream(member, "/ipfs/ping/1.0.0")
            child.send_signal(signal.SIGSTOP)
            began_s = anyio.current_time()
            with pytest.raises(LinkError):
                await stream.write(bytes(16 << 20))
            assert anyio.current_time() - began_s < 8

    run(story, 60)


def test_an_idle_connection_that_answers_stays() -> None:
    """The answer counts as use."""

    async def story() -> None:
        hub, one = node(IDLE), node(IDLE, listen=False)
        async with hub.host, one.host:
            await one.host.dial(hub.member, hub.host.addresses)
            await hub.ear.wait(ConnectionOpened)
            await anyio.sleep(1.5)  # five times as long as it may be idle: silence is what is tested
            assert await one.host.ping(hub.member) > 0
            assert len(hub.ear.of(ConnectionOpened)) == 1

    run(story)


def test_an_idle_connection_that_does_not_answer_is_closed() -> None:
    """Reason: health."""

    async def story() -> None:
        hub = node(IDLE)
        async with hub.host, await Attacker.muxed(hub) as silent:
            await silent.until(PING, SYN, 0)  # it is asked, and keeps silent
            (gone,) = await hub.ear.wait(ConnectionClosed)
            assert gone.reason == "health"
            await hub.settled()

    run(story)


def test_a_stream_on_which_nothing_moves_has_its_connection_checked() -> None:
    """A stream alone does not keep a dead connection."""

    async def hold(stream: Stream) -> None:
        await stream.read(1)

    async def story() -> None:
        hub, one = node(IDLE), node(limits(idle_stream_s=30), listen=False)
        hub.host.handle("/hold/1", hold)
        async with hub.host, one.host:
            await one.host.dial(hub.member, hub.host.addresses)
            stream = await one.host.open_stream(hub.member, "/hold/1")
            await anyio.sleep(1.0)
            await stream.write(b"x")  # it answered the checks, so it is still there
            assert await stream.read(1) == b""

    run(story)


def test_who_is_watched_and_owes_nothing_is_left_alone() -> None:
    """A hub of a thousand agents is not pinged a thousand times a second; whoever asked and was answered is content."""

    async def echo(stream: Stream) -> None:
        await stream.write(await stream.read(8))
        await stream.read(8)

    async def story() -> None:
        hub, one = node(), node(listen=False)
        hub.host.handle("/echo/1", echo)
        async with hub.host, one.host:
            await one.host.dial(hub.member, hub.host.addresses)
            one.host.watch(hub.member)
            stream = await one.host.open_stream(hub.member, "/echo/1")
            await stream.write(b"x")
            assert await stream.read(8) == b"x"
            (conn,) = one.host._swarm.open_connections()
            pings = conn.muxed_conn._nonce
            await anyio.sleep(2.5)
            assert conn.muxed_conn._nonce == pings
            await stream.write(b"y")  # this is never answered
            await anyio.sleep(2.5)
            assert conn.muxed_conn._nonce > pings
            assert len(one.host.connections) == 1, "it lives, and answers pings"

    run(story)


def test_who_is_no_longer_watched_is_left_to_the_idle_timers(monkeypatch: pytest.MonkeyPatch) -> None:
    """And watching whom one is not connected to does nothing."""
    monkeypatch.setattr(health, "WATCH_ANSWER_S", 2.0)

    async def ask(host: Host, member: bytes) -> None:
        with suppress(LinkError):  # nobody answers
            await host.open_stream(member, "/echo/1")

    async def story() -> None:
        hub = node()
        async with hub.host, await Attacker.muxed(hub) as silent, anyio.create_task_group() as tasks:
            (opened,) = await hub.ear.wait(ConnectionOpened)
            hub.host.watch(opened.member)
            tasks.start_soon(ask, hub.host, opened.member)
            await silent.until(PING, SYN, 0)
            hub.host.unwatch(opened.member)
            hub.host.watch(hub.member)
            await anyio.sleep(4.0)  # longer than a watched peer has
            assert len(hub.host.connections) == 1
            tasks.cancel_scope.cancel()

    run(story)
