"""FirstLink: several ways to one hub; the first that works is used."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import anyio

from peerwatch.errors import LinkError

_REST_S = 10.0
"""How long a way that failed is passed over: a tick's delivery must not wait for it each time."""


class Way(Protocol):
    """One link."""

    async def push(self, request: bytes) -> bytes:
        """See `HttpsLink.push`."""
        ...

    async def membership(self) -> bytes:
        """See `HttpsLink.membership`."""
        ...


class FirstLink:
    """The ways in their order; the last is always tried. All that is sent here may arrive twice.

    A hub that says how long to wait has been reached: another way to it would only add to its load.
    """

    def __init__(self, ways: Sequence[Way]) -> None:
        self._ways = ways
        self._rests_until_s = [0.0] * len(ways)

    async def push(self, request: bytes) -> bytes:
        """See `HttpsLink.push`."""
        return await self._first(lambda way: way.push(request))

    async def membership(self) -> bytes:
        """See `HttpsLink.membership`."""
        return await self._first(lambda way: way.membership())

    async def _first(self, ask: Callable[[Way], Awaitable[bytes]]) -> bytes:
        failures: list[str] = []
        for index, way in enumerate(self._ways):
            if self._rests_until_s[index] > anyio.current_time() and index + 1 < len(self._ways):
                continue
            try:
                return await ask(way)
            except LinkError as error:
                if error.wait_s:
                    raise
                failures.append(str(error))
                self._rests_until_s[index] = anyio.current_time() + _REST_S
        raise LinkError("; ".join(failures))
