"""CPU time per core and mode, from /proc/stat."""

from __future__ import annotations

import numpy as np

from peerwatch.agent.proc_root import ProcRoot
from peerwatch.agent.source import Family, Layout, Reading
from peerwatch.model import Float64Array, MetricType, Series

_SECONDS = Family("node_cpu_seconds_total", "Seconds the CPUs spent in each mode.", MetricType.COUNTER)
_GUEST = Family(
    "node_cpu_guest_seconds_total", "Seconds the CPUs spent in guests (VMs) for each mode.", MetricType.COUNTER
)
# Columns of a cpuN line, in the kernel's order; older kernels end earlier and the rest counts as 0.
_MODES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
_GUEST_MODES = ("user", "nice")
_COLUMNS = len(_MODES) + len(_GUEST_MODES)
_IDLE = _MODES.index("idle")
_HOTPLUG_JUMP_S = 3.0  # a core that comes back counts from zero; smaller steps back are the kernel's rounding
_TICKS_PER_S = 100.0  # USER_HZ is 100 on every platform that Linux's ABI knows


class CpuSource:
    """`node_cpu_seconds_total`. Counters never step back by rounding (idle and iowait do in the kernel)."""

    def __init__(self, root: ProcRoot) -> None:
        self._root = root
        self._layout = Layout()
        self._cores: tuple[str, ...] = ()
        self._last: Float64Array = np.zeros((0, _COLUMNS))

    def collect(self, now_ms: int) -> Reading:
        cores, seconds = parse_cpu_lines(self._root.read_proc("stat"))
        if cores == self._cores:
            seconds = without_steps_back(seconds, self._last)
        self._cores, self._last = cores, seconds
        return Reading(self._layout.series(cores, lambda: _series(cores)), seconds.reshape(-1))


def parse_cpu_lines(stat: bytes) -> tuple[tuple[str, ...], Float64Array]:
    """Core numbers and seconds [core, mode] of /proc/stat. Raises ValueError for anything else."""
    cores: list[str] = []
    rows: list[list[int]] = []
    for line in stat.split(b"\n", 4096):
        if not line.startswith(b"cpu"):
            break  # the kernel writes all cpu lines first
        fields = line.split()
        if fields[0] == b"cpu":
            continue
        row = [int(field) for field in fields[1 : _COLUMNS + 1]]
        rows.append(row + [0] * (_COLUMNS - len(row)))
        cores.append(fields[0][3:].decode())
    if not rows:
        raise ValueError("stat: no cpu lines")
    return tuple(cores), np.array(rows, dtype=np.float64) / _TICKS_PER_S


def without_steps_back(seconds: Float64Array, last: Float64Array) -> Float64Array:
    """`seconds`, but never less than `last`, except for a core that was unplugged and began anew."""
    restarted = last[:, _IDLE] - seconds[:, _IDLE] >= _HOTPLUG_JUMP_S
    kept: Float64Array = np.maximum(seconds, np.where(restarted[:, None], 0.0, last))
    return kept


def _series(cores: tuple[str, ...]) -> list[Series]:
    return [
        series
        for core in cores
        for series in (
            *(_SECONDS.series(cpu=core, mode=mode) for mode in _MODES),
            *(_GUEST.series(cpu=core, mode=mode) for mode in _GUEST_MODES),
        )
    ]
