"""Bench of the store: append, flush, compaction, reads. `python bench/store.py --help`; prints medians.

CPU is that of the whole process. Batches are made beforehand; decoding and verifying them is not the store's work.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from bench.workload import Workload
from peerwatch.model import EnvelopeEntry, Matcher, MatchOp, Part, SampleMatrix, Series
from peerwatch.store.config import StoreConfig
from peerwatch.store.store import Store
from peerwatch.telemetry import CollectorRegistry, configure_logging

HOUR_MS = 3_600_000
START_MS = 1_750_000_000_000 // (2 * HOUR_MS) * (2 * HOUR_MS)
GROUP = 50


class BenchClock:
    """Follows the data."""

    now = START_MS

    def now_ms(self) -> int:
        return self.now

    def monotonic_s(self) -> float:
        return self.now / 1000


def _append_all(store: Store, groups: list[list[EnvelopeEntry]]) -> None:
    for group in groups:
        store.append(group)


def cpu(work: Callable[[], object]) -> float:
    """CPU seconds of the process."""
    before = time.process_time()
    work()
    return time.process_time() - before


def wall(work: Callable[[], object], times: int = 5) -> float:
    """Median milliseconds."""
    spent = []
    for _ in range(times):
        before = time.perf_counter()
        work()
        spent.append((time.perf_counter() - before) * 1000)
    return statistics.median(spent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=100)
    parser.add_argument("--hours", type=int, default=2)
    parser.add_argument("--ticks", type=int, default=2, help="ticks per entry")
    given = parser.parse_args()
    configure_logging("warning", json=False)
    folder = Path(tempfile.mkdtemp(prefix="bench-store-"))
    try:
        run(folder, given.agents, given.hours, given.ticks)
    finally:
        shutil.rmtree(folder)


def run(
    folder: Path,
    agents: int,
    hours: int,
    ticks: int,
) -> None:
    clock = BenchClock()
    store = Store.open(
        folder, StoreConfig(), clock=clock, decode_envelope=lambda raw, context: [], registry=CollectorRegistry()
    )
    load = Workload(agents, hours * HOUR_MS // 5_000, START_MS + hours * HOUR_MS)
    per_flush = 600_000 // load.interval_ms
    flushes = hours * 6

    def schema(agent: int) -> tuple[Series, ...]:
        identity = {"instance": load.name(agent), "job": "node"}
        return tuple(Series(one.labels.with_(identity), one.type) for one in load.series)

    registering = cpu(lambda: [store.layout(schema(agent)) for agent in range(agents)])
    layouts = [store.layout(schema(agent)) for agent in range(agents)]
    data = [load.matrix(agent) for agent in range(agents)]
    raw = np.random.default_rng(1).bytes(2300)  # what such a batch takes on the wire
    append, flush, count, entries_made = [], [], 0, 0
    for part in range(flushes):
        entries = []
        for at in range(part * per_flush, (part + 1) * per_flush, ticks):
            for agent, (times, values) in enumerate((one.times_ms, one.values) for one in data):
                matrix = SampleMatrix(times[at : at + ticks].copy(), np.ascontiguousarray(values[:, at : at + ticks]))
                seq = at // ticks
                entries.append(EnvelopeEntry(b"%034d" % agent, 1, seq, raw, (Part(layouts[agent], matrix),)))
                count += matrix.values.size
        groups = [entries[at : at + GROUP] for at in range(0, len(entries), GROUP)]
        append.append(cpu(partial(_append_all, store, groups)) / len(entries))
        entries_made += len(entries)
        clock.now = START_MS + (part + 1) * 600_000
        flush.append(cpu(store.flush))
    flushed = store.stats()
    clock.now += 2 * HOUR_MS
    compaction = cpu(lambda: [None for _ in iter(store.compact, False)])
    stats = store.stats()
    million = count / 1e6
    print(f"{agents} agents x {len(layouts[0].series)} series x {hours} h, {ticks} ticks: {million:.1f} M samples")
    print(f"register a layout    {registering / agents * 1e3:8.2f} ms CPU")
    print(f"append               {statistics.median(append) * 1e6:8.2f} us CPU per entry (median of {flushes})")
    print(f"append               {sum(append) / len(append) * entries_made / million:8.4f} CPU-s per M samples")
    print(f"flush                {sum(flush) / million:8.4f} CPU-s per M samples")
    print(f"compaction           {compaction / million:8.4f} CPU-s per M samples")
    print(f"after flush          {flushed.disk_bytes / count:8.3f} bytes per sample in {flushed.blocks} blocks")
    blocks = sum(path.stat().st_size for path in (folder / "blocks").iterdir())
    print(f"after compaction     {blocks / count:8.3f} bytes per sample in {stats.blocks} blocks")
    print(f"all files            {stats.disk_bytes / count:8.3f} bytes per sample")
    reads(store, layouts[0].series, hours)
    store.close()
    reopen(folder, clock)
    print(
        f"peak memory          {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:8.0f} MB (batches included)"
    )


def reads(store: Store, series: tuple[Series, ...], hours: int) -> None:
    end = START_MS + hours * HOUR_MS
    host = Matcher("instance", MatchOp.EQUAL, series[0].labels.get("instance"))
    metric = series[-1].labels.metric
    one = [Matcher("__name__", MatchOp.EQUAL, metric), host]
    for text, matchers, start in (
        ("1 series, last hour", one, end - HOUR_MS),
        ("1 series, all", one, START_MS),
        ("1 metric of all hosts, last hour", one[:1], end - HOUR_MS),
        ("1 metric of all hosts, all", one[:1], START_MS),
        ("10 metrics of all hosts, all", [_any_of(series)], START_MS),
        ("all series of 1 host, all", [host], START_MS),
    ):
        found = store.select(matchers, start, end)
        took = wall(lambda matchers=matchers, start=start: store.select(matchers, start, end))  # type: ignore[misc]
        print(f"select {text:34s} {took:8.2f} ms  {len(found.labels)} series, {len(found.values) / 1e6:.2f} M samples")


def _any_of(series: tuple[Series, ...]) -> Matcher:
    names = list(dict.fromkeys(one.labels.metric for one in series))[:10]
    return Matcher("__name__", MatchOp.REGEX, "|".join(names))


def reopen(folder: Path, clock: BenchClock) -> None:
    def again() -> None:
        Store.open(
            folder, StoreConfig(), clock=clock, decode_envelope=lambda raw, context: [], registry=CollectorRegistry()
        ).close()

    print(f"reopen and close     {wall(again, 3):8.1f} ms")


if __name__ == "__main__":
    main()
