"""libp2p's own services run on the host as they are, and what they choke on costs a stream."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import pytest
from libp2p.kad_dht.kad_dht import DHTMode, KadDHT
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pubsub import Pubsub
from libp2p.tools.anyio_service import background_trio_service

from peerwatch.node.connection import ConnectionOpened, StreamClosed
from tests.node.host.kit import MULTISTREAM, SYN, Attacker, Node, node, run, until, word

pytestmark = pytest.mark.p2p

GOSSIP, KAD = "/meshsub/1.1.0", "/ipfs/kad/1.0.0"


@asynccontextmanager
async def _serving(one: Node) -> AsyncIterator[Pubsub]:
    """Gossipsub and DHT; inside the host's block, so that they end before it."""
    library = one.host._host  # the door opens for these from inside only: a later file of the node's
    gossip = GossipSub([GOSSIP], 6, 4, 12, heartbeat_interval=1, spam_protection_enabled=False)
    pubsub = Pubsub(library, gossip)
    dht = KadDHT(library, DHTMode.SERVER, max_peers_per_subnet=0)
    async with AsyncExitStack() as stack:
        for service in (gossip, pubsub, dht):
            await stack.enter_async_context(background_trio_service(service))
        yield pubsub


def test_gossip_reaches_whom_one_is_not_connected_to() -> None:
    """Over the one in the middle."""

    async def story() -> None:
        a, b, c = node(), node(), node()
        async with a.host, b.host, c.host, _serving(a) as pa, _serving(b) as pb, _serving(c) as pc:
            await pa.subscribe("news")
            await pb.subscribe("news")
            heard = await pc.subscribe("news")
            for one in (b, c):
                await one.host.dial(a.member, a.host.addresses)
            await until(lambda: len(pa.peer_topics.get("news", ())) == 2)
            with anyio.fail_after(10):
                async with anyio.create_task_group() as tasks:

                    async def speak() -> None:
                        while True:  # until the mesh is built, which a heartbeat does
                            await pb.publish("news", b"hello")
                            await anyio.sleep(0.5)

                    tasks.start_soon(speak)
                    assert (await heard.get()).data == b"hello"
                    tasks.cancel_scope.cancel()

    run(story)


@pytest.mark.parametrize("protocol", [GOSSIP, KAD])
@pytest.mark.parametrize("junk", [b"\xff" * 4096, b"\x05junk!", os.urandom(5000)], ids=["ff", "short", "any"])
def test_junk_for_gossip_and_dht_is_survived(protocol: str, junk: bytes) -> None:
    """(libp2p: junk on /meshsub/1.1.0 ends the host.)"""

    async def story() -> None:
        hub, member = node(), node(listen=False)
        async with hub.host, member.host, _serving(hub):
            async with await Attacker.muxed(hub) as peer:
                await hub.ear.wait(ConnectionOpened)
                await peer.data(1, MULTISTREAM + word(protocol.encode()) + junk, SYN)
                await peer.frame(1, 4, 1)
                await hub.ear.wait(StreamClosed)
            await member.host.dial(hub.member, hub.host.addresses)
            assert await member.host.ping(hub.member) > 0

    run(story)
