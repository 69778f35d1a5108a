"""A node and a main process at the two ends of a real Unix socket, and raw ends for those who do not keep the rules."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from dataclasses import fields as fields_of
from importlib.util import find_spec
from pathlib import Path

import anyio
import anyio.abc
import anyio.lowlevel

from peerwatch.node.channel import Channel
from peerwatch.node.config import SocketConfig
from peerwatch.node.frames import FrameReader, pack_frame
from peerwatch.node.messages import (
    Deliver,
    Delivered,
    Done,
    Hello,
    Inbound,
    Message,
    Note,
    Reply,
    decode_from_main,
    decode_from_node,
    encode_message,
)
from peerwatch.node.socket import NodeServer, open_channel

BACKENDS = ["asyncio", *(["trio"] if find_spec("trio") else [])]
"""The main process runs on asyncio, the node on trio, which comes with libp2p."""
MIB = 1 << 20
SMALL = SocketConfig(max_frame_bytes=MIB, window_requests=3, window_bytes=2 * MIB, max_notes=4)


def config(**changes: float) -> SocketConfig:
    """SMALL with changes."""
    values = {one.name: getattr(SMALL, one.name) for one in fields_of(SMALL)}
    return SocketConfig(**{**values, **changes})  # type: ignore[arg-type]


@dataclass
class Owner:
    """A handler that answers by `reply`, and keeps what it hears."""

    reply: Callable[[Message], Awaitable[Reply]]
    heard: list[Note] = field(default_factory=list)
    asked: list[Message] = field(default_factory=list)
    news: anyio.Event = field(default_factory=anyio.Event)

    async def answer(self, request: Message) -> Reply:
        self.asked.append(request)
        return await self.reply(request)

    def hear(self, note: Note) -> None:
        self.heard.append(note)
        self.news.set()


async def echo(request: Message) -> Reply:
    """The body comes back."""
    return Delivered(body=request.body) if isinstance(request, Deliver | Inbound) else Done()


async def never(request: Message) -> Reply:
    """An owner that hangs."""
    await anyio.sleep_forever()
    raise AssertionError


@dataclass
class Pair:
    """Both ends, connected."""

    main: Channel
    server: NodeServer
    main_owner: Owner
    node_owner: Owner
    path: Path


@asynccontextmanager
async def listening(path: Path, owner: Owner, settings: SocketConfig = SMALL) -> AsyncIterator[NodeServer]:
    """A node that serves at `path`."""
    server = NodeServer(path, owner, settings, "test node")
    async with anyio.create_task_group() as tasks:
        await tasks.start(server.run)
        yield server
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def connected(path: Path, owner: Owner, settings: SocketConfig = SMALL) -> AsyncIterator[Channel]:
    """A main process that has greeted."""
    async with anyio.create_task_group() as tasks:
        channel = await open_channel(path, owner, settings, "test main")
        tasks.start_soon(channel.run)
        await channel.ready()
        yield channel
        channel.close()


@asynccontextmanager
async def pair(
    path: Path,
    node: Callable[[Message], Awaitable[Reply]] = echo,
    main: Callable[[Message], Awaitable[Reply]] = echo,
    settings: SocketConfig = SMALL,
) -> AsyncIterator[Pair]:
    """A node and its main process."""
    node_owner, main_owner = Owner(node), Owner(main)
    async with (
        listening(path, node_owner, settings) as server,
        connected(path, main_owner, settings) as channel,
    ):
        await until(lambda: server.connected)
        yield Pair(channel, server, main_owner, node_owner, path)


class Raw:
    """A bare end: says what it is told to, reads what comes."""

    def __init__(self, stream: anyio.abc.ByteStream, role: str) -> None:
        self.stream = stream
        self._role = role
        self._reader = FrameReader(64 * MIB)
        self._read: list[bytes] = []

    async def greet(self, requests: int = 100, size_bytes: int = 64 * MIB) -> None:
        """Send a greeting that grants this window."""
        hello = Hello(
            role=self._role,
            program="raw",
            max_frame_bytes=size_bytes,
            window_requests=requests,
            window_bytes=size_bytes,
        )
        await self.say(hello)

    async def say(self, message: Message, request_id: int = 0) -> None:
        """Send one message."""
        await self.stream.send(pack_frame(encode_message(message, request_id), 64 * MIB))

    async def next(self) -> Message:
        """The next message. Raises EndOfStream when the other side has closed."""
        while not self._read:
            self._read += self._reader.feed(await self.stream.receive())
        decode = decode_from_node if self._role == "main" else decode_from_main
        return decode(self._read.pop(0))

    async def until_closed(self) -> None:
        """Read until the other side closes."""
        try:
            while True:
                await self.stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return


@asynccontextmanager
async def raw_main(path: Path) -> AsyncIterator[Raw]:
    """A bare main process."""
    async with await anyio.connect_unix(path) as stream:
        yield Raw(stream, "main")


async def until(condition: Callable[[], bool]) -> None:
    """Let others run until it is so; a test that waits in vain fails."""
    with anyio.fail_after(5):
        while not condition():  # what is waited for lies at the other end of a socket
            await anyio.lowlevel.checkpoint()
