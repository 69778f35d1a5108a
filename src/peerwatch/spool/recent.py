"""Recent: where the fresh lane begins."""

from __future__ import annotations

from collections import deque

from peerwatch.spool.position import ORIGIN, Position


class Recent:
    """The last envelopes of this run, by age and number; older ones are back-fill. Mutable; owned by one Spool.

    Holds at most `max_items` positions: beyond that the oldest leave the lane early.
    """

    def __init__(self, window_s: float, max_items: int) -> None:
        self._window_s = window_s
        self._seen: deque[tuple[float, Position]] = deque(maxlen=max_items)
        self._after = ORIGIN

    def start(self, last: Position | None) -> None:
        """Everything up to `last` was there before this run."""
        self._after = ORIGIN if last is None else last.next()

    def note(self, now_s: float, position: Position) -> None:
        """An envelope was appended."""
        self._seen.append((now_s, position))
        self._after = position.next()

    def boundary(self, now_s: float) -> Position:
        """The lowest fresh position: everything below is back-fill."""
        while self._seen and now_s - self._seen[0][0] > self._window_s:
            self._seen.popleft()
        return self._seen[0][1] if self._seen else self._after
