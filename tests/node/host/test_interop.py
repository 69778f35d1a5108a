"""A js-libp2p peer is a member like any other."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread

from peerwatch.node.connection import ConnectionClosed, ConnectionOpened, ConnectionRefused, Stream
from peerwatch.node.gater import Direction
from peerwatch.wire.identity import public_key_of
from tests.node.host.kit import Node, node, run

_HERE = Path(__file__).parent / "js"
_CACHE = Path(__file__).parents[3] / ".env" / "js-libp2p"
_ECHO = "/peerwatch/test/echo/1"

pytestmark = [
    pytest.mark.p2p,
    pytest.mark.servers,
    pytest.mark.skipif(not (shutil.which("node") and shutil.which("npm")), reason="needs Node.js and npm"),
]


@pytest.fixture(scope="module")
def installed() -> Path:
    """The peer's folder, with js-libp2p in it."""
    _CACHE.mkdir(parents=True, exist_ok=True)
    wanted = (_HERE / "package.json").read_text()
    done = _CACHE / "installed"
    if not done.exists() or done.read_text() != wanted:
        shutil.copy(_HERE / "package.json", _CACHE)
        command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"]
        subprocess.run(command, cwd=_CACHE, check=True, timeout=300, capture_output=True)
        done.write_text(wanted)
    for script in _HERE.glob("*.js"):
        shutil.copy(script, _CACHE)
    return _CACHE


class JsPeer:
    """The process; it answers one line per line."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self._child = child
        self.address = ""

    @property
    def member(self) -> bytes:
        """Its key."""
        return public_key_of(self.address.rpartition("/")[2])

    async def start(self) -> None:
        """Until it listens."""
        self.address = (await self._answer())["addresses"][0]

    async def do(self, *words: object) -> Any:
        """Its answer."""
        assert self._child.stdin is not None
        self._child.stdin.write(" ".join(map(str, words)) + "\n")
        self._child.stdin.flush()
        return await self._answer()

    async def _answer(self) -> Any:
        assert self._child.stdout is not None
        line = await to_thread.run_sync(self._child.stdout.readline, abandon_on_cancel=True)
        assert line, "the js peer ended"
        return json.loads(line)


def _start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["node", "peer.js"], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )


@asynccontextmanager
async def _js(folder: Path) -> AsyncIterator[JsPeer]:
    child = _start(folder)
    assert child.stdin is not None and child.stdout is not None
    try:
        peer = JsPeer(child)
        await peer.start()
        yield peer
    finally:
        child.kill()
        child.wait(10)
        child.stdin.close()
        child.stdout.close()


async def _echo(stream: Stream) -> None:
    while data := await stream.read(65536):
        await stream.write(data)


async def _swap(hub: Node, peer: JsPeer) -> None:
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


def test_a_js_peer_that_dials_is_served(installed: Path) -> None:
    """As an admitted member: pings, streams and identify, both ways."""

    async def story() -> None:
        hub = node()
        hub.host.handle(_ECHO, _echo)
        async with hub.host, _js(installed) as peer:
            assert "rtt_ms" in await peer.do("ping", hub.host.addresses[0])
            (opened,) = await hub.ear.wait(ConnectionOpened)
            assert (opened.member, opened.direction) == (peer.member, Direction.IN)
            await _swap(hub, peer)
            assert _ECHO in (await peer.do("identified", hub.host.peer_id))["protocols"]
            await hub.host.close_peer(peer.member)
            await hub.ear.wait(ConnectionClosed)

    run(story, 60)


def test_a_js_peer_that_is_dialled_is_a_member_too(installed: Path) -> None:
    """The same from our side."""

    async def story() -> None:
        hub = node()
        hub.host.handle(_ECHO, _echo)
        async with hub.host, _js(installed) as peer:
            await hub.host.dial(peer.member, [peer.address])
            await _swap(hub, peer)

    run(story, 60)


def test_a_js_stranger_is_refused(installed: Path) -> None:
    """It is told by its own dial."""

    async def story() -> None:
        hub = node()
        async with hub.host, _js(installed) as peer:
            hub.gate.denied.add(peer.member)
            assert "error" in await peer.do("ping", hub.host.addresses[0])
            (refused, *_) = await hub.ear.wait(ConnectionRefused)
            assert refused.reason == "not_a_member"

    run(story, 60)
