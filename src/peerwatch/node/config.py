"""NodeLimits: how much of everything the node may hold."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NodeLimits:
    """Three layers: connections, streams, time; and what they cost together. Defaults are for an agent (B13)."""

    max_inbound: int = 200
    max_outbound: int = 200
    max_connections: int = 400
    max_pending: int = 32
    max_streams_in: int = 128
    max_streams_out: int = 256
    max_streams: int = 1024
    max_negotiating: int = 128
    idle_connection_s: float = 30.0
    idle_stream_s: float = 60.0
    handshake_timeout_s: float = 10.0
    dial_timeout_s: float = 10.0
    memory_bytes: int = 256 << 20
    descriptors: int = 512
