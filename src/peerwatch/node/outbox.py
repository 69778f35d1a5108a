"""Outbox: frames that wait to be written, for one writer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import anyio

Taken = Callable[[], None]


def _nothing() -> None:
    """Nobody asked to be told."""


class Outbox:
    """Mutable; owned by one channel. Requests and replies are bounded by their windows; notes by `max_notes`.

    When there are too many notes the oldest goes and `lost` grows: what is newest says most, and a slow reader must not
    fill the memory of who faces the network. Requests and replies go before notes.
    """

    def __init__(self, max_notes: int) -> None:
        self.lost = 0
        self._frames: deque[tuple[bytes, Taken]] = deque()
        self._notes: deque[bytes] = deque()
        self._max_notes = max_notes
        self._filled = anyio.Event()

    def put(self, frame: bytes, taken: Taken = _nothing) -> None:
        """A request or reply; `taken` is called when the writer has come to it."""
        self._frames.append((frame, taken))
        self._filled.set()

    def put_note(self, frame: bytes) -> None:
        """A note, that may be dropped."""
        if len(self._notes) >= self._max_notes:
            self._notes.popleft()
            self.lost += 1
        self._notes.append(frame)
        self._filled.set()

    async def get(self) -> bytes:
        """The next frame; waits until there is one."""
        while not self._frames and not self._notes:
            self._filled = anyio.Event()
            await self._filled.wait()
        if not self._frames:
            return self._notes.popleft()
        frame, taken = self._frames.popleft()
        taken()
        return frame
