"""Twenty queries that dashboards ask, instant and range, beside Prometheus and VictoriaMetrics over HTTP.

All systems hold the same samples, on disk, and are up at the same time; each query goes to one after the other, so
that the machine's noise falls on all. Time is until the last byte of the JSON: once with a new connection for each,
which is timed too, and once with connections that stay. Then twenty clients ask all of it at once, one system after
the other: the slowest of a hundred answers, and memory.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Self

from bench.load import WINDOW_MS, Make, closed_window_end, deliver, requests_of, systems
from bench.machine import command_line, machine
from bench.peers import absent
from bench.process import CpuMeter, ServerError
from bench.systems import Peerwatch, System, VictoriaMetrics
from bench.table import markdown
from bench.workload import Workload

_CONNECTIONS = 16
_HOUR_S = 3_600
_HOST = 'instance="host-0003"'


@dataclass(frozen=True, slots=True)
class Panel:
    """One query; `hours` 0: at one instant."""

    expr: str
    hours: int = 0

    @property
    def name(self) -> str:
        """For the table."""
        return f"`{self.expr}`, {f'{self.hours} h' if self.hours else 'instant'}".replace("|", "\\|")

    def path(self, end_s: float) -> str:
        """Path and parameters, as Grafana chooses the step for a panel of 240 pixels."""
        if not self.hours:
            return f"/api/v1/query?{urllib.parse.urlencode({'query': self.expr, 'time': end_s})}"
        span_s = self.hours * _HOUR_S
        asked = {"query": self.expr, "start": end_s - span_s, "end": end_s, "step": max(60, span_s // 240)}
        return f"/api/v1/query_range?{urllib.parse.urlencode(asked)}"


def panels(hours: int) -> list[Panel]:
    """Of a node exporter's dashboard for one host, of one for a fleet, and of what tables and alerts ask.

    From 1 to some 9,000 series of the default fleet, from one instant to all `hours`.
    """
    host_cpu = f'sum by (mode) (rate(node_cpu_seconds_total{{{_HOST},mode!="idle"}}[5m]))'
    used = "1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes"
    everything = '{__name__=~"node_.+"}'
    day = min(hours, 24)
    return [
        Panel("count(node_load1)"),
        Panel(f"node_load1{{{_HOST}}}"),
        Panel(used),
        Panel("topk(5, sum by (instance) (rate(node_network_receive_bytes_total[5m])))"),
        Panel('predict_linear(node_filesystem_avail_bytes{mountpoint="/"}[1h], 14400) < 0'),
        Panel("count by (job) (up)"),
        Panel(everything),
        Panel(f"node_load1{{{_HOST}}}", 1),
        Panel(host_cpu, 1),
        Panel(f"rate(node_disk_io_time_seconds_total{{{_HOST}}}[5m])", 1),
        Panel("sum by (mode) (rate(node_cpu_seconds_total[5m]))", 1),
        Panel(f"count by (instance) ({everything})", 1),
        Panel(host_cpu, day),
        Panel(f"{used} and on (instance) node_load1{{{_HOST}}}", day),
        Panel("sum by (instance) (rate(node_network_transmit_bytes_total[5m]))", day),
        Panel("max by (instance) (node_hwmon_temp_celsius)", day),
        Panel("quantile(0.95, node_load1)", day),
        Panel(f"node_load1{{{_HOST}}}", hours),
        Panel("avg(node_load1)", hours),
        Panel("sum by (mode) (rate(node_cpu_seconds_total[1h]))", hours),
    ]


Fetch = Callable[[System, Panel, float], float]
"""Seconds until the last byte of a panel that ends at a time."""


def fetch(system: System, panel: Panel, end_s: float) -> float:
    """On a new connection."""
    began_s = time.perf_counter()
    try:
        with urllib.request.urlopen(system.url + _path(system, panel, end_s), timeout=300) as response:
            response.read()
    except urllib.error.HTTPError as error:
        raise ServerError(f"{system.name} answered {error.code} to {panel.expr}: {error.read()[:300]!r}") from error
    return time.perf_counter() - began_s


class KeptAlive:
    """Fetches on one connection per system, as Grafana does. Use as a context manager."""

    def __init__(self) -> None:
        self._connections: dict[str, HTTPConnection] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._connections.values():
            connection.close()

    def __call__(self, system: System, panel: Panel, end_s: float) -> float:
        connection = self._connections.get(system.name)
        if connection is None:
            connection = self._connections[system.name] = HTTPConnection("127.0.0.1", system.port, timeout=300)
        began_s = time.perf_counter()
        connection.request("GET", _path(system, panel, end_s))
        response = connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise ServerError(f"{system.name} answered {response.status} to {panel.expr}: {body[:300]!r}")
        return time.perf_counter() - began_s


def _path(system: System, panel: Panel, end_s: float) -> str:
    return panel.path(end_s) + ("&nocache=1" if isinstance(system, VictoriaMetrics) else "")


def one_by_one(running: Sequence[System], asked: Sequence[Panel], end_s: float, repeat: int, ask: Fetch) -> str:
    """The table of medians, and what its ratios come to."""
    rows, ratios = [], []
    for panel in asked:
        times: dict[str, list[float]] = {system.name: [] for system in running}
        for _ in range(repeat + 1):  # the first warms caches and is left out
            for system in running:
                times[system.name].append(ask(system, panel, end_s))
        medians = [statistics.median(one[1:]) * 1000 for one in times.values()]
        ratio = medians[0] / min(medians[1:]) if medians[1:] else 1.0
        ratios.append(ratio)
        rows.append([panel.name, *(f"{one:.1f}" for one in medians), f"{ratio:.1f}×"])
    head = ["milliseconds", *(system.name for system in running), "ours to the best"]
    ended = f"\nOurs to the best of the others: median {statistics.median(ratios):.2f}, at most {max(ratios):.2f}"
    return markdown(head, rows) + "\n" + ended


def all_at_once(system: System, asked: Sequence[Panel], end_s: float, clients: int, seconds: float) -> list[str]:
    """A row: answers per second, median and p99 in milliseconds, memory."""
    times: list[float] = []
    failures: list[BaseException] = []
    stop_s = time.monotonic() + seconds

    def ask(first: int) -> None:
        at = first
        try:
            while time.monotonic() < stop_s:
                times.append(fetch(system, asked[at % len(asked)], end_s))
                at += 1
        except BaseException as failure:  # told by the main thread
            failures.append(failure)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise ServerError(f"{system.name}, {clients} clients: {failures[0]!r}")
    ordered = sorted(times)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    process = system.running()
    shown = [len(times) / seconds, statistics.median(ordered) * 1000, p99 * 1000]
    memory = [process.rss_bytes() / (1 << 20), process.peak_rss_bytes() / (1 << 20)]
    return [system.name, *(f"{one:.0f}" for one in (*shown, *memory))]


def run(options: argparse.Namespace) -> None:
    """Load all systems, ask, print."""
    for line in absent():
        print(line)
    print(f"{command_line()}\n{machine()}\n")
    end_ms = closed_window_end(time.time_ns() // 1_000_000)
    interval_ms = options.interval * 1000
    workload = Workload(options.agents, options.hours * _HOUR_S * 1000 // interval_ms, end_ms, interval_ms)
    series = workload.agents * len(workload.chosen)
    print(f"{series} series x {workload.ticks} ticks of {options.interval} s = {workload.samples / 1e6:.1f} M samples")
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    running: list[System] = []
    try:
        for number, (name, make) in enumerate(systems(options.only).items()):
            running.append(_loaded(name, make, folder / str(number), workload))
        asked = panels(options.hours)
        print("\n## One by one, a new connection for each\n")
        print(one_by_one(running, asked, end_ms / 1000, options.repeat, fetch), flush=True)
        print("\n## One by one, connections kept alive\n")
        with KeptAlive() as kept:
            print(one_by_one(running, asked, end_ms / 1000, options.repeat, kept), flush=True)
        print(f"\n## {options.clients} clients at once, {options.seconds} s\n")
        rows = [all_at_once(one, asked, end_ms / 1000, options.clients, options.seconds) for one in running]
        print(markdown(["system", "answers/s", "median ms", "p99 ms", "RSS MiB", "peak RSS MiB"], rows))
    finally:
        for system in running:
            system.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _loaded(name: str, make: Make, folder: Path, workload: Workload) -> System:
    system = Peerwatch(folder, workload, WINDOW_MS) if name == Peerwatch.name else make(folder, workload)
    ticks_per_batch = max(1, _HOUR_S * 1000 // workload.interval_ms)  # Prometheus refuses what is an hour behind
    load = requests_of(system, workload, ticks_per_batch, _CONNECTIONS)
    with CpuMeter(system.start()) as meter:
        deliver(system, load)
        system.rest(meter)
    system.compact()
    system.stop()
    system.start()  # so that memory is that of answering
    print(f"  {system.name} is loaded", flush=True)
    return system


def options_of(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench dashboards", description=__doc__)
    parser.add_argument("--agents", type=int, default=34, help="of 300 series each")
    parser.add_argument("--hours", type=int, default=168, help="of data; the longest panels take all of it")
    parser.add_argument("--interval", type=int, default=120, help="seconds between samples")
    parser.add_argument("--repeat", type=int, default=9, help="timed runs of each query")
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=30.0, help="of load by all clients")
    parser.add_argument("--only", default="", help="only systems whose name contains this")
    parser.add_argument("--quick", action="store_true", help="4 agents, 4 hours, 3 runs, 5 s of load")
    options = parser.parse_args(arguments)
    if options.quick:
        options.agents, options.hours, options.repeat, options.seconds = 4, 4, 3, 5.0
    return options


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    try:
        run(options_of(arguments))
    except ServerError as error:
        raise SystemExit(f"bench dashboards: {error}") from error
