"""FlakyLink: a way to a hub that loses, repeats and delays what it carries."""

from __future__ import annotations

from random import Random
from typing import Protocol

import anyio

from peerwatch.errors import LinkError

_KEPT = 16


class _Link(Protocol):
    async def push(self, request: bytes) -> bytes: ...

    async def membership(self) -> bytes: ...


class FlakyLink:
    """Wraps a link; every chance (0.0 to 1.0) is drawn from `random`, so a seed gives the same trouble again.

    lose_request: the hub never sees it. lose_reply: the hub has it and the sender never hears. repeat: the hub gets it
    twice. late: a copy of an earlier request arrives once more before this one (the last 16 are kept for that).
    Requests and replies wait up to `delay_s`. Set `trouble` to False and it is a plain link.
    """

    def __init__(
        self,
        link: _Link,
        random: Random,
        *,
        lose_request: float = 0.0,
        lose_reply: float = 0.0,
        repeat: float = 0.0,
        late: float = 0.0,
        delay_s: float = 0.0,
    ) -> None:
        self.trouble = True
        self.pushes = 0
        self._link = link
        self._random = random
        self._lose_request = lose_request
        self._lose_reply = lose_reply
        self._repeat = repeat
        self._late = late
        self._delay_s = delay_s
        self._earlier: list[bytes] = []

    async def push(self, request: bytes) -> bytes:
        """Deliver, perhaps. Raises LinkError for what got lost."""
        self.pushes += 1
        await self._wait()
        if self._hits(self._lose_request):
            raise LinkError("the request got lost")
        if self._earlier and self._hits(self._late):
            await self._link.push(self._random.choice(self._earlier))
        if self._hits(self._repeat):
            await self._link.push(request)
        self._earlier = [*self._earlier, request][-_KEPT:]
        reply = await self._link.push(request)
        await self._wait()
        if self._hits(self._lose_reply):
            raise LinkError("the reply got lost")
        return reply

    async def membership(self) -> bytes:
        """The hub's word, perhaps."""
        if self._hits(self._lose_request):
            raise LinkError("the request got lost")
        return await self._link.membership()

    def _hits(self, chance: float) -> bool:
        return self.trouble and self._random.random() < chance

    async def _wait(self) -> None:
        if self.trouble and self._delay_s:
            await anyio.sleep(self._random.random() * self._delay_s)
