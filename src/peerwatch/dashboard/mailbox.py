"""Mailbox: what waits for one client of the live stream."""

from __future__ import annotations

from collections import deque

import anyio


class Mailbox:
    """A bounded queue between one tick loop and one client. Mutable; owned by the client's subscription.

    When it is full the oldest message goes: a slow client gets the newest, and misses some in between. Putting never
    waits, so a slow client cannot hold up the others.
    """

    def __init__(self, capacity: int) -> None:
        self._messages: deque[bytes] = deque(maxlen=capacity)
        self._filled = anyio.Event()
        self._closed = False

    def put(self, message: bytes) -> bool:
        """Add a message; False when an older one had to go for it."""
        fits = len(self._messages) < (self._messages.maxlen or 0)
        self._messages.append(message)
        self._filled.set()
        return fits

    def close(self) -> None:
        """Nothing more will come; what is there can still be taken."""
        self._closed = True
        self._filled.set()

    async def take(self) -> bytes | None:
        """The oldest message; waits for one. None: closed and empty."""
        while not self._messages:
            if self._closed:
                return None
            self._filled = anyio.Event()
            await self._filled.wait()
        return self._messages.popleft()
