"""A member asks for protocols whose names are not UTF-8, too long, or no names at all."""

from __future__ import annotations

import anyio

from tests.hostile.knocking import again_and_again
from tests.hostile.plan import Plan
from tests.node.host.kit import MULTISTREAM, SYN, Attacker, word

_NAMES = (b"\xff\xfe/meshsub/1.1.0", b"x" * 2000, b"\x80" * 20)


async def attack(plan: Plan) -> None:
    """(In libp2p the first of them ends the host.)"""

    async def session() -> None:
        async with await Attacker.muxed(plan, plan.key) as peer:
            for number in range(1000):
                name = _NAMES[number % len(_NAMES)]
                await peer.data(2 * number + 1, MULTISTREAM + word(name), SYN)
                await anyio.sleep(0.02)

    await again_and_again(session, pause_s=0.2)
