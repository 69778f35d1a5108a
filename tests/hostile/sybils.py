"""A crowd of addresses of one neighbourhood; none of them calls often."""

from __future__ import annotations

import random

from tests.hostile.knocking import again_and_again
from tests.hostile.plan import Plan
from tests.node.host.kit import Attacker


async def attack(plan: Plan) -> None:
    """Another key and another address each time."""
    neighbourhood = plan.source.rpartition(".")[0]

    async def knock() -> None:
        source = f"{neighbourhood}.{random.randrange(1, 255)}"
        async with await Attacker.connect(plan, source=source) as peer:
            await peer.shake(plan.member)
            await peer.closed()

    await again_and_again(knock, at_once=4)
