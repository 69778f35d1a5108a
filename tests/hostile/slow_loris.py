"""Hundreds of connections that send a byte now and then, and never finish their handshake."""

from __future__ import annotations

import anyio

from tests.hostile.knocking import again_and_again
from tests.hostile.plan import Plan
from tests.node.host.kit import MULTISTREAM, Attacker


async def attack(plan: Plan) -> None:
    """Each holds its place as long as it is let."""

    async def trickle() -> None:
        async with await Attacker.connect(plan, source=plan.source) as peer:
            for byte in MULTISTREAM:
                await peer.socket.write(bytes([byte]))
                await anyio.sleep(1.0)

    await again_and_again(trickle, at_once=400, pause_s=0.5)
