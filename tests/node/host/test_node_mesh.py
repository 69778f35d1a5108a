"""Three nodes of hubs: from one address to all of them, and from what was known before the restart."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from peerwatch.fleet.roster import AGENT, HUB, INVITE
from peerwatch.model import SystemClock
from peerwatch.node.config import NodeConfig
from peerwatch.node.messages import AskMetrics, AskStatus, MemberRecord, Metrics, OpenPeer, SetRoster, Status
from peerwatch.node.node import Node
from peerwatch.wire.identity import PrivateKey, peer_id
from tests.node.host.kit import run

pytestmark = pytest.mark.p2p

NOWHERE = "/ip4/127.0.0.1/tcp/9"
HUB_CONFIG = replace(NodeConfig.hub(), listen=("/ip4/127.0.0.1/tcp/0",))


class Hub:
    """A hub's node that can be stopped and started again, on the same port or on another."""

    def __init__(self, folder: Path, key: PrivateKey | None = None) -> None:
        folder.mkdir(exist_ok=True)
        self.key = key or PrivateKey.generate()
        self.peer = peer_id(self.key.public)
        self.folder = folder
        self.node: Node | None = None

    @asynccontextmanager
    async def up(self, *listen: str) -> AsyncIterator[Node]:
        """Running, until the block ends."""
        config = replace(HUB_CONFIG, listen=listen or HUB_CONFIG.listen)
        stop, started = anyio.Event(), anyio.Event()
        node = self.node = Node(self.key, config, self.folder, SystemClock())

        async def live() -> None:
            started.set()
            await node.run(stop)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(live)
            await started.wait()
            while not await self._addresses():  # noqa: ASYNC110  # the node says when it listens only in its log
                await anyio.sleep(0.05)
            yield node
            stop.set()

    async def _addresses(self) -> list[str]:
        return (await self.status()).addresses

    async def status(self) -> Status:
        """As the main process sees it."""
        assert self.node is not None
        found = await self.node.answer(AskStatus())
        assert isinstance(found, Status)
        return found

    async def meets(self, hubs: list[Hub], *more: MemberRecord) -> None:
        """Hear who the members are."""
        assert self.node is not None
        members = [MemberRecord(one.peer, [HUB]) for one in hubs]
        await self.node.answer(SetRoster(roster_version=1, members=[*members, *more]))

    async def told_of(self, other: Hub, addresses: list[str]) -> None:
        """Hear where one of them is."""
        assert self.node is not None
        await self.node.answer(OpenPeer(peer=other.peer, addresses=addresses, wait_ms=5_000))

    async def connected(self, *others: Hub) -> None:
        """Until exactly these are connected."""
        wanted = {one.peer for one in others}
        while {one.peer for one in (await self.status()).peers} != wanted:  # noqa: ASYNC110  # only asking tells
            await anyio.sleep(0.05)

    async def knows(self, number: int) -> None:
        """Until so many are in its routing table."""
        while (await self.status()).routing_table_size != number:  # noqa: ASYNC110  # as above
            await anyio.sleep(0.05)


def test_a_new_hub_finds_the_others_from_one_address(tmp_path: Path) -> None:
    """It is told of B only, and is soon connected to C as well, which nobody told it of."""

    async def story() -> None:
        a, b, c = hubs = [Hub(tmp_path / name) for name in "abc"]
        async with a.up(), b.up(), c.up():
            for one in hubs:
                await one.meets(hubs)
            await c.told_of(b, (await b.status()).addresses)
            await a.told_of(b, (await b.status()).addresses)
            await a.connected(b, c)
            await c.connected(a, b)
            await a.knows(2)
            pages = [await _metrics(one) for one in (a, c)]
            assert pages[0]["libp2p_dht_routing_table_size"] == "2.0"
            assert (
                sum(float(page["libp2p_dht_query_duration_seconds_count"]) for page in pages) >= 1
            )  # one dialled first

    run(story, 60.0)


async def _metrics(hub: Hub) -> dict[str, str]:
    assert hub.node is not None
    found = await hub.node.answer(AskMetrics())
    assert isinstance(found, Metrics)
    lines = found.text.decode().splitlines()
    return dict(one.rsplit(" ", 1) for one in lines)


def test_a_hub_that_comes_back_finds_the_fleet_by_one_old_acquaintance(tmp_path: Path) -> None:
    """B, whose address it was given, is dead; C, which it once met, still is where it was; D came meanwhile."""

    async def story() -> None:
        a, b, c, d = hubs = [Hub(tmp_path / name) for name in "abcd"]
        async with c.up():
            await c.meets(hubs)
            async with b.up():
                await b.meets(hubs)
                dead = (await b.status()).addresses
                await c.told_of(b, dead)
                async with a.up():
                    await a.meets(hubs)
                    await a.told_of(b, dead)
                    await a.connected(b, c)
                    await a.knows(2)
            file = json.loads((a.folder / "routing_table.json").read_text())
            assert {one["peer"] for one in file["peers"]} == {b.peer, c.peer}
            assert (a.folder / "routing_table.json").stat().st_mode & 0o777 == 0o600
            async with d.up():
                await d.meets(hubs)
                await d.told_of(c, (await c.status()).addresses)
                async with a.up():
                    await a.meets(hubs)
                    with pytest.raises(Exception, match=b.peer):
                        await a.told_of(b, dead)
                    await a.connected(c, d)

    run(story, 60.0)


def test_without_its_acquaintances_it_would_find_nobody(tmp_path: Path) -> None:
    """The same with the file gone: what the story above rests on."""

    async def story() -> None:
        a, c = hubs = [Hub(tmp_path / name) for name in "ac"]
        async with c.up():
            await c.meets(hubs)
            async with a.up():
                await a.meets(hubs)
                await a.told_of(c, (await c.status()).addresses)
                await a.connected(c)
                await a.knows(1)
            (a.folder / "routing_table.json").unlink()
            del c.node._holder._held[a.key.public]  # type: ignore[union-attr]  # it would find A first
            async with a.up():
                await a.meets(hubs)
                await anyio.sleep(2)
                assert (await a.status()).peers == []

    run(story, 60.0)


@pytest.mark.parametrize("content", ["", "nonsense", "{}", '{"version": 2, "peers": []}', '{"version":1,"peers":[{}]}'])
def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, content: str) -> None:
    """The node starts, and writes a whole one at its end."""

    async def story() -> None:
        a = Hub(tmp_path / "a")
        (a.folder / "routing_table.json").write_text(content)
        (a.folder / "routing_table.json").chmod(0o600)
        async with a.up():
            await a.meets([a])
        assert json.loads((a.folder / "routing_table.json").read_text()) == {"version": 1, "peers": []}

    run(story)


def test_an_agent_and_an_invite_for_a_hub_are_not_looked_for(tmp_path: Path) -> None:
    """Only hubs and relays are held without being named."""

    async def story() -> None:
        a, b = Hub(tmp_path / "a"), Hub(tmp_path / "b")
        agent, invite = (peer_id(PrivateKey.generate().public) for _ in range(2))
        others = [MemberRecord(agent, [AGENT]), MemberRecord(invite, [INVITE, HUB])]
        async with a.up():
            assert a.node is not None
            await a.meets([a], *others)
            assert a.node._mesh is not None and a.node._mesh.wanted() == []
            await a.meets([a, b], *others)
            assert a.node._mesh.wanted() == [b.key.public]

    run(story)
