"""What the spool says about itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SpoolStats:
    """A look at the whole spool. Counts of drops are since it was opened."""

    bytes: int
    """On disk and in memory, schemas and file headers included."""
    items: int
    """Envelopes held; some may be delivered already and only wait for their segment to be freed."""
    oldest_ms: int | None
    """The sender's time of the oldest envelope still to come to some receiver; None when all is delivered."""
    dropped_items: int
    """Envelopes given up before every receiver had them."""
    dropped_bytes: int
    in_memory: int
    """Envelopes that would not survive the end of this process."""
    degraded: str
    """Why the disk is not used, or the empty string while it is."""


@dataclass(frozen=True, slots=True)
class Pending:
    """What one receiver has not acknowledged, handed out or not."""

    count: int
    bytes: int
    """Size of their records: the envelopes and some 70 bytes each."""
    oldest_ms: int | None
    """The sender's time of the oldest of them."""
