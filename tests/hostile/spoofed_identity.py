"""A peer shows a member's public key and signs with another."""

from __future__ import annotations

from peerwatch.wire.identity import PrivateKey
from tests.hostile.knocking import again_and_again
from tests.hostile.plan import Plan
from tests.node.host.kit import Attacker


async def attack(plan: Plan) -> None:
    """Who only knows a member's id does not become it."""

    async def knock() -> None:
        async with await Attacker.connect(plan, key=plan.key, source=plan.source) as peer:
            await peer.shake(plan.member, sign_with=PrivateKey.generate())
            await peer.closed()

    await again_and_again(knock, at_once=4)
