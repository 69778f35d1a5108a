"""Health: which connections must prove that the other side lives. Decisions only."""

from __future__ import annotations

from collections.abc import Iterable

from peerwatch.node.config import NodeLimits
from peerwatch.node.seats import Seat

CHECK_S = 5.0
"""How long a health check may take: ten times the round trip of the worst link that is of use."""

WATCH_EVERY_S = 2.0
WATCH_ANSWER_S = 15.0
"""While a watched peer owes an answer it is pinged, and has this long to answer that. A hub that is late because a
whole fleet came back at once must not lose its connections for it: to make them anew is what costs it most, and with
3 s a thousand agents kept theirs from ever being of use. Whoever cannot wait so long asks another hub meanwhile."""


def must_check(seat: Seat, streams: Iterable[float], limits: NodeLimits, now_s: float) -> bool:
    """Whether a connection is due: unused and without a stream, or with a stream on which nothing moves (B10, B12)."""
    uses = list(streams)
    if not uses:
        return now_s - seat.used_s >= limits.idle_connection_s
    return any(now_s - used_s >= limits.idle_stream_s for used_s in uses)


def round_s(limits: NodeLimits) -> float:
    """How often to look: a tenth of the shorter idle time, so that nothing is idle for much longer than it may."""
    return min(limits.idle_connection_s, limits.idle_stream_s) / 10
