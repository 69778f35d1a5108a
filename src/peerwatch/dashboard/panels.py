"""Panels: the one table of what the page shows. Metric names are node_exporter's.

`$instance` and `$job` are label values; `$rate` is irate or rate, `$gauge` last_over_time or avg_over_time, `$window`
their range, all by time span (see Timespan). Each expression aggregates to exactly the labels that its legend names,
so a legend names one series.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from peerwatch.model import Labels

Kind = Literal["stack", "line", "mirror", "tiles"]
Unit = Literal["percent", "bytes", "bytes_per_second", "seconds", "connections", "number"]

_SELF = 'instance="$instance",job="$job"'
_REAL_FS = 'fstype!~"tmpfs|devtmpfs|ramfs|squashfs|iso9660|efivarfs|fuse.+",mountpoint!~"/etc/.+"'
_REAL_DISK = 'device!~"(loop|ram|zram|sr|fd|md|dm-)[0-9]+"'  # md and dm sit on disks that are counted already
_REAL_NIC = 'device!~"lo|(veth|br-|docker|cni|flannel|cali|virbr|tap|vnet).*"'  # virtual ones repeat real traffic


@dataclass(frozen=True, slots=True)
class Query:
    """One expression. `legend` is a template over its labels; `down` ones are drawn below the axis of a mirror."""

    legend: str
    expr: str
    down: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart. `empty`: what the page says, and what to do, when nothing comes back; `top`: a fixed upper end;
    `note`: how to read it, in a few words."""

    id: str
    title: str
    unit: Unit
    kind: Kind
    queries: tuple[Query, ...]
    empty: str
    top: float | None = None
    note: str = ""


def _gauge(metric: str) -> str:
    return f"$gauge({metric}{{{_SELF}}}[$window])"


def _memory(field: str) -> str:
    return _gauge(f"node_memory_{field}_bytes")


def _rate(metric: str, by: str, matchers: str) -> str:
    return f"sum by ({by}) ($rate({metric}{{{_SELF},{matchers}}}[$window]))"


_FS_USED = (
    f"100 * (1 - $gauge(node_filesystem_avail_bytes{{{_SELF},{_REAL_FS}}}[$window])"
    f" / $gauge(node_filesystem_size_bytes{{{_SELF},{_REAL_FS}}}[$window]))"
)
_CORES = f'count(max by (cpu) ($gauge(node_cpu_seconds_total{{{_SELF},mode="idle"}}[$window])))'
_MEMORY_USED = f"{_memory('MemTotal')} - {_memory('MemAvailable')}"
_SWAP_USED = f"{_memory('SwapTotal')} - {_memory('SwapFree')}"
_SAMPLE_AGE = f"time() - max(timestamp(node_load1{{{_SELF}}}))"

