"""CollectorConfig: what one sender may do, and how the hub groups its commits."""

from __future__ import annotations

from dataclasses import dataclass, field

from peerwatch.wire.limits import WireLimits

_MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class CollectorConfig:
    """Defaults suit a hub of a few thousand agents."""

    limits: WireLimits = field(default_factory=WireLimits)
    future_tolerance_ms: int = 10 * _MINUTE_MS  # past it a clock is wrong; the sender keeps the batch and is told
    max_series_per_sender: int = 50_000  # a busy host has 3,000; more is a label bomb
    max_new_series_per_hour: int = 20_000  # churn: containers come and go, request ids must not
    max_bytes_per_s: float = 2_000_000.0  # per sender and on average; a host sends 0.2 KB/s, back-fill more
    burst_bytes: int = 64 << 20  # a day of one host's back-fill at once
    max_waiting_bytes: int = 256 << 20  # envelopes between acceptance and commit, over all senders; more: 429
    max_group: int = 512  # envelopes per fdatasync
    retry_wait_s: float = 2.0  # what a refused sender is told to wait
    presence_interval_ms: int = 15_000  # how often the hub writes `up`
    silent_after_ms: int = 45_000  # a member is down when nothing fresh came for this long: 4 missed reports
    max_layouts_per_sender: int = 4_096  # (schema, target) pairs remembered; the oldest is asked for again
    default_job: str = "node"
