"""LocalLink: to the hub in the same process, for `peerwatch up`. Same bytes, same signatures, no socket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from peerwatch.errors import LinkError


class LocalLink:
    """`push` and `membership` are the hub's own, handed over by the composition root."""

    def __init__(
        self, push: Callable[[bytes], Awaitable[tuple[bytes, float | None]]], membership: Callable[[], bytes]
    ) -> None:
        self._push = push
        self._membership = membership

    async def push(self, request: bytes) -> bytes:
        """The hub's reply. LinkError with a wait when the hub is full, DecodeError when it cannot read the request."""
        reply, wait_s = await self._push(request)
        if wait_s is not None:
            raise LinkError("the hub is full", wait_s)
        return reply

    async def membership(self) -> bytes:
        """The hub's word on who the hubs are."""
        return self._membership()
