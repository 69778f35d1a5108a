"""Topic: what one or more clients look at together, and its latest ticks."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from peerwatch.dashboard.mailbox import Mailbox
from peerwatch.dashboard.sse import EventId
from peerwatch.dashboard.timespan import Timespan


@dataclass(frozen=True, slots=True)
class TopicKey:
    """An instance seen through a time span. An empty instance: only the fleet list."""

    instance: str
    span: Timespan


class Topic:
    """The clients of one key and the ticks for who comes back. Mutable; owned by Live.

    Holds the latest `resume_ticks` ticks; older ones are forgotten and who asks for them starts afresh.
    """

    def __init__(self, key: TopicKey, resume_ticks: int, last_point_ms: int) -> None:
        self.key = key
        self.last_point_ms = last_point_ms
        self.idle_since_s: float | None = None
        self.mailboxes: set[Mailbox] = set()
        self._ticks: deque[tuple[int, bytes]] = deque(maxlen=resume_ticks)
        self._forgotten_seq: int | None = None  # the newest tick that is gone: whoever has it misses nothing

    def publish(self, seq: int, message: bytes) -> int:
        """Keep a tick and hand it to every client; how many older messages slow clients lost by it."""
        if len(self._ticks) == self._ticks.maxlen:
            self._forgotten_seq = self._ticks[0][0]
        self._ticks.append((seq, message))
        return sum(not mailbox.put(message) for mailbox in self.mailboxes)

    def since(self, last: EventId) -> list[bytes] | None:
        """The ticks after `last`, or None when some of them are gone, or `last` was never one of this topic."""
        known = {seq for seq, _ in self._ticks}
        if last.seq not in known and last.seq != self._forgotten_seq:
            return None
        return [message for seq, message in self._ticks if seq > last.seq]
