"""A member opens streams as fast as it can, and leaves them open."""

from __future__ import annotations

from tests.hostile.knocking import again_and_again
from tests.hostile.plan import Plan
from tests.node.host.kit import MULTISTREAM, SYN, Attacker, word


async def attack(plan: Plan) -> None:
    """As far as the muxer lets it; then it comes again."""

    async def session() -> None:
        async with await Attacker.muxed(plan, plan.key) as peer:
            for number in range(5000):
                await peer.data(2 * number + 1, MULTISTREAM + word(b"/ipfs/ping/1.0.0"), SYN)

    await again_and_again(session, pause_s=0.2)
