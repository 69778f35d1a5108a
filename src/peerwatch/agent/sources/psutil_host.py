"""The door to psutil: host metrics on platforms without /proc (macOS), under node_exporter's names there."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import psutil

from peerwatch.agent.source import Family, Layout, Reading, reading
from peerwatch.agent.sources.mount_probe import MountProbe
from peerwatch.agent.sources.self import FAMILIES as PROCESS_FAMILIES
from peerwatch.agent.sources.self import registry_samples, registry_series
from peerwatch.model import MetricType, Series
from peerwatch.telemetry import CollectorRegistry

_CPU = Family("node_cpu_seconds_total", "Seconds the CPUs spent in each mode.", MetricType.COUNTER)
_CPU_MODES = ("user", "nice", "system", "idle")


class PsutilCpu:
    """`node_cpu_seconds_total` per core; the four modes that every Unix has."""

    def __init__(self) -> None:
        self._layout = Layout()

    def collect(self, now_ms: int) -> Reading:
        cores = psutil.cpu_times(percpu=True)
        series = self._layout.series(
            len(cores), lambda: [_CPU.series(cpu=str(n), mode=m) for n in range(len(cores)) for m in _CPU_MODES]
        )
        return reading(series, (float(getattr(core, mode, 0.0)) for core in cores for mode in _CPU_MODES))


def _memory(name: str, kind: MetricType = MetricType.GAUGE) -> Series:
    return Family(f"node_memory_{name}", f"Memory information field {name}.", kind).series()


_MEMORY_SERIES = (
    *(_memory("total_bytes"), _memory("free_bytes"), _memory("active_bytes"), _memory("inactive_bytes")),
    *(_memory("wired_bytes"), _memory("swap_total_bytes"), _memory("swap_used_bytes")),
)


class PsutilMemory:
    """`node_memory_*` as node_exporter names them on Darwin."""

    def collect(self, now_ms: int) -> Reading:
        memory, swap = psutil.virtual_memory(), psutil.swap_memory()
        fields = (getattr(memory, name, 0) for name in ("total", "free", "active", "inactive", "wired"))
        return reading(_MEMORY_SERIES, map(float, (*fields, swap.total, swap.used)))


_LOAD_SERIES = (
    Family("node_load1", "1m load average.").series(),
    Family("node_load5", "5m load average.").series(),
    Family("node_load15", "15m load average.").series(),
)


class PsutilLoad:
    """`node_load1`, `node_load5`, `node_load15`."""

    def collect(self, now_ms: int) -> Reading:
        return reading(_LOAD_SERIES, os.getloadavg())


_BOOT_SERIES = (Family("node_boot_time_seconds", "Node boot time, in unixtime.").series(),)


class PsutilBoot:
    """`node_boot_time_seconds`."""

    def collect(self, now_ms: int) -> Reading:
        return reading(_BOOT_SERIES, [float(psutil.boot_time())])


def _disk(name: str, text: str) -> Family:
    return Family(f"node_disk_{name}_total", text, MetricType.COUNTER)


_DISK = (
    (_disk("reads_completed", "The total number of reads completed successfully."), "read_count", 1.0),
    (_disk("read_bytes", "The total number of bytes read successfully."), "read_bytes", 1.0),
    (_disk("read_time_seconds", "The total number of seconds spent by all reads."), "read_time", 1e-3),
    (_disk("writes_completed", "The total number of writes completed successfully."), "write_count", 1.0),
    (_disk("written_bytes", "The total number of bytes written successfully."), "write_bytes", 1.0),
    (_disk("write_time_seconds", "This is the total number of seconds spent by all writes."), "write_time", 1e-3),
)


class PsutilDisks:
    """`node_disk_*` per device."""

    def __init__(self) -> None:
        self._layout = Layout()

    def collect(self, now_ms: int) -> Reading:
        disks = psutil.disk_io_counters(perdisk=True) or {}
        devices = tuple(sorted(disks))
        series = self._layout.series(devices, lambda: [f.series(device=d) for d in devices for f, _, _ in _DISK])
        return reading(series, (float(getattr(disks[d], name)) * factor for d in devices for _, name, factor in _DISK))


def _filesystem(name: str, text: str) -> Family:
    return Family(f"node_filesystem_{name}", text)


_FILESYSTEM = (
    _filesystem("size_bytes", "Filesystem size in bytes."),
    _filesystem("free_bytes", "Filesystem free space in bytes."),
    _filesystem("avail_bytes", "Filesystem space available to non-root users in bytes."),
    _filesystem("files", "Filesystem total file nodes."),
    _filesystem("files_free", "Filesystem total free file nodes."),
    _filesystem("readonly", "Filesystem read-only status."),
)


class PsutilFilesystems:
    """`node_filesystem_*` of physical file systems; one that fails or hangs is left out."""

    def __init__(self, probe: MountProbe | None = None) -> None:
        self._probe = probe or MountProbe()
        self._layout = Layout()

    def collect(self, now_ms: int) -> Reading:
        mounts: list[tuple[str, str, str]] = []
        values: list[float] = []
        for part in psutil.disk_partitions(all=False):
            try:
                space = self._probe.space(part.mountpoint, part.fstype)
            except OSError:
                continue
            mounts.append((part.device, part.mountpoint, part.fstype))
            values += [space.size_bytes, space.free_bytes, space.avail_bytes, space.files, space.files_free]
            values.append(float("ro" in part.opts.split(",")))
        shape = tuple(mounts)
        return reading(
            self._layout.series(
                shape,
                lambda: [f.series(device=d, mountpoint=m, fstype=t) for d, m, t in shape for f in _FILESYSTEM],
            ),
            values,
        )


def _network(name: str) -> Family:
    return Family(f"node_network_{name}_total", f"Network device statistic {name}.", MetricType.COUNTER)


_NETWORK = (
    (_network("receive_bytes"), "bytes_recv"),
    (_network("receive_packets"), "packets_recv"),
    (_network("receive_errs"), "errin"),
    (_network("receive_drop"), "dropin"),
    (_network("transmit_bytes"), "bytes_sent"),
    (_network("transmit_packets"), "packets_sent"),
    (_network("transmit_errs"), "errout"),
    (_network("transmit_drop"), "dropout"),
)


class PsutilNetwork:
    """`node_network_*_total` per interface."""

    def __init__(self) -> None:
        self._layout = Layout()

    def collect(self, now_ms: int) -> Reading:
        nics = psutil.net_io_counters(pernic=True)
        names = tuple(sorted(nics))
        series = self._layout.series(names, lambda: [f.series(device=n) for n in names for f, _ in _NETWORK])
        return reading(series, (float(getattr(nics[n], attribute)) for n in names for _, attribute in _NETWORK))


class PsutilProcess:
    """The agent itself, as `sources.self` on Linux; what the platform does not count is left out."""

    def __init__(self, registry: CollectorRegistry, tasks: Callable[[], int]) -> None:
        self._process = psutil.Process()
        self._registry = registry
        self._tasks = tasks
        self._layout = Layout()

    def collect(self, now_ms: int) -> Reading:
        with self._process.oneshot():
            times, memory = self._process.cpu_times(), self._process.memory_info()
            numbers = {
                "process_cpu_seconds_total": float(times.user + times.system),
                "process_resident_memory_bytes": float(memory.rss),
                "process_virtual_memory_bytes": float(memory.vms),
                "process_start_time_seconds": float(self._process.create_time()),
                "process_open_fds": float(self._process.num_fds()),
                "peerwatch_agent_threads": float(self._process.num_threads()),
                "peerwatch_agent_tasks": float(self._tasks()),
            }
        families = [family for family in PROCESS_FAMILIES if family.name in numbers]
        samples, values = registry_samples(self._registry)
        series = self._layout.series(samples, lambda: (*(f.series() for f in families), *registry_series(samples)))
        return Reading(series, np.array([*(numbers[f.name] for f in families), *values], dtype=np.float64))
