"""SpoolMetrics: what the spool counts."""

from __future__ import annotations

from peerwatch.spool.stats import SpoolStats
from peerwatch.telemetry import CollectorRegistry, Counter, Gauge

FULL = "full"
AGE = "age"
DISK_FULL = "disk_full"
MEMORY_FULL = "memory_full"
CORRUPT = "corrupt"

_REASONS = (FULL, AGE, DISK_FULL, MEMORY_FULL, CORRUPT)
_OPERATIONS = ("write", "remove", "cursor", "losses")


class SpoolMetrics:
    """Counters and gauges of one spool in one registry. Mutable; owned by its Spool."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.dropped_items = 0
        self.dropped_bytes = 0
        self._appended = Counter("peerwatch_spool_appended", "Envelopes taken.", registry=registry)
        self._dropped = Counter(
            "peerwatch_spool_dropped",
            "Envelopes given up before every receiver had them.",
            ["reason"],
            registry=registry,
        )
        self._dropped_bytes = Counter(
            "peerwatch_spool_dropped_bytes", "Bytes of dropped envelopes.", ["reason"], registry=registry
        )
        self._errors = Counter(
            "peerwatch_spool_errors", "Disk operations that failed.", ["operation"], registry=registry
        )
        self._damaged = Counter(
            "peerwatch_spool_damaged",
            "Damaged stretches and files met: each was gone round or set aside.",
            registry=registry,
        )
        self._torn = Counter(
            "peerwatch_spool_torn",
            "Torn tails cut when opening: a last write that had not finished.",
            registry=registry,
        )
        self._bytes = Gauge("peerwatch_spool_bytes", "Bytes held, on disk and in memory.", registry=registry)
        self._limit = Gauge("peerwatch_spool_limit_bytes", "Most bytes that are held on disk.", registry=registry)
        self._items = Gauge("peerwatch_spool_items", "Envelopes held.", registry=registry)
        self._memory = Gauge("peerwatch_spool_memory_items", "Envelopes held in memory only.", registry=registry)
        self._degraded = Gauge("peerwatch_spool_degraded", "1 while the disk is not used.", registry=registry)
        for reason in _REASONS:  # so that a rate() over them starts at the first drop
            self._dropped.labels(reason)
            self._dropped_bytes.labels(reason)
        for operation in _OPERATIONS:
            self._errors.labels(operation)

    def limit(self, size_bytes: int) -> None:
        """Say what the limit is."""
        self._limit.set(size_bytes)

    def appended(self) -> None:
        """One envelope was taken."""
        self._appended.inc()

    def dropped(self, reason: str, items: int, size_bytes: int) -> None:
        """Envelopes were given up."""
        self.dropped_items += items
        self.dropped_bytes += size_bytes
        self._dropped.labels(reason).inc(items)
        self._dropped_bytes.labels(reason).inc(size_bytes)

    def failed(self, operation: str) -> None:
        """A disk operation failed."""
        self._errors.labels(operation).inc()

    def damaged(self, count: int = 1) -> None:
        """Damage was met."""
        self._damaged.inc(count)

    def torn(self) -> None:
        """The last write before a crash was found unfinished."""
        self._torn.inc()

    def show(self, stats: SpoolStats) -> None:
        """Set the gauges."""
        self._bytes.set(stats.bytes)
        self._items.set(stats.items)
        self._memory.set(stats.in_memory)
        self._degraded.set(1 if stats.degraded else 0)
