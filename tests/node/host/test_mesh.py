"""Hubs among themselves: who finds whom, what is heard, and what an agent or a bad hub gets."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import pytest

from peerwatch.errors import LinkError, QuotaError
from peerwatch.node.connection import ConnectionOpened
from peerwatch.node.mesh import MAX_GOSSIP_BYTES, Mesh
from tests.node.host.kit import MULTISTREAM, SYN, Attacker, Node, node, run, until, word

pytestmark = pytest.mark.p2p

GOSSIP, KAD = "/meshsub/1.1.0", "/ipfs/kad/1.0.0"


class Hub:
    """A node in the mesh; `hubs` are the peer ids that it takes for hubs."""

    def __init__(self, hubs: set[str], *, relays: set[str] | None = None) -> None:
        self.node = node()
        self.heard: list[tuple[bytes, bytes]] = []
        self.relays = relays or set()
        self.mesh: Mesh = self.node.host.mesh(
            lambda peer: peer in hubs | self.relays, hubs.__contains__, self._hear, lambda _: None
        )
        hubs.add(self.node.host.peer_id)

    async def _hear(self, origin: bytes, data: bytes) -> None:
        self.heard.append((origin, data))

    @property
    def member(self) -> bytes:
        """Its member id."""
        return self.node.member

    async def meet(self, other: Hub) -> None:
        """Dial, and know by what address."""
        self.mesh.learn(other.member, other.node.host.addresses)
        await self.node.host.dial(other.member, other.node.host.addresses)


@asynccontextmanager
async def _running(*hubs: Hub) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for one in hubs:
            await stack.enter_async_context(one.node.host)
        tasks = await stack.enter_async_context(anyio.create_task_group())
        for one in hubs:
            tasks.start_soon(one.mesh.run)
        yield
        tasks.cancel_scope.cancel()


async def _say(speaker: Hub, data: bytes, hearers: list[Hub]) -> None:
    """Publish until everybody has heard it: the first times the mesh may not be built yet."""
    while any((speaker.member, data) not in one.heard for one in hearers):
        await speaker.mesh.publish(data)
        await anyio.sleep(0.3)


def test_who_knows_one_finds_the_others_and_is_heard_by_all() -> None:
    """A and C know B only; after a look-up A reaches C by the address that C has signed, and gossip reaches all."""

    async def story() -> None:
        known: set[str] = set()
        a, b, c = Hub(known), Hub(known), Hub(known)
        async with _running(a, b, c):
            await a.meet(b)
            await c.meet(b)
            await until(lambda: b.mesh.table_size == 2)
            assert a.mesh.known(c.member) == ()
            await until(lambda: b.mesh.known(c.member) != ())
            assert await a.mesh.find(c.member)
            assert a.mesh.known(c.member) == c.node.host.addresses
            await a.node.host.dial(c.member, a.mesh.known(c.member))
            await until(lambda: a.mesh.table_size == 2 and b.mesh.gossip_peers == 2)
            await _say(c, b"hello", [a, b])

    run(story)


def test_an_agent_neither_serves_nor_is_served() -> None:
    """Its streams for DHT and gossip are reset, it is in no routing table, and the mesh opens none to it."""

    async def story() -> None:
        known: set[str] = set()
        a, b = Hub(known), Hub(known)
        agent = node()
        async with _running(a, b), agent.host:
            await a.meet(b)
            await agent.host.dial(a.member, a.node.host.addresses)
            opened: list[str] = []

            async def count(stream: object) -> None:
                opened.append(repr(stream))

            for protocol in (GOSSIP, KAD):
                agent.host.handle(protocol, count)  # it would serve, if it were asked
                with pytest.raises(LinkError):  # at once, or with the first byte
                    await _first_answer(agent, a, protocol)
            await until(lambda: a.mesh.table_size == 1 and a.mesh.gossip_peers == 1)
            await _say(b, b"news", [a])
            assert a.mesh.table_size == 1 and not opened
            assert await agent.host.ping(a.member) > 0

    run(story)


async def _first_answer(agent: Node, hub: Hub, protocol: str) -> bytes:
    stream = await agent.host.open_stream(hub.member, protocol)
    await stream.write(b"\x00")
    return await stream.read(1)


def test_a_relay_passes_gossip_on_and_has_no_word_itself() -> None:
    """What it publishes reaches nobody; what hubs say goes through it."""

    async def story() -> None:
        known: set[str] = set()
        a, b = Hub(known), Hub(known)
        relay = Hub(set())
        for one in (a, b):
            one.relays = {relay.node.host.peer_id}
        relay.relays = known
        relay.mesh._speaks = known.__contains__
        async with _running(a, b, relay):
            await a.meet(relay)
            await b.meet(relay)
            await until(lambda: relay.mesh.gossip_peers == 2)
            for _ in range(3):
                await relay.mesh.publish(b"me too")
            await anyio.sleep(1)
            assert a.heard == b.heard == []

    run(story)


def test_what_is_published_is_bounded() -> None:
    """In size, by the publisher; in number, by everybody else."""

    async def story() -> None:
        known: set[str] = set()
        a, b = Hub(known), Hub(known)
        async with _running(a, b):
            await a.meet(b)
            await until(lambda: a.mesh.gossip_peers == 1)
            with pytest.raises(QuotaError, match="12289 bytes, limit 12288"):
                await a.mesh.publish(bytes(MAX_GOSSIP_BYTES + 1))
            await _say(a, b"first", [b])
            for number in range(200):
                await a.mesh.publish(str(number).encode())
                await anyio.sleep(0.01)  # so that nothing is dropped by a queue that is full
            await anyio.sleep(0.5)
            assert len(b.heard) <= 100
            await anyio.sleep(1)
            await _say(a, b"later", [b])

    run(story)


@pytest.mark.parametrize("protocol", [GOSSIP, KAD])
@pytest.mark.parametrize(
    "junk", [b"\xff" * 4096, b"\x05junk!", os.urandom(5000), b"\x80" * 9], ids=["ff", "short", "any", "length"]
)
def test_junk_from_a_hub_costs_its_stream(protocol: str, junk: bytes) -> None:
    """Mesh and node go on."""

    async def story() -> None:
        known: set[str] = set()
        a, b = Hub(known), Hub(known)
        async with _running(a, b):
            await a.meet(b)
            async with await Attacker.muxed(a.node) as peer:
                known.add(_peer(peer))
                await a.node.ear.wait(ConnectionOpened, 2)
                for number in (1, 3, 5):
                    await peer.data(number, MULTISTREAM + word(protocol.encode()) + junk, SYN)
                    await peer.frame(1, 4, number)
                await anyio.sleep(0.3)
                await _say(b, b"still here", [a])

    run(story)


def _peer(attacker: Attacker) -> str:
    return node(key=attacker.key).host.peer_id


def test_addresses_that_a_third_peer_names_are_not_believed() -> None:
    """Nor is anybody remembered who does not belong: only what a member has signed counts."""

    async def story() -> None:
        known: set[str] = set()
        a, b, c = Hub(known), Hub(known), Hub(known)
        stranger = node()
        async with _running(a, b), stranger.host:
            store = b.mesh._host.store
            b.mesh.learn(c.member, ["/ip4/192.0.2.9/tcp/1"])  # b's own belief, unsigned by c
            b.mesh.learn(stranger.member, stranger.host.addresses)
            await a.meet(b)
            await until(lambda: a.mesh.table_size == 1 and b.mesh.table_size >= 1)
            assert await a.mesh.find(c.member) == ()
            assert await a.mesh.find(stranger.member) == ()
            assert len(a.mesh._host.store.peer_data_map) <= 2 and len(store.peer_data_map) <= 4

    run(story)
