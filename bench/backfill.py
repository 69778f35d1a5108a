"""Memory with weeks of blocks: back-fill so many days into ours and into Prometheus, then look at their memory.

Each is loaded, comes to rest, and is started anew, so that what counts is blocks and not what loading left behind.
Resident memory is given whole and without pages of files, which the kernel takes back when it needs them.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.load import Make, closed_window_end, deliver, requests_of, systems
from bench.machine import command_line, machine
from bench.peers import absent
from bench.process import CpuMeter, folder_bytes
from bench.systems import Peerwatch, System
from bench.table import markdown
from bench.workload import Workload

_INTERVAL_MS = 120_000
_TICKS_PER_BATCH = 20
_DAY_MS = 86_400_000
_CONNECTIONS = 16
_SETTLE_S = 15.0  # after starting and after each query: ours and the others give memory back in the background
_QUERY = "sum(rate(node_cpu_seconds_total[1h]))"


@dataclass(frozen=True, slots=True)
class Memory:
    """MiB: resident, and without pages of files."""

    rss: float
    anonymous: float

    @classmethod
    def of(cls, system: System) -> Memory:
        """Of the running system."""
        process = system.running()
        return cls(process.rss_bytes() / (1 << 20), process.anonymous_rss_bytes() / (1 << 20))

    def __str__(self) -> str:
        return f"{self.rss:.0f} ({self.anonymous:.0f})"


def measure(name: str, make: Make, workload: Workload, days: int) -> list[str]:
    """A row of the table."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    is_ours = name == Peerwatch.name
    system = Peerwatch(folder / "data", workload, _DAY_MS) if is_ours else make(folder / "data", workload)
    try:
        load = requests_of(system, workload, _TICKS_PER_BATCH, _CONNECTIONS)
        with CpuMeter(system.start()) as meter:
            deliver(system, load)
            meter.wait_for_rest(3 if is_ours else 75)  # Prometheus looks once a minute whether it may compact
        del load
        peak = Memory(system.running().peak_rss_bytes() / (1 << 20), 0.0)
        system.compact()
        system.stop()
        system.start()
        time.sleep(_SETTLE_S)
        idle = Memory.of(system)
        short_s = _ask(system, workload.end_ms, 1)
        time.sleep(_SETTLE_S)
        after_day = Memory.of(system)
        long_s = _ask(system, workload.end_ms, days)
        at_once = Memory.of(system)
        time.sleep(_SETTLE_S)
        after_all = Memory.of(system)
        disk = folder_bytes(folder / "data" / ("store" if is_ours else "data")) / workload.samples
        times = f"{short_s * 1000:.0f} / {long_s * 1000:.0f}"
        memories = [str(one) for one in (idle, after_day, at_once, after_all)]
        return [name, *memories, f"{peak.rss:.0f}", times, f"{disk:.2f}"]
    finally:
        system.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _ask(system: System, end_ms: int, days: int) -> float:
    """Seconds that a range query over so many days takes, at 1 h steps."""
    parameters = {
        "query": _QUERY,
        "start": str((end_ms - days * _DAY_MS) / 1000),
        "end": str(end_ms / 1000),
        "step": "1h",
    }
    began_s = time.perf_counter()
    url = f"{system.url}/api/v1/query_range?{urllib.parse.urlencode(parameters)}"
    with urllib.request.urlopen(url, timeout=600) as answer:
        answer.read()
    return time.perf_counter() - began_s


def run(options: argparse.Namespace) -> None:
    """Measure ours and each Prometheus, and print the table."""
    for line in absent():
        print(line)
    print(f"{command_line()}\n{machine()}\n")
    ticks = options.days * _DAY_MS // _INTERVAL_MS
    agents = options.agents
    workload = Workload(agents, ticks, closed_window_end(time.time_ns() // 1_000_000), interval_ms=_INTERVAL_MS)
    print(f"{agents * len(workload.chosen)} series x {ticks} ticks of 2 min = {workload.samples / 1e6:.1f} M samples")
    rows: list[Sequence[str]] = []
    for name, make in systems(options.only).items():
        if name == Peerwatch.name or name.startswith("Prometheus"):
            rows.append(measure(name, make, workload, options.days))
            print(f"  {' · '.join(rows[-1])}", flush=True)
    head = [
        "MiB: RSS (anonymous)",
        "idle",
        "after a query of 1 d",
        f"of {options.days} d",
        "15 s later",
        "peak while loading",
    ]
    print(markdown([*head, "query ms", "disk B/sample"], rows))
