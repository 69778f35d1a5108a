"""P2pLink: to a hub over libp2p, by the node beside this process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from peerwatch.errors import LinkError, QuotaError
from peerwatch.wire.protocols import MEMBERSHIP, PUSH

Carry = Callable[[str, bytes], Awaitable[bytes]]
"""Protocol and request to the hub's answer. Raises LinkError, DecodeError, QuotaError."""


class P2pLink:
    """One hub, as `HttpsLink` is: every failure is a LinkError, but DecodeError where the hub cannot read a request."""

    def __init__(self, carry: Carry) -> None:
        self._carry = carry

    async def push(self, request: bytes) -> bytes:
        """Deliver a push request. LinkError carries the hub's wait when it is full."""
        return await self._call(PUSH, request)

    async def membership(self) -> bytes:
        """The hub's signed word on who the hubs are."""
        return await self._call(MEMBERSHIP, b"")

    async def _call(self, protocol: str, body: bytes) -> bytes:
        try:
            return await self._carry(protocol, body)
        except QuotaError as error:
            raise LinkError(str(error), error.wait_s) from error
