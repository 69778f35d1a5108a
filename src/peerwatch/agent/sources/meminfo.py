"""Memory and swap, from /proc/meminfo."""

from __future__ import annotations

from peerwatch.agent.proc_root import ProcRoot
from peerwatch.agent.source import Family, Layout, Reading, reading
from peerwatch.model import MetricType, Series


class MeminfoSource:
    """`node_memory_*`: every field of the kernel, kilobytes as bytes."""

    def __init__(self, root: ProcRoot) -> None:
        self._root = root
        self._layout = Layout()

    def collect(self, now_ms: int) -> Reading:
        names, values = parse_meminfo(self._root.read_proc("meminfo"))
        return reading(self._layout.series(names, lambda: map(_series, names)), values)


def parse_meminfo(text: bytes) -> tuple[tuple[bytes, ...], list[int]]:
    """Field names and values in bytes or counts; a name ends in `_bytes` when the line has a unit."""
    names: list[bytes] = []
    values: list[int] = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) < 2:
            continue
        name = fields[0][:-1]
        if len(fields) == 3:
            names.append(name + b"_bytes")
            values.append(int(fields[1]) * 1024)
        else:
            names.append(name)
            values.append(int(fields[1]))
    return tuple(names), values


def _series(name: bytes) -> Series:
    # Active(anon) is Active_anon in the field's world
    field = name.decode().replace("(", "_").replace(")", "")
    kind = MetricType.COUNTER if field.endswith("_total") else MetricType.GAUGE
    return Family(f"node_memory_{field}", f"Memory information field {field}.", kind).series()
