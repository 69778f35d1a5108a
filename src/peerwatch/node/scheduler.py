"""FairQueue: requests wait per peer and are served in turn, so that none can starve the rest (requirement B9)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from peerwatch.node.config import NodeLimits, SocketConfig

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """Bounds of a queue. A turn serves up to `quantum` of cost; no item may cost more, so each turn serves one."""

    max_waiting: int
    max_waiting_per_peer: int
    max_running: int
    max_running_per_peer: int
    quantum: float = 1.0

    @classmethod
    def requests(cls, limits: NodeLimits, socket: SocketConfig) -> QueueLimits:
        """For what others ask: three quarters of the window to the main process at once, of these a 12th for a peer."""
        running = max(1, socket.window_requests * 3 // 4)  # the rest: answers that nobody waits for any more
        return cls(
            max_waiting=limits.max_streams,
            max_waiting_per_peer=limits.max_streams_in,
            max_running=running,
            max_running_per_peer=max(1, running // 12),
        )


class Full(Enum):
    """Why an item was not taken, or was pushed out. The value is a label."""

    PEER = "peer"
    """Its peer has as many waiting as one may."""
    ALL = "all"
    """All peers together have, and its peer has the most of them."""


@dataclass(frozen=True, slots=True)
class Queued(Generic[T]):
    """It waits. `pushed_out` had to go for it: the newest item of the peer with the most; the caller resets it."""

    pushed_out: tuple[str, T] | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """It was not taken."""

    why: Full


class _Line(Generic[T]):
    """One peer's items, and what it may still spend in this turn."""

    __slots__ = ("deficit", "in_ring", "items", "running")

    def __init__(self) -> None:
        self.items: deque[tuple[float, T]] = deque()
        self.deficit = 0.0
        self.running = 0
        self.in_ring = False


class FairQueue(Generic[T]):
    """Deficit round robin over peers (Shreedhar and Varghese, 1995): each turn of a peer is worth the same.

    Two peers that both have items waiting, and room to run them, are served equally to within three quanta, whatever
    either of them sends. Owned by the node's event loop. When it is full, newcomers of quiet peers push out the newest
    item of the peer that has the most waiting; that peer's own newcomers are refused.
    """

    def __init__(self, limits: QueueLimits) -> None:
        self._limits = limits
        self._lines: dict[str, _Line[T]] = {}
        self._ring: deque[str] = deque()
        self.waiting = 0
        self.running = 0

    def enqueue(self, peer: str, item: T, cost: float = 1.0) -> Queued[T] | Refused:
        """Let an item wait. `cost` is above 0 and at most the quantum (else ValueError)."""
        if not 0.0 < cost <= self._limits.quantum:
            raise ValueError(f"cost {cost}, limit {self._limits.quantum}")
        line = self._lines.get(peer)
        waiting = len(line.items) if line else 0
        if waiting >= self._limits.max_waiting_per_peer:
            return Refused(Full.PEER)
        pushed_out = None
        if self.waiting >= self._limits.max_waiting:
            longest = max(self._lines, key=lambda one: len(self._lines[one].items))
            if len(self._lines[longest].items) <= waiting + 1:
                return Refused(Full.ALL)
            pushed_out = (longest, self._pop_newest(longest))
        if line is None:
            line = self._lines[peer] = _Line()
        line.items.append((cost, item))
        self.waiting += 1
        self._join_ring(peer, line)
        return Queued(pushed_out)

    def next(self) -> tuple[str, T] | None:
        """The item whose turn it is, which then runs until `finish`; None when nothing may run now."""
        if self.running >= self._limits.max_running:
            return None
        while self._ring:
            peer = self._ring[0]
            line = self._lines[peer]
            cost, item = line.items[0]
            if line.deficit >= cost:
                self._start(line, cost)
                return peer, item
            line.deficit += self._limits.quantum  # its turn is over; the next one begins with a new allowance
            self._ring.rotate(-1)
        return None

    def finish(self, peer: str) -> None:
        """One of the peer's running items is done. Raises ValueError when none runs: a bug of the caller's."""
        line = self._lines.get(peer)
        if line is None or not line.running:
            raise ValueError(f"finish of {peer}, which runs nothing")
        line.running -= 1
        self.running -= 1
        self._join_ring(peer, line)
        self._tidy(peer, line)

    def drop(self, peer: str) -> list[T]:
        """The peer is gone: its waiting items come back, for closing. What runs is finished by `finish` as ever."""
        line = self._lines.get(peer)
        if line is None:
            return []
        items = [item for _, item in line.items]
        self.waiting -= len(items)
        line.items.clear()
        if line.in_ring:
            self._ring.remove(peer)
            line.in_ring = False
        self._tidy(peer, line)
        return items

    def _start(self, line: _Line[T], cost: float) -> None:
        line.items.popleft()
        line.deficit -= cost
        line.running += 1
        self.waiting -= 1
        self.running += 1
        if not line.items or line.running >= self._limits.max_running_per_peer:
            self._ring.popleft()
            line.in_ring = False

    def _pop_newest(self, peer: str) -> T:
        self.waiting -= 1
        return self._lines[peer].items.pop()[1]

    def _join_ring(self, peer: str, line: _Line[T]) -> None:
        """At the end, with one turn's allowance: who was away has no more than who stayed."""
        if not line.in_ring and line.items and line.running < self._limits.max_running_per_peer:
            line.in_ring = True
            line.deficit = self._limits.quantum
            self._ring.append(peer)

    def _tidy(self, peer: str, line: _Line[T]) -> None:
        if not line.items and not line.running:
            del self._lines[peer]
