"""A member announces frames of up to four gigabytes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import cycle

from peerwatch.node.connection import Stream
from peerwatch.wire.protocols import PUSH
from tests.hostile.knocking import as_member
from tests.hostile.plan import Plan

_SIZES = cycle([b"\xff\xff\xff\xff", (9 << 20 | 1).to_bytes(4, "big")])


async def attack(plan: Plan) -> None:
    """And begins to send them."""

    async def announce(open_stream: Callable[[str], Awaitable[Stream]]) -> None:
        stream = await open_stream(PUSH)
        await stream.write(next(_SIZES) + bytes(60_000))
        await stream.read(1)

    await as_member(plan, announce)
