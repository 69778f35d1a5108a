"""A member sends junk on every protocol there is, and breaks the muxer's rules in between."""

from __future__ import annotations

import os

import anyio

from peerwatch.wire.protocols import ENROL, MEMBERSHIP, PARTNERS, PUSH, ROSTER
from tests.hostile.knocking import again_and_again
from tests.hostile.plan import Plan
from tests.node.host.kit import DATA, MULTISTREAM, SYN, Attacker, word

_PROTOCOLS = (
    *(PUSH, MEMBERSHIP, ROSTER, PARTNERS, ENROL),
    *("/ipfs/ping/1.0.0", "/ipfs/id/1.0.0", "/ipfs/id/push/1.0.0", "/ipfs/kad/1.0.0", "/meshsub/1.1.0"),
    *("/libp2p/circuit/relay/0.2.0/hop", "/libp2p/circuit/relay/0.2.0/stop", "/libp2p/dcutr", "/unknown/1"),
)


async def attack(plan: Plan) -> None:
    """Whatever is registered, and what is not."""

    async def session() -> None:
        async with await Attacker.muxed(plan, plan.key) as peer:
            for number, protocol in enumerate(_PROTOCOLS):
                await peer.data(2 * number + 1, MULTISTREAM + word(protocol.encode()), SYN)
                await peer.data(2 * number + 1, os.urandom(3000))
                await anyio.sleep(0.02)
            await peer.frame(DATA, SYN, 2, 0xFFFFFFFF)
            await anyio.sleep(0.1)

    await again_and_again(session, pause_s=0.2)
