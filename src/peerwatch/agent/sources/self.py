"""The agent itself: processor time, memory, descriptors, threads, and its own counters."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable

import numpy as np

from peerwatch.agent.proc_root import ProcRoot
from peerwatch.agent.source import Family, Layout, Reading
from peerwatch.model import METRIC_NAME, Labels, MetricType, Series
from peerwatch.telemetry import CollectorRegistry

# The names of Prometheus's client libraries.
FAMILIES = (
    Family("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", MetricType.COUNTER),
    Family("process_resident_memory_bytes", "Resident memory size in bytes."),
    Family("process_virtual_memory_bytes", "Virtual memory size in bytes."),
    Family("process_start_time_seconds", "Start time of the process since unix epoch in seconds."),
    Family("process_open_fds", "Number of open file descriptors."),
    Family("process_max_fds", "Maximum number of open file descriptors."),
    Family("peerwatch_agent_threads", "Number of operating system threads of this process."),
    Family("peerwatch_agent_tasks", "Number of tasks in the event loop of this process."),
)
_SERIES = tuple(family.series() for family in FAMILIES)
_TYPES = {
    "counter": MetricType.COUNTER,
    "gauge": MetricType.GAUGE,
    "histogram": MetricType.HISTOGRAM,
    "summary": MetricType.SUMMARY,
    "info": MetricType.INFO,
}
Sample = tuple[str, tuple[tuple[str, str], ...], str, str]  # name, labels, type, help


class ProcessSource:
    """`process_*` of this process and everything in its registry. `tasks` says how many tasks the loop has."""

    def __init__(self, root: ProcRoot, registry: CollectorRegistry, tasks: Callable[[], int]) -> None:
        self._root = root
        self._registry = registry
        self._tasks = tasks
        self._layout = Layout()
        self._page_bytes = os.sysconf("SC_PAGE_SIZE")
        self._ticks_per_s = os.sysconf("SC_CLK_TCK")
        self._boot_s: float | None = None

    def collect(self, now_ms: int) -> Reading:
        samples, values = registry_samples(self._registry)
        series = self._layout.series(samples, lambda: (*_SERIES, *registry_series(samples)))
        return Reading(series, np.array([*self._process(), *values], dtype=np.float64))

    def _process(self) -> list[float]:
        # The fields after the command's name, which may itself hold spaces and brackets (proc(5)): index 0 is state
        fields = self._root.read_proc("self/stat").rpartition(b")")[2].split()
        return [
            (int(fields[11]) + int(fields[12])) / self._ticks_per_s,
            float(int(fields[21]) * self._page_bytes),
            float(fields[20]),
            self._boot_time_s() + int(fields[19]) / self._ticks_per_s,
            float(len(self._root.list_proc("self/fd"))),
            float(resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
            float(fields[17]),
            float(self._tasks()),
        ]

    def _boot_time_s(self) -> float:
        if self._boot_s is None:  # read once: it is a constant, and /proc/stat is dear
            after = self._root.read_proc("stat").rpartition(b"\nbtime ")[2]
            self._boot_s = float(after.split(b"\n", 1)[0])
        return self._boot_s


def registry_samples(registry: CollectorRegistry) -> tuple[tuple[Sample, ...], list[float]]:
    """What a registry holds right now: the identities, equal as long as no series came or went, and the values."""
    samples: list[Sample] = []
    values: list[float] = []
    for metric in registry.collect():
        for sample in metric.samples:
            if not sample.name.endswith("_created"):  # a second clock per series; rate() needs none
                samples.append((sample.name, tuple(sample.labels.items()), metric.type, metric.documentation))
                values.append(sample.value)
    return tuple(samples), values


def registry_series(samples: tuple[Sample, ...]) -> list[Series]:
    """The series of those identities."""
    return [
        Series(Labels.of({**dict(labels), METRIC_NAME: name}), _TYPES.get(kind, MetricType.UNKNOWN), text)
        for name, labels, kind, text in samples
    ]
