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
from peerwatch.model import EnvelopeEntry, Layout, RowsEntry, Series
from peerwatch.telemetry import CollectorRegistry, Counter, Gauge, Histogram, get_logger
from peerwatch.wire.ack import SignedAck

_log = get_logger("collector")
Entry = EnvelopeEntry | RowsEntry


@dataclass(slots=True, eq=False)
class Ticket:
    """One entry on its way to the disk. Once `settled`, either `error` is set or it is durable (and has its `ack`).

    `waiters` are called then, in the event loop; they must not raise.
    """

    entry: Entry
    size_bytes: int
    accept: Accept | None = None
    ack: SignedAck | None = None
    error: StoreError | None = None
    settled: bool = False
    waiters: list[Callable[[], None]] = field(default_factory=list)


class Committer:
    """One queue, and the one thread that writes to the store. Owned by the collector.

    `on_settled` runs once per group, in the event loop, after the fdatasync (or its failure) and before any waiter
    is woken; it puts the acks into the tickets.

    Bounded by `max_waiting_bytes`: past it `submit` raises QuotaError with a wait, and nothing is queued. Whatever
    `submit` took is committed or failed before `run` ends, also when `run` is cancelled.
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
        self._closed: list[tuple[bytes, int]] = []
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

    def submit(self, entry: Entry, size_bytes: int, accept: Accept | None = None) -> Ticket:
        """Queue an entry. Raises QuotaError when the queue is full or closing."""
        if self._closing:
            raise QuotaError("the hub is stopping", self._retry_wait_s)
        waiting = self._waiting_bytes + size_bytes
        if self._waiting_bytes and waiting > self._max_waiting_bytes:  # an idle hub takes any one batch
            raise QuotaError(
                f"{waiting} bytes would wait for the disk, limit {self._max_waiting_bytes}", self._retry_wait_s
            )
        ticket = Ticket(entry, size_bytes, accept)
        self._queue.append(ticket)
        self._waiting_bytes += size_bytes
        self._wake.set()
        return ticket

    async def commit(self, entry: Entry, size_bytes: int) -> None:
        """Return once the entry is durable. Raises StoreError or QuotaError when it is not stored."""
        ticket, settled = self.submit(entry, size_bytes), anyio.Event()
        ticket.waiters.append(settled.set)
        await settled.wait()
        if ticket.error is not None:
            raise ticket.error

    async def layout(self, series: tuple[Series, ...], origin: bytes = b"") -> Layout:
        """The store's layout for these series. Raises StoreError."""
        return await anyio.to_thread.run_sync(self._store.layout, series, origin, limiter=self._thread)

    def close_epochs(self, sender: bytes, below: int) -> None:
        """Tell the store, with the next group, that a sender has closed its epochs below this one."""
        self._closed.append((sender, below))

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Commit until `close`d or cancelled; what is queued then is still committed."""
        task_status.started()
        try:
            while not self._closing:
                if self._queue:
                    await self._commit_group(self._take_group())
                else:
                    self._wake = anyio.Event()
                    await self._wake.wait()
        finally:
            self._closing = True
            while self._queue:
                await self._commit_group(self._take_group())

    def close(self) -> None:
        """Take nothing more; `run` returns once the queue is empty."""
        self._closing = True
        self._wake.set()

    def _take_group(self) -> list[Ticket]:
        return [self._queue.popleft() for _ in range(min(len(self._queue), self._max_group))]

    async def _commit_group(self, group: list[Ticket]) -> None:
        error: StoreError | None = None
        try:
            with self._seconds.time(), anyio.CancelScope(shield=True):  # what the disk has taken must be told
                await anyio.to_thread.run_sync(self._write, [ticket.entry for ticket in group], limiter=self._thread)
            self._groups.observe(len(group))
        except StoreError as failure:
            error = failure
            self._failures.inc()
            _log.error("commit refused by the store", error=str(failure), entries=len(group))
        except Exception as failure:
            self._failures.inc()
            _log.exception("store failed", entries=len(group))
            if len(group) > 1:  # a bug that one batch brings out must not stop the batches beside it
                for ticket in group:
                    await self._commit_group([ticket])
                return
            error = StoreError(f"the store failed: {failure!r}")
        self._settle(group, error)

    def _write(self, entries: Sequence[Entry]) -> None:
        closed, self._closed = self._closed, []
        for sender, below in closed:
            self._store.close_epochs(sender, below)
        self._store.append(entries)

    def _settle(self, group: list[Ticket], error: StoreError | None) -> None:
        try:
            self._on_settled(group, error)
        finally:
            for ticket in group:
                self._waiting_bytes -= ticket.size_bytes
                ticket.error = error
                ticket.settled = True
        for ticket in group:
            for wake in ticket.waiters:
                wake()
