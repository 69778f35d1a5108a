"""Native histograms: what writing, keeping and asking about them costs beside Prometheus.

Every series is a counter of latencies with some forty exponential buckets, written by remote write 1.0, a minute of all
series per request; then queries over HTTP, one after the other to each system, until the last byte of the JSON. Only a
Prometheus of 3.x takes native histograms without a flag; older ones are left out, and so is VictoriaMetrics, which does
not keep them.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import cramjam
import numpy as np

from bench.machine import command_line, machine
from bench.peers import Peer, find_peers
from bench.process import CpuMeter, ServerError
from bench.systems import Peerwatch, Prometheus, System
from bench.table import markdown
from bench.workload import Workload
from peerwatch.model import Float64Array
from peerwatch.wire import remote_pb2 as pb

_SCHEMA, _BUCKETS, _OFFSET = 3, 40, -12
_TICKS_PER_REQUEST = 4
_WARM_UPS = 1  # the first run warms caches and is left out
_QUERIES = (
    "histogram_quantile(0.99, sum(rate(request_seconds[5m])))",
    "histogram_quantile(0.99, sum by (path) (rate(request_seconds[5m])))",
    "sum(rate(request_seconds[5m]))",
    "histogram_count(rate(request_seconds[5m]))",
    "histogram_fraction(0, 0.5, sum(increase(request_seconds[5m])))",
    'request_seconds{path="/7"}',
)


def counts(random: np.random.Generator, ticks: int) -> Float64Array:
    """float64 [ticks, buckets]: growing counts, most of them in the middle."""
    weights = np.exp(-(((np.arange(_BUCKETS) - random.uniform(15, 25)) / 6) ** 2))
    return np.cumsum(random.poisson(8 * weights, (ticks, _BUCKETS)), axis=0).astype(np.float64)


def requests(series: int, times_ms: Sequence[int]) -> Iterator[bytes]:
    """Bodies, a few ticks of all series in each."""
    random = np.random.default_rng(7)
    columns = [counts(random, len(times_ms)) for _ in range(series)]
    for start in range(0, len(times_ms), _TICKS_PER_REQUEST):
        ticks = range(start, min(start + _TICKS_PER_REQUEST, len(times_ms)))
        raws = [_series(number, column, times_ms, ticks) for number, column in enumerate(columns)]
        yield bytes(cramjam.snappy.compress_raw(pb.WriteV1(timeseries=raws).SerializeToString()))


def _series(number: int, column: Float64Array, times_ms: Sequence[int], ticks: range) -> bytes:
    labels = {"__name__": "request_seconds", "instance": f"host-{number % 10}", "path": f"/{number // 10}"}
    pairs = [pb.LabelPair(name=name, value=value).SerializeToString() for name, value in labels.items()]
    histograms = [_histogram(column[tick], times_ms[tick]).SerializeToString() for tick in ticks]
    return pb.SeriesV1(labels=pairs, histograms=histograms).SerializeToString()


def _histogram(row: Float64Array, time_ms: int) -> pb.Histogram:
    made = pb.Histogram(schema=_SCHEMA, zero_threshold=1e-9, sum=float(row.sum()) * 0.3, timestamp_ms=time_ms)
    made.count_int = int(row.sum())
    made.positive_spans.add(offset=_OFFSET, length=_BUCKETS)
    made.positive_deltas.extend(np.diff(row, prepend=0).astype(int).tolist())
    return made


def load(system: System, bodies: Sequence[bytes]) -> None:
    """Write all of them. Raises ServerError for what is not taken."""
    headers = {
        "Content-Encoding": "snappy",
        "Content-Type": "application/x-protobuf",
        "X-Prometheus-Remote-Write-Version": "0.1.0",
    }
    for body in bodies:
        _write(system, urllib.request.Request(f"{system.url}/api/v1/write", body, headers))


def _write(system: System, asked: urllib.request.Request) -> None:
    """As a sender does: what is busy is asked again."""
    for _ in range(60):
        try:
            with urllib.request.urlopen(asked, timeout=60):
                return
        except urllib.error.HTTPError as error:
            if error.code != 503:
                raise ServerError(f"{system.name} answered {error.code} to a write: {error.read()[:300]!r}") from error
            time.sleep(0.5)
    raise ServerError(f"{system.name} is busy for half a minute")


def ask(system: System, query: str, end_s: float, hours: float) -> float:
    """Seconds until the last byte of a graph of 240 points."""
    span_s = hours * 3600
    form = {"query": query, "start": end_s - span_s, "end": end_s, "step": max(15.0, span_s / 240)}
    began_s = time.perf_counter()
    with urllib.request.urlopen(f"{system.url}/api/v1/query_range?{urllib.parse.urlencode(form)}", timeout=300) as got:
        got.read()
    return time.perf_counter() - began_s


def run(options: argparse.Namespace) -> None:
    """Load all systems, ask, print."""
    print(f"{command_line()}\n{machine()}\n")
    end_ms = time.time_ns() // 1_000_000 // 60_000 * 60_000
    times_ms = list(range(end_ms - int(options.hours * 3_600_000) + 15_000, end_ms + 1, 15_000))
    bodies = list(requests(options.series, times_ms))
    samples = options.series * len(times_ms)
    print(f"{options.series} series x {len(times_ms)} ticks = {samples:,} histograms of {_BUCKETS} buckets")
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    running: list[System] = []
    rows = []
    try:
        for system in _systems(folder, options.series, len(times_ms)):
            running.append(system)
            with CpuMeter(system.start()) as meter:
                load(system, bodies)
                system.rest(meter)
            cpu_us = meter.busy_s / samples * 1e6
            rss_mib = system.running().rss_bytes() / (1 << 20)
            rows.append([system.name, f"{cpu_us:.1f}", f"{system.disk_bytes() / samples:.1f}", f"{rss_mib:.0f}"])
        print("\n" + markdown(["system", "CPU, us per histogram", "disk, bytes per histogram", "RSS MiB"], rows) + "\n")
        print(_asked(running, end_ms / 1000, options))
    finally:
        for system in running:
            system.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _systems(folder: Path, series: int, ticks: int) -> Iterator[System]:
    agents = max(1, series * (_BUCKETS + 4) // 300)  # so many as have as many numbers: what the hub's memory is set to
    yield Peerwatch(folder / "peerwatch", Workload(agents, ticks, time.time_ns() // 1_000_000, 15_000))
    for peer in find_peers("prometheus"):
        if _major(peer) >= 3:
            yield Prometheus(folder / peer.version, peer)
        else:
            print(f"{peer.name} is left out: it takes no native histograms by remote write")


def _major(peer: Peer) -> int:
    return int(peer.version.split(".")[0])


def _asked(running: Sequence[System], end_s: float, options: argparse.Namespace) -> str:
    rows = []
    for query in _QUERIES:
        times: dict[str, list[float]] = {system.name: [] for system in running}
        for _ in range(options.repeat + _WARM_UPS):
            for system in running:
                times[system.name].append(ask(system, query, end_s, options.hours))
        medians = [statistics.median(one[_WARM_UPS:]) * 1000 for one in times.values()]
        ratio = f"{medians[0] / min(medians[1:]):.1f}×" if medians[1:] else ""
        rows.append([f"`{query}`", *(f"{one:.1f}" for one in medians), ratio])
    return markdown(["milliseconds", *(system.name for system in running), "ours to the best"], rows)


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m bench natives", description=__doc__)
    parser.add_argument("--series", type=int, default=100)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--repeat", type=int, default=5)
    try:
        run(parser.parse_args(arguments))
    except ServerError as error:
        raise SystemExit(f"bench natives: {error}") from error
