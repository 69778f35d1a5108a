"""Turnstile: so many handshakes at once, so many waiting; whoever comes then is sent away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from peerwatch.errors import QuotaError


class Turnstile:
    """Lets `most_inside` pass at a time, in the order of their coming. Bounded: `most_waiting` stand before it."""

    def __init__(self, most_inside: int, most_waiting: int) -> None:
        self._limiter = anyio.Semaphore(most_inside)
        self._most_inside = most_inside
        self._most_waiting = most_waiting
        self.waiting = 0

    @property
    def inside(self) -> int:
        """How many have passed and are not through."""
        return self._most_inside - self._limiter.value

    @asynccontextmanager
    async def passing(self, within_s: float) -> AsyncIterator[None]:
        """Inside while the block runs. Raises QuotaError when too many wait, or after waiting for `within_s`."""
        await self._enter(within_s)
        try:
            yield
        finally:
            self._limiter.release()

    async def _enter(self, within_s: float) -> None:
        try:
            self._limiter.acquire_nowait()
            return
        except anyio.WouldBlock:
            pass
        if self.waiting >= self._most_waiting:
            raise QuotaError(f"{self.waiting} handshakes wait, limit {self._most_waiting}", wait_s=within_s)
        self.waiting += 1
        try:
            with anyio.fail_after(within_s):
                await self._limiter.acquire()
        except TimeoutError:
            raise QuotaError(f"waited {within_s:g} s for {self._most_inside} handshakes", wait_s=within_s) from None
        finally:
            self.waiting -= 1
