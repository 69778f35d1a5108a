"""VirtualTime: several tasks that sleep on one clock, which moves only when all of them sleep."""

from __future__ import annotations

import heapq
from itertools import count

import anyio

from peerwatch.testing.clock import ManualClock


class VirtualTime:
    """A clock and its `sleep` for `tasks` tasks. After `until_s`, `over` is set and nobody wakes any more."""

    def __init__(self, clock: ManualClock, tasks: int, until_s: float) -> None:
        self.over = anyio.Event()
        self._clock = clock
        self._tasks = tasks
        self._end_s = clock.monotonic_s() + until_s
        self._sleepers: list[tuple[float, int, anyio.Event]] = []
        self._order = count()

    async def sleep(self, seconds: float) -> None:
        """Wake when the clock has moved on by `seconds`."""
        woken = anyio.Event()
        heapq.heappush(self._sleepers, (self._clock.monotonic_s() + seconds, next(self._order), woken))
        if len(self._sleepers) == self._tasks:
            self._wake_first()
        await woken.wait()

    def _wake_first(self) -> None:
        at_s, _, woken = self._sleepers[0]
        if at_s > self._end_s:
            self.over.set()
            return
        heapq.heappop(self._sleepers)
        self._clock.advance(max(0.0, at_s - self._clock.monotonic_s()))
        woken.set()
