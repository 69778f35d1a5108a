"""A peer asks for a connection without encryption, by which libp2p lets anybody be anybody."""

from __future__ import annotations

import anyio

from tests.hostile.knocking import again_and_again
from tests.hostile.plan import Plan
from tests.node.host.kit import MULTISTREAM, Attacker, word

_SECURITIES = (b"/plaintext/2.0.0", b"/tls/1.0.0", b"/secio/1.0.0")


async def attack(plan: Plan) -> None:
    """Plaintext, then TLS, then the old secio, as if any were spoken; whoever is refused tries another connection."""

    async def knock() -> None:
        async with await Attacker.connect(plan, source=plan.source) as peer:
            await peer.socket.write(MULTISTREAM + b"".join(map(word, _SECURITIES)))
            with anyio.move_on_after(0.2):
                while await peer.socket.read():
                    pass

    await again_and_again(knock, at_once=4)
