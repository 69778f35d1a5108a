"""Several members fill the memory that requests may hold, and then send a byte a second."""

from __future__ import annotations

from contextlib import suppress

import anyio

from peerwatch.wire.protocols import PUSH
from tests.hostile.plan import Plan
from tests.node.host.kit import node

_SIZE = 9 << 20
_CHUNK = bytes(32 << 10)


async def attack(plan: Plan) -> None:
    """Four streams each, as many as are served."""
    async with anyio.create_task_group() as tasks:
        for key in plan.keys:
            tasks.start_soon(_hold, plan, key)


async def _hold(plan: Plan, key) -> None:  # type: ignore[no-untyped-def]
    host = node(listen=False, key=key).host
    async with host:
        await host.dial(plan.member, [plan.address])

        async def request() -> None:
            while True:
                with suppress(Exception):
                    stream = await host.open_stream(plan.member, PUSH)
                    await stream.write(_SIZE.to_bytes(4, "big"))
                    for _ in range((_SIZE >> 15) - 1):
                        await stream.write(_CHUNK)
                    while True:
                        await stream.write(b"x")
                        await anyio.sleep(1.0)
                await anyio.sleep(0.2)

        async with anyio.create_task_group() as streams:
            for _ in range(4):
                streams.start_soon(request)
