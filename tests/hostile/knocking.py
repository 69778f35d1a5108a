"""What attacks share: doing it again and again, whatever the hub does about it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from peerwatch.node.connection import Stream
from peerwatch.wire.protocols import PUSH
from tests.hostile.plan import Plan
from tests.node.host.kit import node

_PAUSE_S = 0.01


async def again_and_again(step: Callable[[], Awaitable[None]], at_once: int = 1, pause_s: float = _PAUSE_S) -> None:
    """`step` for ever, so many at once; what it raises is the hub's defence."""

    async def one() -> None:
        while True:
            try:
                await step()
            except Exception:
                await anyio.sleep(pause_s)
            await anyio.sleep(pause_s)

    async with anyio.create_task_group() as tasks:
        for _ in range(at_once):
            tasks.start_soon(one)


async def as_member(plan: Plan, step: Callable[[Callable[[str], Awaitable[Stream]]], Awaitable[None]]) -> None:
    """Connect with a member's key and do `step` with streams of that connection, for ever; dial again when cut off."""

    async def session() -> None:
        host = node(listen=False, key=plan.key).host
        async with host:
            await host.dial(plan.member, [plan.address])
            while True:
                await step(lambda protocol: host.open_stream(plan.member, protocol))

    await again_and_again(session, pause_s=0.2)


async def push(open_stream: Callable[[str], Awaitable[Stream]], request: bytes) -> None:
    """One request on a stream of its own, and whatever comes back."""
    stream = await open_stream(PUSH)
    await stream.write(len(request).to_bytes(4, "big") + request)
    with anyio.move_on_after(5):
        await stream.read(1 << 16)
    await stream.reset()
