"""Turns: requests go to the main process in turn, so that one member cannot starve the rest (requirement B9)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio

from peerwatch.errors import QuotaError
from peerwatch.node.scheduler import FairQueue, Full, QueueLimits, Refused

_WAIT_S = 1.0  # a full queue is gone in less


class _Ticket:
    """One request that waits. Owned by the task that waits for it."""

    __slots__ = ("gone", "pushed_out", "ready")

    def __init__(self) -> None:
        self.ready = anyio.Event()
        self.pushed_out = False
        self.gone = False


class Turns:
    """A fair queue that tasks can wait in. Owned by the node's event loop.

    A turn is one request; what it has in bytes its member's bucket has paid for before. `refused` is told why each time
    there was no room to wait.
    """

    def __init__(self, limits: QueueLimits, refused: Callable[[Full], None]) -> None:
        self._queue: FairQueue[_Ticket] = FairQueue(limits)
        self._refused = refused
        self.limits = limits

    @property
    def waiting(self) -> int:
        """How many wait now."""
        return self._queue.waiting

    @property
    def running(self) -> int:
        """How many are being answered now."""
        return self._queue.running

    @asynccontextmanager
    async def turn(self, member: str) -> AsyncIterator[None]:
        """Wait for the member's turn, and keep it for the block. Raises QuotaError when there is no room to wait."""
        ticket = _Ticket()
        self._enqueue(member, ticket)
        self._start_next()
        try:
            await ticket.ready.wait()
        except BaseException:
            if ticket.ready.is_set() and not ticket.pushed_out:
                self._finish(member)
            ticket.gone = True
            raise
        if ticket.pushed_out:
            raise self._full(Full.PEER)
        try:
            yield
        finally:
            self._finish(member)

    def _enqueue(self, member: str, ticket: _Ticket) -> None:
        queued = self._queue.enqueue(member, ticket)
        if isinstance(queued, Refused):
            raise self._full(queued.why)
        if queued.pushed_out is not None:
            loser = queued.pushed_out[1]
            loser.pushed_out = True
            loser.ready.set()

    def _start_next(self) -> None:
        while (found := self._queue.next()) is not None:
            member, ticket = found
            if ticket.gone:  # its connection ended while it waited
                self._queue.finish(member)
            else:
                ticket.ready.set()

    def _finish(self, member: str) -> None:
        self._queue.finish(member)
        self._start_next()

    def _full(self, why: Full) -> QuotaError:
        self._refused(why)
        return QuotaError(f"{self.waiting} requests wait, limit {self.limits.max_waiting}", _WAIT_S)
