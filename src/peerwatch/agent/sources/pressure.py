"""Pressure stall information, from /proc/pressure (Linux 4.20 and later)."""

from __future__ import annotations

from peerwatch.agent.proc_root import ProcRoot
from peerwatch.agent.source import Family, Layout, NoDataError, Reading, reading
from peerwatch.model import MetricType


def _counter(name: str, text: str) -> Family:
    return Family(f"node_pressure_{name}_seconds_total", text, MetricType.COUNTER)


# (resource, line) -> family; the "full" line of cpu means nothing machine-wide
_FAMILIES = {
    ("cpu", b"some"): _counter("cpu_waiting", "Total time in seconds that processes have waited for CPU time"),
    ("io", b"some"): _counter("io_waiting", "Total time in seconds that processes have waited due to IO congestion"),
    ("io", b"full"): _counter(
        "io_stalled", "Total time in seconds no process could make progress due to IO congestion"
    ),
    ("memory", b"some"): _counter("memory_waiting", "Total time in seconds that processes have waited for memory"),
    ("memory", b"full"): _counter(
        "memory_stalled", "Total time in seconds no process could make progress due to memory congestion"
    ),
    ("irq", b"full"): _counter(
        "irq_stalled", "Total time in seconds no process could make progress due to IRQ congestion"
    ),
}
_RESOURCES = ("cpu", "io", "memory", "irq")


class PressureSource:
    """`node_pressure_*`. NoDataError where the kernel has no PSI, or it is off (`psi=1`)."""

    def __init__(self, root: ProcRoot) -> None:
        self._root = root
        self._layout = Layout()

    def collect(self, now_ms: int) -> Reading:
        keys: list[tuple[str, bytes]] = []
        values: list[float] = []
        for resource in _RESOURCES:
            for line in self._lines(resource):
                key = (resource, line[:4])
                if key in _FAMILIES:
                    keys.append(key)
                    values.append(int(line.rpartition(b"total=")[2]) / 1e6)
        if not keys:
            raise NoDataError("pressure: this kernel has no pressure stall information (needs CONFIG_PSI, psi=1)")
        shape = tuple(keys)
        return reading(self._layout.series(shape, lambda: (_FAMILIES[key].series() for key in shape)), values)

    def _lines(self, resource: str) -> list[bytes]:
        try:
            return self._root.read_proc(f"pressure/{resource}").splitlines()
        except OSError:  # absent file: an older kernel; ENOTSUP on reading: compiled in but off
            return []
