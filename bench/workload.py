"""Workload: what a fleet of node exporters would send. 300 series per agent, the same at every run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from bench import kinds
from bench.kinds import Host, Kind
from peerwatch.model import Float64Array, Int64Array, Labels, MetricType, SampleMatrix, Series

SERIES_PER_AGENT = 300
_CPU_MODES: dict[str, Kind] = {
    "idle": kinds.cpu_seconds,
    "iowait": kinds.cpu_seconds,
    "irq": kinds.constant,
    "nice": kinds.rare,
    "softirq": kinds.cpu_seconds,
    "steal": kinds.constant,
    "system": kinds.cpu_seconds,
    "user": kinds.cpu_seconds,
}
_MEMORY_MOVING = (
    "MemFree",
    "MemAvailable",
    "Buffers",
    "Cached",
    "Active",
    "Inactive",
    "Active_anon",
    "Inactive_anon",
    "Active_file",
    "Inactive_file",
    "Dirty",
    "AnonPages",
    "Mapped",
    "Shmem",
    "KReclaimable",
    "Slab",
    "SReclaimable",
    "SUnreclaim",
    "KernelStack",
    "PageTables",
    "Committed_AS",
    "AnonHugePages",
)
_MEMORY_FIXED = (
    "MemTotal",
    "SwapCached",
    "Unevictable",
    "Mlocked",
    "SwapTotal",
    "SwapFree",
    "Writeback",
    "Bounce",
    "CommitLimit",
    "VmallocTotal",
    "VmallocUsed",
    "Percpu",
    "HardwareCorrupted",
    "HugePages_Total",
    "HugePages_Free",
    "Hugepagesize",
    "DirectMap4k",
    "DirectMap2M",
)
_DISK: dict[str, Kind] = {
    "reads_completed_total": kinds.events,
    "reads_merged_total": kinds.rare,
    "read_bytes_total": kinds.sectors,
    "read_time_seconds_total": kinds.io_seconds,
    "writes_completed_total": kinds.events,
    "writes_merged_total": kinds.events,
    "written_bytes_total": kinds.sectors,
    "write_time_seconds_total": kinds.io_seconds,
    "io_now": kinds.small,
    "io_time_seconds_total": kinds.io_seconds,
    "io_time_weighted_seconds_total": kinds.io_seconds,
    "discards_completed_total": kinds.constant,
    "discarded_sectors_total": kinds.constant,
    "flush_requests_total": kinds.rare,
}
_NETWORK_MOVING = (
    "receive_bytes_total",
    "transmit_bytes_total",
    "receive_packets_total",
    "transmit_packets_total",
)
_NETWORK_FIXED = (
    "receive_errs_total",
    "transmit_errs_total",
    "receive_drop_total",
    "transmit_drop_total",
    "receive_fifo_total",
    "transmit_colls_total",
    "mtu_bytes",
    "up",
    "speed_bytes",
)
_MOUNTS = {"/": "ext4", "/boot": "ext4", "/var": "xfs", "/run": "tmpfs", "/data": "xfs"}
_SINGLE: dict[str, Kind] = {
    "node_context_switches_total": kinds.events,
    "node_intr_total": kinds.events,
    "node_forks_total": kinds.events,
    "node_vmstat_pgfault": kinds.events,
    "node_vmstat_numa_hit": kinds.events,
    "node_vmstat_pgpgin": kinds.sectors,
    "node_vmstat_pgpgout": kinds.sectors,
    "node_vmstat_pgmajfault": kinds.rare,
    "node_vmstat_pswpin": kinds.constant,
    "node_vmstat_pswpout": kinds.constant,
    "node_vmstat_oom_kill": kinds.constant,
    "node_procs_running": kinds.small,
    "node_procs_blocked": kinds.small,
    "node_entropy_available_bits": kinds.small,
    "node_filefd_allocated": kinds.level,
    "node_filefd_maximum": kinds.constant,
    "node_boot_time_seconds": kinds.constant,
    "node_time_seconds": kinds.now,
    "node_scrape_collector_duration_seconds": kinds.latency,
    "node_load1": kinds.load_average,
    "node_load5": kinds.load_average,
    "node_load15": kinds.load_average,
}
_NUMBERED: tuple[tuple[str, str, int, Kind], ...] = (
    ("node_netstat_counter", "name", 9, kinds.events),
    ("node_netstat_quiet", "name", 7, kinds.rare),
    ("node_netstat_zero", "name", 14, kinds.constant),
    ("node_sockstat_in_use", "name", 9, kinds.small),
    ("node_sockstat_memory", "name", 5, kinds.level),
    ("host_cpu_percent", "cpu", 4, kinds.percent),
    ("app_ratio", "pool", 10, kinds.ratio),
    ("app_latency_seconds", "quantile", 8, kinds.latency),
    ("node_hwmon_temp_celsius", "sensor", 6, kinds.temperature),
)
_PROCESS: tuple[tuple[str, Kind], ...] = (
    ("process_cpu_seconds_total", kinds.cpu_seconds),
    ("process_resident_memory_bytes", kinds.memory),
    ("process_open_fds", kinds.level),
)


@dataclass(frozen=True, slots=True)
class Metric:
    """One series of an agent, without identity labels, and how its values run."""

    labels: Labels
    kind: Kind


def _metric(name: str, kind: Kind, /, **labels: str) -> Metric:
    return Metric(Labels.of({"__name__": name, **labels}), kind)


def _host_metrics() -> Iterator[Metric]:
    for cpu in range(4):
        for mode, kind in _CPU_MODES.items():
            yield _metric("node_cpu_seconds_total", kind, cpu=str(cpu), mode=mode)
    yield from (_metric(f"node_memory_{name}_bytes", kinds.memory) for name in _MEMORY_MOVING)
    yield from (_metric(f"node_memory_{name}_bytes", kinds.constant) for name in _MEMORY_FIXED)
    for device in ("nvme0n1", "nvme1n1"):
        yield from (_metric(f"node_disk_{name}", kind, device=device) for name, kind in _DISK.items())
    for mount, kind_of_fs in _MOUNTS.items():
        moving: Kind = kinds.memory if mount in ("/var", "/data") else kinds.shrinking
        for name in ("free_bytes", "avail_bytes"):
            yield _metric(f"node_filesystem_{name}", moving, mountpoint=mount, fstype=kind_of_fs)
        for name in ("size_bytes", "files", "readonly"):
            yield _metric(f"node_filesystem_{name}", kinds.constant, mountpoint=mount, fstype=kind_of_fs)
        yield _metric("node_filesystem_files_free", kinds.level, mountpoint=mount, fstype=kind_of_fs)
    for device in ("eth0", "eth1", "lo", "docker0"):
        network: Kind = kinds.constant if device == "docker0" else kinds.events
        yield from (_metric(f"node_network_{name}", network, device=device) for name in _NETWORK_MOVING)
        yield from (_metric(f"node_network_{name}", kinds.constant, device=device) for name in _NETWORK_FIXED)
    yield from (_metric(name, kind) for name, kind in _SINGLE.items())
    for name, label, count, kind in _NUMBERED:
        yield from (_metric(name, kind, **{label: str(number)}) for number in range(count))


@lru_cache(maxsize=1)
def agent_metrics() -> tuple[Metric, ...]:
    """The 300 series of every agent, in the order in which it sends them."""
    found = list(_host_metrics())
    number = 0
    while len(found) < SERIES_PER_AGENT:
        name, kind = _PROCESS[number % len(_PROCESS)]
        found.append(_metric(name, kind, proc=f"p{number // len(_PROCESS)}"))
        number += 1
    return tuple(found[:SERIES_PER_AGENT])


@dataclass(frozen=True)
class Workload:
    """`agents` hosts, `ticks` samples of each of their series, ending at `end_ms`. Equal arguments give equal data."""

    agents: int
    ticks: int
    end_ms: int
    interval_ms: int = 5_000
    metrics: tuple[Metric, ...] = ()  # empty: all of an agent's

    @cached_property
    def chosen(self) -> tuple[Metric, ...]:
        """The metrics that every agent has."""
        return self.metrics or agent_metrics()

    @cached_property
    def series(self) -> tuple[Series, ...]:
        """The same as an agent's schema."""
        return tuple(
            Series(one.labels, MetricType.COUNTER if one.labels.metric.endswith("_total") else MetricType.GAUGE)
            for one in self.chosen
        )

    @property
    def samples(self) -> int:
        """All samples."""
        return self.agents * self.ticks * len(self.chosen)

    @property
    def start_ms(self) -> int:
        """No sample is older."""
        return self.end_ms - self.ticks * self.interval_ms

    def name(self, agent: int) -> str:
        """The agent's `instance`."""
        return f"host-{agent:04d}"

    def full_labels(self, agent: int) -> list[Labels]:
        """The agent's series as every system stores them: with `instance` and `job`."""
        identity = {"instance": self.name(agent), "job": "node"}
        return [one.labels.with_(identity) for one in self.chosen]

    def matrix(self, agent: int) -> SampleMatrix:
        """All samples of one agent. Each agent has its own phase, and its ticks jitter by a millisecond or two."""
        random = np.random.default_rng(1_000 + agent)
        steps = np.arange(self.ticks)
        phase = int(random.integers(0, self.interval_ms - 20))
        jitter = np.minimum(np.abs(random.normal(0, 1.5, self.ticks)), 15).astype(np.int64)
        times: Int64Array = self.start_ms + phase + steps * self.interval_ms + jitter
        load = 0.3 + 0.2 * np.sin(steps / 500 + agent) + 0.1 * np.abs(random.normal(0, 1, self.ticks))
        host = Host(load, self.interval_ms / 1000)
        values: Float64Array = np.stack([one.kind(random, host) for one in self.chosen])
        return SampleMatrix(times, values)
