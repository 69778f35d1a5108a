"""A member that was revoked goes on dialling, without the waits that an honest one keeps."""

from __future__ import annotations

from tests.hostile.knocking import again_and_again
from tests.hostile.plan import Plan
from tests.node.host.kit import Attacker


async def attack(plan: Plan) -> None:
    """Its key is real, and it proves that it has it."""

    async def knock() -> None:
        async with await Attacker.connect(plan, key=plan.key, source=plan.source) as peer:
            await peer.shake(plan.member)
            await peer.closed()

    await again_and_again(knock, at_once=4)
