"""Samples to ask about: two hours of a small fleet with everything that makes queries hard."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from peerwatch.model import STALE, BoolArray, Float64Array, Int64Array, Labels

START_MS = 1_699_999_200_000
"""A full two-hour mark in the past: Prometheus takes nothing from the future, and it drops by age of newer data."""

SPAN_MS = 7_200_000
END_MS = START_MS + SPAN_MS
SCRAPE_MS = 15_000
BOUNDS = ("0.05", "0.1", "0.5", "1", "2.5", "+Inf")

Column = tuple[Labels, Int64Array, Float64Array]


def columns() -> list[Column]:
    """Every series, sorted by labels. The same at each call."""
    found = [column for column in _generated(np.random.default_rng(20_260_101)) if len(column[1])]
    return sorted(found, key=lambda column: column[0])


def _generated(random: np.random.Generator) -> Iterator[Column]:
    for number, (job, instance) in enumerate([("api", "a:1"), ("api", "b:1"), ("db", "a:2"), ("db", "c:2")]):
        times = _scrapes(random, number)
        target = {"job": job, "instance": instance}
        yield from _up_and_info(times, target, number)
        yield from _counters(random, times, target)
        yield from _gauges(random, times, target, number)
        yield from _histograms(random, times, target, number)
    yield from _loners(random)


def _scrapes(random: np.random.Generator, number: int) -> Int64Array:
    """Times of one target: jitter on two of four, a few scrapes lost, one long outage."""
    times = START_MS + number * 1_371 + np.arange(0, SPAN_MS, SCRAPE_MS, dtype=np.int64)
    if number % 2:
        times = times + random.integers(-400, 400, len(times))
    kept = random.random(len(times)) > 0.03
    if number == 2:
        kept &= ~((times > START_MS + 2_400_000) & (times < START_MS + 3_300_000))
    return times[kept]


def _up_and_info(times: Int64Array, target: dict[str, str], number: int) -> Iterator[Column]:
    yield Labels.of(__name__="up", **target), times, np.ones(len(times))
    change = START_MS + (number + 1) * 1_200_000  # an update: the old version ends, the new one begins
    for version, alive in (("1.0", times < change), ("1.1", times >= change)):
        labels = Labels.of(__name__="build_info", version=version, branch="main", **target)
        yield labels, *_ended(times, alive, np.ones(len(times)))
    zone = {"zone": "north" if target["job"] == "api" else "south"}
    yield Labels.of(__name__="target_info", **zone, **target), times, np.ones(len(times))


def _ended(times: Int64Array, alive: BoolArray, values: Float64Array) -> tuple[Int64Array, Float64Array]:
    """The samples while alive, and a stale marker at the first scrape after each stretch of them."""
    kept = alive.copy()
    ends = np.flatnonzero(kept[:-1] & ~kept[1:]) + 1
    marked = values.copy()
    marked[ends] = STALE
    kept[ends] = True
    return times[kept], marked[kept]


def _counters(random: np.random.Generator, times: Int64Array, target: dict[str, str]) -> Iterator[Column]:
    for code in ("200", "404", "500"):
        steps = random.integers(0, 20, len(times)).astype(np.float64)
        labels = Labels.of(__name__="requests_total", code=code, **target)
        yield labels, times, _with_resets(random, steps)
    fractions = random.random(len(times)) * 1e3
    yield Labels.of(__name__="cpu_seconds_total", **target), times, _with_resets(random, fractions)


def _with_resets(random: np.random.Generator, steps: Float64Array) -> Float64Array:
    values = np.cumsum(steps)
    for at in sorted(random.integers(1, len(steps), 2).tolist()):
        values[at:] -= values[at] - steps[at]
    return values


def _gauges(random: np.random.Generator, times: Int64Array, target: dict[str, str], number: int) -> Iterator[Column]:
    count = len(times)
    temperature = 20 * np.sin(np.arange(count) / 40) + random.normal(0, 1, count)
    yield Labels.of(__name__="temperature", **target), times, temperature
    memory = 1e9 + np.cumsum(random.integers(-4096, 4097, count)).astype(np.float64)
    yield Labels.of(__name__="memory_bytes", **target), times, memory
    odd = random.normal(0, 5, count)
    odd[random.random(count) < 0.2] = np.nan
    odd[random.random(count) < 0.05] = np.inf
    odd[random.random(count) < 0.05] = -np.inf
    yield Labels.of(__name__="odd", **target), times, odd
    state = random.integers(0, 3, count).astype(np.float64)
    yield Labels.of(__name__="state", **target), times, state
    alive = (np.arange(count) // (20 + 7 * number)) % 2 == 0  # it comes and goes, each time with a stale marker
    yield Labels.of(__name__="flapping", **target), *_ended(times, alive, state + 1)
    sparse = slice(number, None, 23)  # every six minutes: longer than the lookback
    yield Labels.of(__name__="sparse", **target), times[sparse], temperature[sparse]


def _histograms(
    random: np.random.Generator, times: Int64Array, target: dict[str, str], number: int
) -> Iterator[Column]:
    """Classic ones; the last target's is broken: not monotonic, and one bound is no number."""
    events = random.poisson(3, (len(BOUNDS), len(times)))
    buckets = np.cumsum(np.cumsum(events, axis=0), axis=1).astype(np.float64)
    if number == 3:
        buckets[2] *= 0.4
        yield Labels.of(__name__="latency_seconds_bucket", le="odd", **target), times, buckets[0]
    for bound, values in zip(BOUNDS, buckets, strict=True):
        yield Labels.of(__name__="latency_seconds_bucket", le=bound, **target), times, values
    yield Labels.of(__name__="latency_seconds_count", **target), times, buckets[-1]
    yield Labels.of(__name__="latency_seconds_sum", **target), times, buckets[-1] * 0.31


def _loners(random: np.random.Generator) -> Iterator[Column]:
    """Series without a target: one per job, extremes, a name that needs quotes, series that begin late or end early."""
    every_minute = START_MS + np.arange(0, SPAN_MS, 60_000, dtype=np.int64)
    count = len(every_minute)
    for job, limit in (("api", 15.0), ("db", -3.5)):
        yield Labels.of(__name__="limit", job=job, owner=f"team {job}"), every_minute, np.full(count, limit)
    extremes = (1e300, -1e300, 2.3e-308, 0.0, -0.0, 9_007_199_254_740_993.0, 0.1)  # Go's ln is wrong below normal
    for at, value in enumerate(extremes):
        yield Labels.of(__name__="extreme", n=str(at)), every_minute, np.full(count, value)
    yield Labels.of({"__name__": "odd.name", "odd label": "a b", "päth": "/ü"}), every_minute, random.random(count)
    yield Labels.of(__name__="boot_time_seconds", instance="a:1"), every_minute, np.linspace(1.6e9, 1.7e9, count)
    late, early = slice(count // 2, None), slice(None, count // 3)
    yield Labels.of(__name__="brief", kind="late"), every_minute[late], random.normal(0, 1, count)[late]
    yield Labels.of(__name__="brief", kind="early"), every_minute[early], random.normal(0, 1, count)[early]
    yield Labels.of(__name__="once"), every_minute[60:61], np.array([42.0])


def metrics(found: Sequence[Column]) -> list[str]:
    """All names, sorted."""
    return sorted({labels.metric for labels, _, _ in found})
