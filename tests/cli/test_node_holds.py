"""To whom the node stays connected: everybody that it was to be told of, however much is asked of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import anyio

from peerwatch.cli.node_holds import NodeHolds
from peerwatch.errors import LinkError
from peerwatch.node.config import SocketConfig
from peerwatch.node.messages import ClosePeer, Deliver, Done, Message, OpenPeer, Reply
from tests.node.socket_kit import pair, until

MEMBERS = [n.to_bytes(32, "big") for n in range(300)]
AT_ONCE = 32


class _Node:
    """Takes a moment for each dial; every second comes to nothing. Counts what it is asked."""

    def __init__(self) -> None:
        self.heard: Counter[str] = Counter()
        self.closed: list[str] = []
        self.under_way = self.most = 0

    async def answer(self, request: Message) -> Reply:
        if isinstance(request, OpenPeer):
            await self._dial(request)
        elif isinstance(request, ClosePeer):
            self.closed.append(request.peer)
        elif isinstance(request, Deliver):
            await anyio.sleep(1.2)
        return Done()

    async def _dial(self, request: OpenPeer) -> None:
        self.heard[request.peer] += 1
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await anyio.sleep(0.02)
        self.under_way -= 1
        if len(self.heard) % 2:
            raise LinkError("nobody is there")


def test_the_node_hears_of_each_however_many_there_are(tmp_path: Path) -> None:
    """Of three hundred at once, each once, 32 at a time: also of those that it cannot reach."""
    node = _Node()

    async def story() -> None:
        async with (
            pair(tmp_path / "s", node.answer, settings=SocketConfig()) as both,
            anyio.create_task_group() as tasks,
        ):
            holds = NodeHolds(both.main, tasks)
            await holds.follow({member: ["/ip4/192.0.2.1/tcp/1"] for member in MEMBERS})
            await until(lambda: len(node.heard) == len(MEMBERS) and not node.under_way)
            await holds.follow({member: ["/ip4/192.0.2.1/tcp/1"] for member in MEMBERS[1:]})
            assert len(node.closed) == 1
            await anyio.sleep(0.1)
        assert set(node.heard.values()) == {1} and node.most == AT_ONCE

    anyio.run(story)


def test_who_could_not_be_told_is_told_later(tmp_path: Path) -> None:
    """The node is asked so much else that nothing more may wait: nobody is forgotten for that."""
    node = _Node()

    async def story() -> None:
        async with (
            pair(tmp_path / "s", node.answer, settings=SocketConfig()) as both,
            anyio.create_task_group() as tasks,
        ):
            for _ in range(128):  # 64 that it answers at a time, and 64 that wait
                tasks.start_soon(both.main.request, Deliver(peer="p", protocol="/x/1", body=b"x", wait_ms=5000))
            await anyio.sleep(0.3)
            await NodeHolds(both.main, tasks).follow({member: ["/ip4/192.0.2.1/tcp/1"] for member in MEMBERS[:40]})
            await anyio.sleep(0.1)
            assert not node.heard
            with anyio.fail_after(10):
                await until(lambda: len(node.heard) == 40)

    anyio.run(story)
