"""The metrics by which an agent speaks of itself, and for which a hub looks."""

from __future__ import annotations

AGENT_INFO = "peerwatch_agent_info"
"""What it is, and at which address others reach its `/metrics`."""
STOP_TIME = "peerwatch_agent_stop_time_seconds"
"""When it was last stopped in order: the last that it sends."""
