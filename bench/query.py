"""How long queries take: 1 and 1000 series, 1 h and 24 h, raw and `sum(rate())`, beside Prometheus and VictoriaMetrics.

All systems hold the same samples, on disk, and are up at the same time; each query goes to one after the other, so
that the machine's noise falls on all. HTTP time is until the last byte of the answer. Engine time is without HTTP and
JSON: ours in this process over the same data folder, Prometheus's as it reports it (`stats`); VictoriaMetrics does
not tell. Answers of ours and of Prometheus are compared number by number.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import statistics
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.load import WINDOW_MS, Make, closed_window_end, deliver, requests_of, systems
from bench.machine import command_line, machine
from bench.peers import absent
from bench.process import CpuMeter, ServerError
from bench.systems import Peerwatch, Prometheus, System, VictoriaMetrics
from bench.table import markdown
from bench.workload import Workload, agent_metrics
from peerwatch.cli.hub_role import envelope_decoder
from peerwatch.model import SystemClock
from peerwatch.query.engine import Engine
from peerwatch.store.config import StoreConfig
from peerwatch.store.store import Store
from peerwatch.telemetry import CollectorRegistry

_TICKS_PER_BATCH = 60
_CONNECTIONS = 16
_HOUR_MS = 3_600_000
_ONE = 'node_cpu_seconds_total{instance="host-0000",cpu="0",mode="user"}'


@dataclass(frozen=True, slots=True)
class Query:
    """A range query that ends where the data does."""

    name: str
    expr: str
    hours: int
    step_s: int

    def parameters(self, end_ms: int) -> dict[str, str]:
        """Of /api/v1/query_range."""
        start_s, end_s = self.start_ms(end_ms) / 1000, end_ms / 1000
        return {"query": self.expr, "start": f"{start_s:.3f}", "end": f"{end_s:.3f}", "step": f"{self.step_s}s"}

    def start_ms(self, end_ms: int) -> int:
        """The first step."""
        return end_ms - self.hours * _HOUR_MS


def queries(hours: int) -> list[Query]:
    """All of them; spans no longer than the data."""
    shapes = [
        ("1 series, raw", _ONE),
        ("1 series, rate", f"rate({_ONE}[5m])"),
        ("1024 series, raw", "node_cpu_seconds_total"),
        ("1024 series, sum(rate)", "sum(rate(node_cpu_seconds_total[5m]))"),
        ("1024 series, sum by (mode)", "sum by (mode) (rate(node_cpu_seconds_total[5m]))"),
    ]
    spans = [(1, 15), (hours, 60)]
    return [Query(f"{name}, {span} h", expr, span, step_s) for name, expr in shapes for span, step_s in spans]


@dataclass(slots=True)
class Timing:
    """What one system took for one query, in seconds, and its last answer."""

    http_s: list[float]
    engine_s: list[float]
    answer: Any = None


def ask(system: System, query: Query, end_ms: int, timing: Timing) -> None:
    """One request over HTTP."""
    parameters = query.parameters(end_ms)
    if isinstance(system, Prometheus):
        parameters["stats"] = "true"
    elif isinstance(system, VictoriaMetrics):
        parameters["nocache"] = "1"  # the second time would measure its cache of answers
    url = f"{system.url}/api/v1/query_range?{urllib.parse.urlencode(parameters)}"
    began_s = time.perf_counter()
    try:
        with urllib.request.urlopen(url, timeout=300) as response:
            body = response.read()
    except urllib.error.HTTPError as error:
        raise ServerError(f"{system.name} answered {error.code} to {query.expr}: {error.read()[:300]!r}") from error
    timing.http_s.append(time.perf_counter() - began_s)
    timing.answer = json.loads(body)["data"]
    if not timing.answer["result"]:
        raise ServerError(f"{system.name} has no answer to {query.expr}: the data are not there")
    stats = timing.answer.get("stats")
    if stats and isinstance(system, Prometheus):
        timing.engine_s.append(stats["timings"]["execTotalTime"])


def difference(ours: Any, theirs: Any) -> str:
    """How two answers differ: in their series, in their points, or at most by which share of a value."""
    left, right = _points(ours), _points(theirs)
    if left.keys() != right.keys():
        return f"series: {len(left)} and {len(right)}"
    worst = 0.0
    for key, points in left.items():
        others = right[key]
        if [at for at, _ in points] != [at for at, _ in others]:
            return f"points: {len(points)} and {len(others)}"
        for (_, one), (_, other) in zip(points, others, strict=True):
            worst = max(worst, abs(one - other) / max(abs(one), abs(other), math.ulp(1.0)))
    return f"{worst:.0e}"


def _points(answer: Any) -> dict[str, list[tuple[float, float]]]:
    return {
        json.dumps(one["metric"], sort_keys=True): [(float(at), float(value)) for at, value in one["values"]]
        for one in answer["result"]
    }


def fill(system: System, workload: Workload) -> None:
    """Start the system, give it all samples, bring it to rest and leave it running."""
    load = requests_of(system, workload, _TICKS_PER_BATCH, _CONNECTIONS)
    with CpuMeter(system.start()) as meter:
        deliver(system, load)
        system.rest(meter)
    system.compact()
    print(f"  {system.name} is loaded", flush=True)


def engine_times(folder: Path, query_list: Sequence[Query], end_ms: int, repeat: int) -> dict[str, list[float]]:
    """Our engine over our store, both in this process."""
    store = Store.open(
        folder / "store",
        StoreConfig(),
        clock=SystemClock(),
        decode_envelope=envelope_decoder(),
        registry=CollectorRegistry(),
    )
    try:
        engine = Engine(store)
        return {query.name: [_engine_time(engine, query, end_ms) for _ in range(repeat)] for query in query_list}
    finally:
        store.close()


def _engine_time(engine: Engine, query: Query, end_ms: int) -> float:
    began_s = time.perf_counter()
    engine.range(query.expr, query.start_ms(end_ms), end_ms, query.step_s * 1000)
    return time.perf_counter() - began_s


def run(options: argparse.Namespace) -> None:
    """Load all systems, ask all queries, print the table."""
    for line in absent():
        print(line)
    print(f"{command_line()}\n{machine()}\n")
    chosen = tuple(one for one in agent_metrics() if one.labels.metric in ("node_cpu_seconds_total", "node_load1"))
    end_ms = closed_window_end(time.time_ns() // 1_000_000)
    workload = Workload(32, options.hours * _HOUR_MS // 5_000, end_ms, metrics=chosen)
    print(f"{workload.agents * len(chosen)} series x {workload.ticks} ticks = {workload.samples / 1e6:.1f} M samples")
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    running: list[System] = []
    try:
        for number, (name, make) in enumerate(systems(options.only).items()):
            running.append(_made(name, make, folder / str(number), workload))
            fill(running[-1], workload)
        _measure(running, queries(options.hours), end_ms, options.repeat)
    finally:
        for system in running:
            system.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _made(name: str, make: Make, folder: Path, workload: Workload) -> System:
    if name == Peerwatch.name:
        return Peerwatch(folder, workload, WINDOW_MS)
    return make(folder, workload)


def _measure(running: Sequence[System], query_list: Sequence[Query], end_ms: int, repeat: int) -> None:
    table: dict[tuple[str, str], Timing] = {}
    differences = {}
    ours = next((one for one in running if one.ours), None)
    for query in query_list:
        for _ in range(repeat + 1):  # the first warms caches and is left out
            for system in running:
                ask(system, query, end_ms, table.setdefault((query.name, system.name), Timing([], [])))
        reference = next((one for one in running if isinstance(one, Prometheus)), None)
        if ours and reference:
            pair = (table[query.name, ours.name].answer, table[query.name, reference.name].answer)
            differences[query.name] = difference(*pair)
        for system in running:
            table[query.name, system.name].answer = None
    if ours:
        ours.stop()
        for name, times in engine_times(ours.folder, query_list, end_ms, repeat + 1).items():
            table[name, ours.name].engine_s = times
    names = [one.name for one in running]
    print("\n## HTTP, milliseconds (median; in brackets how many times ours)\n")
    print(_table(table, query_list, names, engine=False, differences=differences))
    print("\n## Engine alone, milliseconds\n")
    print(_table(table, query_list, [one.name for one in running if not isinstance(one, VictoriaMetrics)], engine=True))


def _table(
    table: dict[tuple[str, str], Timing],
    query_list: Sequence[Query],
    names: Sequence[str],
    *,
    engine: bool,
    differences: dict[str, str] | None = None,
) -> str:
    rows = []
    for query in query_list:
        timings = [table[query.name, name] for name in names]
        medians = [statistics.median((one.engine_s if engine else one.http_s)[1:]) * 1000 for one in timings]
        cells = [f"{medians[0]:.1f}", *(f"{one:.1f} ({one / medians[0]:.2f}×)" for one in medians[1:])]
        rows.append([query.name, *cells, *([differences.get(query.name, "–")] if differences is not None else [])])
    head = ["query", *names, *(["ours to Prometheus's"] if differences is not None else [])]
    return markdown(head, rows)


def options_of(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench query", description=__doc__)
    parser.add_argument("--hours", type=int, default=24, help="of data, sampled every 5 s")
    parser.add_argument("--repeat", type=int, default=5, help="timed runs of each query")
    parser.add_argument("--only", default="", help="only systems whose name contains this")
    parser.add_argument("--quick", action="store_true", help="2 hours of data, 3 runs")
    options = parser.parse_args(arguments)
    if options.quick:
        options.hours, options.repeat = 2, 3
    return options


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    try:
        run(options_of(arguments))
    except ServerError as error:
        raise SystemExit(f"bench query: {error}") from error
