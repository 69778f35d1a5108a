"""What taking samples in costs: CPU, wire, disk and memory, beside Prometheus and VictoriaMetrics on the same data.

Each system runs in a fresh process on loopback and gets the same samples: first at the default arrival pattern (one
request of 600 samples per agent, requests spread over the agents), then in larger batches. Requests are made, and
ours signed, before anything is timed. CPU is the server's own, with all flushing, merging and compaction until it
rests; what it uses while it idles is left out for all alike (`process.CpuMeter`).
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import backfill
from bench.load import Make, closed_window_end, deliver, requests_of, systems
from bench.machine import command_line, machine
from bench.peers import absent
from bench.process import CpuMeter, ServerError
from bench.systems import Peerwatch
from bench.table import markdown, mebibytes, ratio
from bench.workload import Workload


@dataclass(frozen=True, slots=True)
class Result:
    """One system, one batch size, once. CPU in seconds per million samples; bytes per sample."""

    name: str
    ticks: int
    cpu_s: float
    load_cpu_s: float
    sent_bytes: float
    received_bytes: float
    disk_bytes: float
    peak_rss_bytes: float
    samples_per_s: float
    resent: int


def measure(name: str, make: Make, workload: Workload, ticks: int, connections: int) -> Result:
    """One run in a fresh process and a fresh folder."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    system = make(folder / "data", workload)
    try:
        load = requests_of(system, workload, ticks, connections)
        process = system.start()
        with CpuMeter(process) as meter:
            traffic = deliver(system, load)
            load_s = meter.busy_s
            system.rest(meter)
        first_peak = process.peak_rss_bytes()
        settled = system.compact()
        samples = workload.samples
        return Result(
            name,
            ticks,
            (meter.busy_s + settled.cpu_s) / samples * 1e6,
            load_s / samples * 1e6,
            traffic.sent_bytes / samples,
            traffic.received_bytes / samples,
            system.disk_bytes() / samples,
            max(first_peak, settled.peak_rss_bytes),
            samples / traffic.wall_s,
            traffic.resent,
        )
    finally:
        system.stop()
        shutil.rmtree(folder, ignore_errors=True)


def report(results: Sequence[Result], ours: str) -> str:
    """The table of one batch size: each system's medians, and in brackets how many times ours."""
    base = next((one for one in results if one.name == ours), None)
    head = ["system", "CPU-s per M samples", "wire B in", "wire B out", "disk B/sample", "peak RSS MiB", "samples/s"]
    rows = []
    for one in results:
        cells = [one.cpu_s, one.sent_bytes, one.received_bytes, one.disk_bytes]
        of_base = [base.cpu_s, base.sent_bytes, base.received_bytes, base.disk_bytes] if base else [0.0] * 4
        shown = [f"{value:.3f}" if at in (0, 3) else f"{value:.2f}" for at, value in enumerate(cells)]
        if base is not None and one is not base:
            shown = [f"{text} ({ratio(value, ref)})" for text, value, ref in zip(shown, cells, of_base, strict=True)]
        rows.append([one.name, *shown, mebibytes(one.peak_rss_bytes), f"{one.samples_per_s:,.0f}"])
    return markdown(head, rows)


def median_of(runs: Sequence[Result]) -> Result:
    """The run with the median CPU cost."""
    middle = statistics.median_low([one.cpu_s for one in runs])
    return next(one for one in runs if one.cpu_s == middle)


def run(options: argparse.Namespace) -> None:
    """Measure every system at every batch size and print one table per size."""
    for line in absent():
        print(line)
    print(f"{command_line()}\n{machine()}\n")
    ticks = int(options.hours * 3_600_000) // 5_000
    workload = Workload(options.agents, ticks, closed_window_end(time.time_ns() // 1_000_000))
    print(
        f"{workload.agents} agents x {len(workload.chosen)} series x {ticks} ticks"
        f" = {workload.samples / 1e6:.1f} M samples"
    )
    for batch in options.ticks:
        print(f"\n## {batch} ticks per batch: {batch * len(workload.chosen)} samples", flush=True)
        print(
            report(
                [_repeat(name, make, workload, batch, options) for name, make in systems(options.only).items()],
                Peerwatch.name,
            ),
            flush=True,
        )


def _repeat(name: str, make: Make, workload: Workload, batch: int, options: argparse.Namespace) -> Result:
    runs = []
    for _ in range(options.repeat):
        runs.append(measure(name, make, workload, batch, options.connections))
        one = runs[-1]
        print(
            f"  {name}: {one.cpu_s:.3f} CPU-s per M samples, of it {one.load_cpu_s:.3f} until all was taken;"
            f" {one.resent} requests sent again",
            flush=True,
        )
    return median_of(runs)


def options_of(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench ingest", description=__doc__)
    parser.add_argument("--agents", type=int, default=60)
    parser.add_argument("--hours", type=float, default=2.0, help="of data, sampled every 5 s")
    parser.add_argument("--ticks", type=int, nargs="+", default=[2, 12, 60], help="batch sizes, in ticks")
    parser.add_argument("--connections", type=int, default=32, help="kept alive; in life each agent has its own")
    parser.add_argument("--repeat", type=int, default=1, help="runs of each; the median one is shown")
    parser.add_argument("--only", default="", help="only systems whose name contains this")
    parser.add_argument("--days", type=int, default=0, help="instead: memory with so many days of blocks")
    parser.add_argument("--quick", action="store_true", help="10 agents, half an hour, default pattern: a minute")
    options = parser.parse_args(arguments)
    if options.quick:
        options.agents, options.hours, options.ticks = 10, 0.5, [2]
    return options


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    options = options_of(arguments)
    try:
        if options.days:
            backfill.run(options)
        else:
            run(options)
    except ServerError as error:
        raise SystemExit(f"bench ingest: {error}") from error
