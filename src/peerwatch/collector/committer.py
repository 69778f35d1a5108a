"""Committer: groups what is accepted into few fdatasyncs, and tells each waiter when its batch is durable."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import anyio
import anyio.to_thread
from anyio.abc import TaskStatus

from peerwatch.collector.ingest import Accept
from peerwatch.collector.sample_store import SampleStore
from peerwatch.errors import QuotaError, StoreError
from peerwatch.model import EnvelopeEntry, RowsEntry
from peerwatch.telemetry import CollectorRegistry, Counter, Gauge, Histogram, get_logger
from peerwatch.wire.ack import SignedAck

_log = get_logger("collector")
Entry = EnvelopeEntry | RowsEntry


@dataclass(slots=True, eq=False)
class Ticket:
    """One caller's entries on their way to the disk. Before `done`, `error` or the `acks` of `accepts` are set."""

    entries: Sequence[Entry]
    size_bytes: int
    accepts: Sequence[Accept] = ()
    acks: Sequence[SignedAck] = ()
    error: StoreError | None = None
    done: anyio.Event = field(default_factory=anyio.Event)


class Committer:
    """One queue, one worker thread at a time. Owned by the collector.

    `on_settled` runs once per group, in the event loop, after the fdatasync (or its failure) and before any waiter
    is woken; it puts the acks into the tickets.

    Bounded by `max_waiting_bytes`: past it `submit` raises QuotaError with a wait, and nothing is queued.
    """

    def __init__(
        self,
        store: SampleStore,
        on_settled: Callable[[list[Ticket], StoreError | None], None],
        max_group: int,
        max_waiting_bytes: int,
        retry_wait_s: float,
        registry: CollectorRegistry,
    ) -> None:
        self._store = store
        self._on_settled = on_settled
        self._max_group = max_group
        self._max_waiting_bytes = max_waiting_bytes
        self._retry_wait_s = retry_wait_s
        self._queue: deque[Ticket] = deque()
        self._waiting_bytes = 0
        self._wake = anyio.Event()
        self._closing = False
        self._thread = anyio.CapacityLimiter(1)
        self._groups = Histogram(
            "peerwatch_collector_group_entries",
            "Entries made durable by one fdatasync.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
            registry=registry,
        )
        self._seconds = Histogram(
            "peerwatch_collector_commit_seconds", "How long a group commit took.", registry=registry
        )
        self._failures = Counter(
            "peerwatch_collector_commit_failures_total", "Group commits that the store refused.", registry=registry
        )
        waiting = Gauge(
            "peerwatch_collector_waiting_bytes", "Accepted but not yet durable, in bytes.", registry=registry
        )
        waiting.set_function(lambda: self._waiting_bytes)
        limit = Gauge("peerwatch_collector_waiting_bytes_limit", "Limit of the queue.", registry=registry)
        limit.set(max_waiting_bytes)

    def submit(self, entries: Sequence[Entry], size_bytes: int, accepts: Sequence[Accept] = ()) -> Ticket:
        """Queue entries that must become durable together. Raises QuotaError when the queue is full or closing."""
        if self._closing or self._waiting_bytes + size_bytes > self._max_waiting_bytes:
            what = "the hub is stopping" if self._closing else f"{self._waiting_bytes} bytes wait for the disk"
            raise QuotaError(f"{what}, limit {self._max_waiting_bytes}", self._retry_wait_s)
        ticket = Ticket(entries, size_bytes, accepts)
        self._queue.append(ticket)
        self._waiting_bytes += size_bytes
        self._wake.set()
        return ticket

    async def commit(self, entries: Sequence[Entry], size_bytes: int) -> None:
        """Return once the entries are durable. Raises StoreError or QuotaError when they are not stored."""
        ticket = self.submit(entries, size_bytes)
        await ticket.done.wait()
        if ticket.error is not None:
            raise ticket.error

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Commit until `close`; what is queued then is still committed."""
        task_status.started()
        while self._queue or not self._closing:
            if not self._queue:
                self._wake = anyio.Event()
                await self._wake.wait()
                continue
            group = self._take_group()
            with anyio.CancelScope(shield=True):  # what the disk has taken must be told
                await self._commit_group(group)

    def close(self) -> None:
        """Take nothing more; `run` returns once the queue is empty."""
        self._closing = True
        self._wake.set()

    def _take_group(self) -> list[Ticket]:
        group: list[Ticket] = []
        count = 0
        while self._queue and count < self._max_group:
            ticket = self._queue.popleft()
            group.append(ticket)
            count += len(ticket.entries)
        return group

    async def _commit_group(self, group: list[Ticket]) -> None:
        entries = [entry for ticket in group for entry in ticket.entries]
        error: StoreError | None = None
        try:
            with self._seconds.time():
                await anyio.to_thread.run_sync(self._store.append, entries, limiter=self._thread)
            self._groups.observe(len(entries))
        except StoreError as failure:
            error = failure
            self._failures.inc()
            _log.error("commit refused by the store", error=str(failure), entries=len(entries))
        self._on_settled(group, error)
        for ticket in group:
            self._waiting_bytes -= ticket.size_bytes
            ticket.error = error
            ticket.done.set()
