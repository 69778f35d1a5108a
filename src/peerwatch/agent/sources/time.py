"""The machine's clock."""

from __future__ import annotations

from peerwatch.agent.source import Family, Reading, reading

_SERIES = (Family("node_time_seconds", "System time in seconds since epoch (1970).").series(),)


class TimeSource:
    """`node_time_seconds`: what the clock said, so that skew and uptime can be computed."""

    def collect(self, now_ms: int) -> Reading:
        return reading(_SERIES, [now_ms / 1000])
