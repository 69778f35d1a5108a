"""SpoolConfig: every number of the spool, and why it is what it is."""

from __future__ import annotations

from dataclasses import dataclass

from peerwatch.errors import ConfigError

_DAY_MS = 86_400_000
_MAX_SEGMENT_BYTES = 1 << 30  # offsets inside a segment are 32-bit


@dataclass(frozen=True, slots=True)
class SpoolConfig:
    """Safe for an agent as it is. Raises ConfigError for numbers that cannot work together."""

    max_bytes: int = 512 << 20
    """All segments together. At 3 KB per report every 10 s this is 20 days; small enough for a 10 GB system disk."""
    max_age_ms: int = 7 * _DAY_MS
    """A week covers a long weekend plus repair. Counted only while the spool is open (see docs/formats/spool.md)."""
    segment_bytes: int = 8 << 20
    """The unit of dropping (1.6 % of the default limit) and of the scan after a crash (some hundredths of a second)."""
    memory_bytes: int = 16 << 20
    """Held in memory while the disk refuses: 14 hours of default reports, and still within a lean agent's size."""
    max_items: int = 1_000_000
    """An envelope costs 32 bytes of index in memory and one more per receiver, so this bounds both to some 35 MB."""
    max_receivers: int = 16
    """One to three hubs in practice; the bound stops a bug from keeping everything for receivers that never come."""
    fresh_s: float = 60.0
    """Six reports: after a short hiccup all is still fresh, after a long outage only the last minute goes first."""
    fresh_items: int = 1024
    """A busy sink's minute must not become a queue that the newest envelope has to wait behind."""
    redeliver_s: float = 120.0
    """Longer than any delivery's deadline: only what a caller lost track of comes again through this."""
    retry_s: float = 5.0
    """How often a refusing disk is tried again: soon enough to save memory, seldom enough not to hurt a full disk."""
    sync: bool = True
    """fdatasync before append returns. Without it a power cut (not a crash of the process) loses the last seconds."""

    def __post_init__(self) -> None:
        for name in ("max_bytes", "max_age_ms", "segment_bytes", "memory_bytes", "max_items", "max_receivers"):
            _positive(name, getattr(self, name))
        for name in ("fresh_s", "fresh_items", "redeliver_s", "retry_s"):
            if getattr(self, name) < 0:
                raise ConfigError(f"spool.{name} is {getattr(self, name)}, must not be negative")
        ceiling = min(self.max_bytes // 4, _MAX_SEGMENT_BYTES)
        if self.segment_bytes > ceiling:
            raise ConfigError(
                f"spool.segment_bytes is {self.segment_bytes}, must be at most {ceiling}"
                f" (a quarter of spool.max_bytes = {self.max_bytes}, and 1 GiB)"
            )

    @property
    def max_item_bytes(self) -> int:
        """The largest envelope with its schemas: it gets a segment of its own, and three more still fit."""
        return min(self.max_bytes // 4, _MAX_SEGMENT_BYTES)


def _positive(name: str, value: int) -> None:
    if value <= 0:
        raise ConfigError(f"spool.{name} is {value}, must be above 0")
