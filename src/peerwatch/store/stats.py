"""StoreStats: the state of a store in numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoreStats:
    """What `peerwatch health`, `doctor` and the dashboard show.

    samples: cells in blocks and head, cells stored in both for a moment counted twice. oldest_ms and newest_ms are
    None in an empty store. refusal: why `append` refuses now, or None when it accepts. damage: damaged records, tiles
    and files met since the store was opened.
    """

    disk_bytes: int
    wal_bytes: int
    head_bytes: int
    free_bytes: int
    series: int
    samples: int
    blocks: int
    oldest_ms: int | None
    newest_ms: int | None
    horizon_ms: int
    damage: int
    refusal: str | None

    @property
    def writable(self) -> bool:
        """Whether `append` accepts."""
        return self.refusal is None
