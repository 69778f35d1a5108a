"""Ten thousand connections, as fast as they can be opened, from one address; each is left at once for the next."""

from __future__ import annotations

import socket

from tests.hostile.knocking import again_and_again
from tests.hostile.plan import Plan

_MOST = 10_000
_count = 0


async def attack(plan: Plan) -> None:
    """It says how many it made."""

    async def knock() -> None:
        global _count
        with socket.socket() as raw:  # blocking: connecting on loopback takes no time
            raw.settimeout(1.0)
            raw.bind((plan.source, 0))
            raw.connect(("127.0.0.1", plan.port))
            raw.send(b"\x13/multistream")
        _count += 1
        if _count == _MOST:
            print(f"{_count} connections", flush=True)  # noqa: T201

    await again_and_again(knock, pause_s=0.0)
