"""Paging and out-of-memory kills, from /proc/vmstat."""

from __future__ import annotations

from peerwatch.agent.proc_root import ProcRoot
from peerwatch.agent.source import Family, Layout, Reading, reading
from peerwatch.model import MetricType, Series

# node_exporter's default: ^(oom_kill|pgpg|pswp|pg.*fault).*
_PREFIXES = (b"oom_kill", b"pgpg", b"pswp")


class VmstatSource:
    """`node_vmstat_*`: the fields that tell of memory pressure, untyped as everywhere."""

    def __init__(self, root: ProcRoot) -> None:
        self._root = root
        self._layout = Layout()

    def collect(self, now_ms: int) -> Reading:
        names: list[bytes] = []
        values: list[int] = []
        for line in self._root.read_proc("vmstat").splitlines():
            if line.startswith(_PREFIXES) or (line.startswith(b"pg") and b"fault" in line):
                name, _, value = line.partition(b" ")
                names.append(name)
                values.append(int(value))
        shape = tuple(names)
        return reading(self._layout.series(shape, lambda: map(_series, shape)), values)


def _series(name: bytes) -> Series:
    field = name.decode()
    return Family(f"node_vmstat_{field}", f"/proc/vmstat information field {field}.", MetricType.UNKNOWN).series()
