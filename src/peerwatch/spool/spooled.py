"""SpooledEnvelope: what goes into the spool and comes out unchanged."""

from __future__ import annotations

from dataclasses import dataclass

from peerwatch.spool.position import Position


@dataclass(frozen=True, slots=True)
class SpooledEnvelope:
    """A signed envelope as bytes, and what the spool must know of it without reading it.

    time_ms: the sender's UTC time, only reported, never judged. schema_ids: the schemas a receiver needs to read it.
    """

    position: Position
    time_ms: int
    envelope: bytes
    schema_ids: tuple[bytes, ...]
