"""StoreConfig: every number of the store, with the reason for its default."""

from __future__ import annotations

from dataclasses import dataclass

from peerwatch.errors import ConfigError

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
MAX_RETENTION_MS = 36_600 * DAY_MS
"""100 years and a little: beyond that nobody keeps samples, and window arithmetic stays far from overflow."""
MAX_SPAN_MS = 1 << 23
"""A little over two hours: a tile then never has more ticks than its reader makes room for."""


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """Limits and intervals of one store."""

    head_budget_bytes: int = 256 << 20
    """Samples in memory before a flush is due: 10 min of 500 agents x 300 series at 5 s are 144 MB. At twice this
    (flushes fail or cannot keep up) `append` refuses until a flush succeeds."""
    flush_interval_s: float = 600.0
    """How much a restart has to replay; shorter makes more, smaller blocks, which compress worse."""
    segment_bytes: int = 64 << 20
    """WAL segment size: recovery holds one segment in memory at a time."""
    retention_ms: int = 90 * DAY_MS
    """Older samples are dropped and refused. At most 100 years."""
    retention_bytes: int | None = None
    """Oldest windows go first when blocks and WAL exceed this; None leaves it to `max_disk_fraction`."""
    max_disk_fraction: float = 0.8
    """Share of the file system that the store may fill: the rest keeps the machine alive."""
    min_free_bytes: int = 256 << 20
    """Low-disk guard: below this `append` refuses. Room for one flush beside the WAL that it replaces."""
    compact_span_ms: int = 2 * HOUR_MS
    """Window of a block: longer ones slow short reads, shorter ones compress worse."""
    footer_budget_bytes: int = 64 << 20
    """Decoded index pages of blocks kept in memory; the least recently used go first."""
    row_budget_bytes: int = 16 << 20
    """Decoded samples of narrow reads kept in memory: what a few dashboards ask for at every refresh."""

    def __post_init__(self) -> None:
        positive = {
            "head_budget_bytes": self.head_budget_bytes,
            "flush_interval_s": self.flush_interval_s,
            "segment_bytes": self.segment_bytes,
            "retention_ms": self.retention_ms,
            "compact_span_ms": self.compact_span_ms,
            "footer_budget_bytes": self.footer_budget_bytes,
            "row_budget_bytes": self.row_budget_bytes,
        }
        for name, value in positive.items():
            if value <= 0:
                raise ConfigError(f"store.{name} is {value}, must be more than 0")
        if self.retention_ms > MAX_RETENTION_MS:
            raise ConfigError(f"store.retention_ms is {self.retention_ms}, at most {MAX_RETENTION_MS} (100 years)")
        if self.compact_span_ms > MAX_SPAN_MS:
            raise ConfigError(f"store.compact_span_ms is {self.compact_span_ms}, at most {MAX_SPAN_MS}")
        if self.retention_bytes is not None and self.retention_bytes <= 0:
            raise ConfigError(f"store.retention_bytes is {self.retention_bytes}, must be more than 0 or absent")
        if not 0 < self.max_disk_fraction <= 1:
            raise ConfigError(f"store.max_disk_fraction is {self.max_disk_fraction}, must be in (0, 1]")
        if self.min_free_bytes < 0:
            raise ConfigError(f"store.min_free_bytes is {self.min_free_bytes}, must be 0 or more")
