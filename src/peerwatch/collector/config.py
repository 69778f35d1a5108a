"""CollectorConfig: what one sender may do, and how the hub groups its commits."""

from __future__ import annotations

from dataclasses import dataclass, field

from peerwatch.errors import ConfigError
from peerwatch.wire.limits import WireLimits

_MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class CollectorConfig:
    """Defaults suit a hub of a few thousand agents. Raises ConfigError for numbers that cannot work."""

    limits: WireLimits = field(default_factory=WireLimits)
    future_tolerance_ms: int = 10 * _MINUTE_MS
    """Past it a clock is wrong; the sender keeps the batch and is told the hub's time."""
    max_series_per_sender: int = 50_000
    """A busy host has 3,000; more is a label bomb."""
    max_new_series_per_hour: int = 20_000
    """Churn: containers come and go, request ids must not."""
    max_layouts_per_sender: int = 4_096
    """(schema, job, target) triples in use within an hour: 1,000 targets, each changed four times."""
    max_runs_per_sender: int = 10_000
    """Gaps in a sender's numbers; an honest one has a gap per restart and per time that its spool overflowed."""
    max_bytes_per_s: float = 2_000_000.0
    """Per sender, on average, decompressed; a host sends 0.3 KB/s, back-fill more."""
    burst_bytes: int = 64 << 20
    """Two days of one host's back-fill at once."""
    max_waiting_bytes: int = 256 << 20
    """Between acceptance and commit, decoded, over all senders; more is answered with 429."""
    max_group: int = 512
    """Envelopes per fdatasync."""
    retry_wait_s: float = 2.0
    """What a sender is told to wait that the hub cannot serve now."""
    presence_interval_ms: int = 15_000
    """How often the hub writes `up`."""
    silent_after_ms: int = 45_000
    """A member is down when nothing came for this long: 4 missed reports."""
    default_job: str = "node"
    """Label `job` of what agents sample of their own host."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, int | float) and not value > 0:
                raise ConfigError(f"collector.{name} is {value}, must be above 0")
        if not self.default_job:
            raise ConfigError("collector.default_job is empty, must be a name")
