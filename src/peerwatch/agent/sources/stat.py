"""Interrupts, context switches, forks, boot time, processes, from /proc/stat."""

from __future__ import annotations

from peerwatch.agent.proc_root import ProcRoot
from peerwatch.agent.source import Family, Layout, Reading, reading
from peerwatch.model import MetricType

_FAMILIES = {
    b"intr": Family("node_intr_total", "Total number of interrupts serviced.", MetricType.COUNTER),
    b"ctxt": Family("node_context_switches_total", "Total number of context switches.", MetricType.COUNTER),
    b"btime": Family("node_boot_time_seconds", "Node boot time, in unixtime."),
    b"processes": Family("node_forks_total", "Total number of forks.", MetricType.COUNTER),
    b"procs_running": Family("node_procs_running", "Number of processes in runnable state."),
    b"procs_blocked": Family("node_procs_blocked", "Number of processes blocked waiting for I/O to complete."),
}


class StatSource:
    """The machine-wide counters of /proc/stat that are not CPU time."""

    def __init__(self, root: ProcRoot) -> None:
        self._root = root
        self._layout = Layout()

    def collect(self, now_ms: int) -> Reading:
        names: list[bytes] = []
        values: list[int] = []
        for line in self._root.read_proc("stat").splitlines():
            name, _, rest = line.partition(b" ")
            if name in _FAMILIES:
                names.append(name)
                values.append(int(rest.split(b" ", 1)[0]))
        shape = tuple(names)
        return reading(self._layout.series(shape, lambda: (_FAMILIES[name].series() for name in shape)), values)
