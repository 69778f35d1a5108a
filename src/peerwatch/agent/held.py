"""Held: batches that the hub refused one by one, kept out of the way of the others for a while."""

from __future__ import annotations

from collections.abc import Sequence

from peerwatch.spool import Position, SpooledEnvelope

_MAX_HELD = 10_000  # a day of reports; 2 MB


class Held:
    """Position -> when it may be tried again (monotonic seconds). Mutable; owned by one Shipper.

    They stay handed out in the spool, so they are not lost and not in the way. Bounded: when full, the longest held
    is let go early, which costs a request in vain.
    """

    def __init__(self) -> None:
        self._due_s: dict[Position, float] = {}

    def __len__(self) -> int:
        return len(self._due_s)

    def put(self, position: Position, due_s: float) -> list[Position]:
        """Hold one; what has to be let go for it."""
        self._due_s.pop(position, None)
        self._due_s[position] = due_s
        if len(self._due_s) <= _MAX_HELD:
            return []
        oldest = next(iter(self._due_s))
        del self._due_s[oldest]
        return [oldest]

    def due(self, now_s: float) -> list[Position]:
        """Those whose time has come; they are held no more."""
        ready = [position for position, due_s in self._due_s.items() if due_s <= now_s]
        for position in ready:
            del self._due_s[position]
        return ready

    def clear(self) -> list[Position]:
        """All of them; nothing is held any more."""
        every = list(self._due_s)
        self._due_s.clear()
        return every

    def without(self, items: Sequence[SpooledEnvelope]) -> list[SpooledEnvelope]:
        """The items that are not held: the spool hands out again what was out for long."""
        return [item for item in items if item.position not in self._due_s]
