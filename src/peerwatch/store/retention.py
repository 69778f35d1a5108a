"""Retention: how old samples may get. Plain decisions; the store carries them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from peerwatch.store.config import StoreConfig

FOREVER_MS = -(1 << 62)
"""The horizon of a store that never dropped anything."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One block, as retention sees it."""

    window_start: int
    window_end: int
    size_bytes: int


def horizon_by_age(now_ms: int, newest_ms: int | None, config: StoreConfig) -> int:
    """Start of the oldest window that is kept.

    The clock alone never deletes anything: age is counted from the newest sample when that is older than the clock,
    so a clock that jumps ahead does not empty the store.
    """
    if newest_ms is None:
        return FOREVER_MS
    oldest_ms = min(now_ms, newest_ms) - config.retention_ms
    return oldest_ms // config.compact_span_ms * config.compact_span_ms


def horizon_by_size(blocks: Sequence[Stored], other_bytes: int, limit_bytes: int) -> int:
    """Windows go, oldest first, until the rest fits; the newest one stays whatever its size."""
    total = other_bytes + sum(block.size_bytes for block in blocks)
    horizon = FOREVER_MS
    ends = sorted({block.window_end for block in blocks})
    for end in ends[:-1]:
        if total <= limit_bytes:
            break
        total -= sum(block.size_bytes for block in blocks if block.window_end == end)
        horizon = end
    return horizon


def limit_bytes(config: StoreConfig, disk_total_bytes: int) -> int:
    """How large the store may be."""
    share = int(disk_total_bytes * config.max_disk_fraction)
    return share if config.retention_bytes is None else min(share, config.retention_bytes)
