"""Peers with keys of their own dial as fast as they can."""

from __future__ import annotations

from tests.hostile.knocking import again_and_again
from tests.hostile.plan import Plan
from tests.node.host.kit import Attacker


async def attack(plan: Plan) -> None:
    """Each goes through the whole of Noise and waits for what comes."""

    async def knock() -> None:
        async with await Attacker.connect(plan, source=plan.source) as peer:
            await peer.shake(plan.member)
            await peer.closed()

    await again_and_again(knock, at_once=4)
