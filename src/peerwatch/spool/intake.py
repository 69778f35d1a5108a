"""Intake: the way in. To disk while that works, to memory while it does not, and back."""

from __future__ import annotations

from collections.abc import Sequence

from peerwatch.errors import DiskFullError, StoreError
from peerwatch.model import Dropped
from peerwatch.spool.config import SpoolConfig
from peerwatch.spool.ledger import Ledger
from peerwatch.spool.losses import Losses
from peerwatch.spool.metrics import DISK_FULL, MEMORY_FULL, SpoolMetrics
from peerwatch.spool.packed import Packed, SchemaLookup
from peerwatch.spool.segment import Segment
from peerwatch.spool.shelf import Shelf
from peerwatch.telemetry import get_logger

_DRAIN_BYTES = 1 << 20  # one write and one sync per step when memory goes back to disk

_log = get_logger("spool")


class Intake:
    """Mutable; owned by one Spool, under its lock. Order is kept: while anything is in memory, new envelopes follow it.

    A full disk costs the oldest segments first; only when there is none left to give do envelopes stay in memory.
    Memory full: its oldest go, counted.
    """

    def __init__(
        self, shelf: Shelf, ledger: Ledger, losses: Losses, config: SpoolConfig, metrics: SpoolMetrics
    ) -> None:
        self._shelf = shelf
        self._ledger = ledger
        self._losses = losses
        self._memory = ledger.memory
        self._config = config
        self._metrics = metrics
        self._retry_at_s = 0.0
        self.trouble = ""

    def degrade(self, error: StoreError, now_s: float) -> None:
        """The disk refused: leave it alone for a while."""
        self._metrics.failed("write")
        if not self.trouble:
            _log.warning("spool keeps envelopes in memory", reason=str(error))
        self.trouble = str(error)
        self._retry_at_s = now_s + self._config.retry_s

    def take(self, packed: Packed, lookup: SchemaLookup, now_s: float) -> None:
        """Keep an envelope. Raises StoreError only when a schema that it needs cannot be read."""
        if not self.trouble or now_s >= self._retry_at_s:
            try:
                self.drain()
                self._ledger.appended(self._store([packed], lookup, new_items=1), 1)
                self._recovered()
                return
            except StoreError as error:
                self.degrade(error, now_s)
        self._remember(packed, lookup)

    def drain(self) -> None:
        """Bring everything from memory to disk. Raises StoreError when the disk refuses; what was moved stays moved."""
        while self._memory.entries:
            batch = self._memory.head(_DRAIN_BYTES)
            self._ledger.moved(self._store(batch, self._lookup, new_items=0), len(batch))

    def _recovered(self) -> None:
        if self.trouble:
            _log.info("spool is back on disk")
            self.trouble = ""

    def _lookup(self, schema_id: bytes) -> bytes | None:
        return self._ledger.schema(schema_id)

    def _store(self, batch: Sequence[Packed], lookup: SchemaLookup, *, new_items: int) -> Segment:
        self._shelf.expire(batch[-1].lived_ms)
        while True:
            try:
                return self._shelf.write(batch, lookup, new_items=new_items)
            except DiskFullError:
                if not self._shelf.drop_oldest(DISK_FULL):
                    raise

    def _remember(self, packed: Packed, lookup: SchemaLookup) -> None:
        while self._memory.entries and self._is_over(packed, lookup):
            items, size_bytes = self._ledger.unsettled(self._memory, 1)
            self._losses.note(self._ledger.lacking(self._memory, 0, 1))
            self._ledger.cut_memory(1)
            self._metrics.dropped(MEMORY_FULL, items, size_bytes)
        if self._is_over(packed, lookup):
            self._metrics.dropped(MEMORY_FULL, 1, len(packed.frame))
            self._losses.note([Dropped(packed.position.epoch, packed.position.seq, packed.position.seq, ())])
            self._ledger.saw(packed.position)
            return
        self._memory.append(packed, lookup)
        self._ledger.appended(self._memory, 1)

    def _is_over(self, packed: Packed, lookup: SchemaLookup) -> bool:
        size_bytes = self._memory.size_bytes + self._memory.cost_bytes(packed, lookup)
        return size_bytes > self._config.memory_bytes or self._ledger.items >= self._config.max_items