PANELS = (
    Panel(
        "cpu",
        "CPU by mode",
        "percent",
        "stack",
        (
            Query(
                "{mode}",
                f'100 * avg by (mode) ($rate(node_cpu_seconds_total{{{_SELF},mode!="idle"}}[$window]))',
            ),
        ),
        "No CPU samples in this range. Is the agent running? On the hub, “peerwatch agents” tells.",
        note="100 % is all cores",
    ),
    Panel(
        "load",
        "Load",
        "number",
        "line",
        (
            Query("1 min", f"max({_gauge('node_load1')})"),
            Query("5 min", f"max({_gauge('node_load5')})"),
            Query("15 min", f"max({_gauge('node_load15')})"),
            Query("cores", _CORES),
        ),
        "No load samples in this range.",
    ),
    Panel(
        "memory",
        "Memory",
        "bytes",
        "stack",
        (
            Query("used", f"sum({_MEMORY_USED})"),
            Query("cache", f"sum({_memory('MemAvailable')} - {_memory('MemFree')})"),
            Query("free", f"sum({_memory('MemFree')})"),
        ),
        "No memory samples in this range.",
    ),
    Panel(
        "network",
        "Network",
        "bytes_per_second",
        "mirror",
        (
            Query("{device} rx", _rate("node_network_receive_bytes_total", "device", _REAL_NIC)),
            Query("{device} tx", _rate("node_network_transmit_bytes_total", "device", _REAL_NIC), down=True),
        ),
        "No network interface reported in this range.",
        note="in above, out below",
    ),
    Panel(
        "disk_io",
        "Disk I/O",
        "bytes_per_second",
        "mirror",
        (
            Query("{device} read", _rate("node_disk_read_bytes_total", "device", _REAL_DISK)),
            Query("{device} write", _rate("node_disk_written_bytes_total", "device", _REAL_DISK), down=True),
        ),
        "No disk reported in this range. Containers often see none.",
        note="reads above, writes below",
    ),
    Panel(
        "tcp",
        "TCP connections by state",
        "connections",
        "stack",
        (Query("{state}", f"sum by (state) ({_gauge('tcp_connections')})"),),
        "No TCP samples in this range.",
    ),
    Panel(
        "disk",
        "Disk usage",
        "percent",
        "line",
        (Query("{mountpoint}", f"max by (mountpoint) ({_FS_USED})"),),
        "No file system reported in this range.",
        top=100.0,
    ),
    Panel(
        "swap",
        "Swap",
        "bytes",
        "line",
        (Query("used", f"sum({_SWAP_USED})"), Query("total", f"sum({_memory('SwapTotal')})")),
        "No swap samples in this range.",
    ),
    Panel(
        "age",
        "Age of the newest sample",
        "seconds",
        "line",
        (Query("age", _SAMPLE_AGE),),
        "This instance sent nothing in this range. On the hub, “peerwatch agents” tells since when.",
    ),
)

TILES = Panel(
    "tiles",
    "Now",
    "number",
    "tiles",
    (
        Query("cpu", f'100 * (1 - avg($rate(node_cpu_seconds_total{{{_SELF},mode="idle"}}[$window])))'),
        Query("cores", _CORES),
        Query("memory_used", f"sum({_MEMORY_USED})"),
        Query("memory_total", f"sum({_memory('MemTotal')})"),
        Query("swap_used", f"sum({_SWAP_USED})"),
        Query("swap_total", f"sum({_memory('SwapTotal')})"),
        Query("load1", f"max({_gauge('node_load1')})"),
        Query("disk", f"max({_FS_USED})"),
        Query("rx", f"sum($rate(node_network_receive_bytes_total{{{_SELF},{_REAL_NIC}}}[$window]))"),
        Query("tx", f"sum($rate(node_network_transmit_bytes_total{{{_SELF},{_REAL_NIC}}}[$window]))"),
        Query("established", f'sum($gauge(tcp_connections{{{_SELF},state="established"}}[$window]))'),
        Query("tcp", f"sum({_gauge('tcp_connections')})"),
        Query("age", _SAMPLE_AGE),
        Query("uptime", f"time() - max({_gauge('node_boot_time_seconds')})"),
    ),
    "No samples yet.",
)

_JOB = 'job="$job"'
FLEET = (
    Query("up", f"max by (instance) (up{{{_JOB}}})"),
    Query("seen", f"max by (instance) (timestamp(node_load1{{{_JOB}}}))"),
    Query("cpu", f'100 * (1 - avg by (instance) ($rate(node_cpu_seconds_total{{{_JOB},mode="idle"}}[$window])))'),
    Query(
        "memory",
        f"max by (instance) (100 * (1 - $gauge(node_memory_MemAvailable_bytes{{{_JOB}}}[$window])"
        f" / $gauge(node_memory_MemTotal_bytes{{{_JOB}}}[$window])))",
    ),
    Query(
        "disk",
        f"max by (instance) (100 * (1 - $gauge(node_filesystem_avail_bytes{{{_JOB},{_REAL_FS}}}[$window])"
        f" / $gauge(node_filesystem_size_bytes{{{_JOB},{_REAL_FS}}}[$window])))",
    ),
)
"""What the fleet list is made of; each gives one value per instance."""

_FIELD = re.compile(r"\{(\w+)\}")


def legend(template: str, labels: Labels) -> str:
    """The legend of one series: `template` with each {label} replaced by its value; an absent one is a dash."""
    return _FIELD.sub(lambda field: labels.get(field.group(1), "–"), template)
