"""Load averages, from /proc/loadavg."""

from __future__ import annotations

from peerwatch.agent.proc_root import ProcRoot
from peerwatch.agent.source import Family, Reading, reading

_SERIES = (
    Family("node_load1", "1m load average.").series(),
    Family("node_load5", "5m load average.").series(),
    Family("node_load15", "15m load average.").series(),
)


class LoadavgSource:
    """`node_load1`, `node_load5`, `node_load15`."""

    def __init__(self, root: ProcRoot) -> None:
        self._root = root

    def collect(self, now_ms: int) -> Reading:
        fields = self._root.read_proc("loadavg").split()
        return reading(_SERIES, map(float, fields[:3]))
