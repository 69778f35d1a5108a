"""StoreMetrics: what the store tells about itself."""

from __future__ import annotations

from peerwatch.telemetry import CollectorRegistry, Counter, Gauge, Histogram

_SYNC_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
_WORK_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0)


class StoreMetrics:
    """Made once per store, in its registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str) -> Counter:
            return Counter(f"peerwatch_store_{name}", text, registry=registry)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"peerwatch_store_{name}", text, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(f"peerwatch_store_{name}", text, registry=registry, buckets=buckets)

        self.entries = counter("appended_entries_total", "Entries (batches or groups of rows) made durable.")
        self.samples = counter("appended_samples_total", "Samples made durable, repeated ones included.")
        self.refused = counter("refused_appends_total", "Appends refused or failed; none of their entries counted.")
        self.too_old = counter("too_old_samples_total", "Samples dropped because they are older than retention.")
        self.duplicates = counter("duplicate_samples_total", "Samples that came again with the same value.")
        self.conflicts = counter(
            "conflicting_samples_total", "Samples that came again with another value; the larger bit pattern stays."
        )
        self.append_seconds = histogram(
            "append_duration_seconds", "Time of one group append, fsync included.", _SYNC_BUCKETS
        )
        self.flush_seconds = histogram("flush_duration_seconds", "Time to write the head to blocks.", _WORK_BUCKETS)
        self.compact_seconds = histogram("compaction_duration_seconds", "Time of one compaction.", _WORK_BUCKETS)
        self.failures = Counter(
            "peerwatch_store_maintenance_failures_total",
            "Flushes, compactions and other upkeep that failed; nothing is lost, they are tried again.",
            ["task"],
            registry=registry,
        )
        self.damage = counter("damage_total", "Damaged records, tiles or files met; see the log and `peerwatch fsck`.")
        self.dropped_blocks = counter("retention_removed_blocks_total", "Blocks removed by retention.")
        self.head_bytes = gauge("head_bytes", "Memory held by samples that are not yet in a block.")
        self.series = gauge("series", "Series in the dictionary.")
        self.blocks = gauge("blocks", "Blocks on disk.")
        self.block_bytes = gauge("blocks_bytes", "Size of all blocks on disk.")
        self.wal_bytes = gauge("wal_bytes", "Size of the WAL segments that are not yet in blocks.")
        self.free_bytes = gauge("free_disk_bytes", "Room left on the file system of the store.")
        self.horizon = gauge("horizon_seconds", "Samples before this time (UTC) are dropped and refused.")
