"""Native histograms to ask about: beside the numbers of `material`, with everything that makes them hard."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from peerwatch.model import CUSTOM_SCHEMA, KEY_BIAS, STALE, Float64Array, Int64Array, Labels
from peerwatch.model.histograms import GAUGE
from tests.differential.material import SCRAPE_MS, SPAN_MS, START_MS
from tests.model.native import Native

NativeColumn = tuple[Labels, Int64Array, list[Native]]

_END = Native(sum=float(STALE))
_SCHEMAS = (3, 3, 1, -1)
_BOUNDS = ((0.1, 0.5, 1.0, 2.5), (0.1, 0.5, 1.0, 2.5), (0.1, 1.0, 5.0), (-1.0, 0.5, 10.0))


def native_columns() -> list[NativeColumn]:
    """Every series, sorted by labels. The same at each call."""
    found = list(_generated(np.random.default_rng(20_261_128)))
    return sorted(found, key=lambda column: column[0])


def _generated(random: np.random.Generator) -> Iterator[NativeColumn]:
    for number, (job, instance) in enumerate([("api", "a:1"), ("api", "b:1"), ("db", "a:2"), ("db", "c:2")]):
        times = START_MS + number * 1_371 + np.arange(0, SPAN_MS, SCRAPE_MS, dtype=np.int64)
        times = times[random.random(len(times)) > 0.03]
        target = {"job": job, "instance": instance}
        yield Labels.of(__name__="request_seconds", **target), times, _counters(random, len(times), number)
        yield Labels.of(__name__="size_kilobytes", **target), times, _customs(random, len(times), number)
        yield Labels.of(__name__="queue_seconds", **target), times, _gauges(random, len(times))
    yield Labels.of(__name__="ended_seconds", job="api"), *_ended(random)


def _observed(random: np.random.Generator, count: int, spread: float) -> Float64Array:
    return random.normal(0.3, spread, count) * 4.0


def _counters(random: np.random.Generator, count: int, number: int) -> list[Native]:
    """Counters with a zero bucket that are reset twice; the last one's resolution falls on the way.

    All have observations on both sides of zero: Prometheus's chunks add empty buckets, and what it makes of a zero
    bucket depends on whether there is any bucket on the other side. All grow at every scrape: to changes() a histogram
    that did not is another one where its chunk has other empty buckets. And all zero buckets are narrow: Prometheus
    counts some observations twice where it makes one wider and its schema coarser at once.
    """
    schema, width = _SCHEMAS[number], 0.001
    resets = set(random.integers(1, count, 2).tolist())
    found, buckets, zero, total = list[Native](), _both_sides(schema), 0.0, 0.0
    for at in range(count):
        if at in resets or (number == 3 and at == count // 2):
            schema = schema - 1 if number == 3 and at == count // 2 else schema
            buckets, zero, total = _both_sides(schema), 0.0, 0.0
        for value in _observed(random, int(random.integers(1, 5)), 0.4).tolist():
            total += value
            if abs(value) <= width:
                zero += 1.0
                continue
            key = _index(abs(value), schema) + KEY_BIAS
            key = key if value > 0 else -key
            buckets[key] = buckets.get(key, 0.0) + 1.0
        kept = {key: value for key, value in buckets.items() if abs(key) - KEY_BIAS > _index(width, schema)}
        zero += sum(buckets.values()) - sum(kept.values())
        buckets = kept
        found.append(Native(schema, 0, zero + sum(kept.values()), total, zero, width, tuple(sorted(kept.items()))))
    return found


def _both_sides(schema: int) -> dict[int, float]:
    key = _index(1.5, schema) + KEY_BIAS
    return {key: 1.0, -key: 1.0}


def _index(value: float, schema: int) -> int:
    return int(np.ceil(np.log2(value) * 2.0**schema))


def _customs(random: np.random.Generator, count: int, number: int) -> list[Native]:
    """Counters with custom bounds, not the same ones everywhere."""
    bounds = _BOUNDS[number]
    reset = int(random.integers(1, count))
    counts, total, found = np.zeros(len(bounds) + 1), 0.0, list[Native]()
    for at in range(count):
        if at == reset:
            counts, total = np.zeros(len(bounds) + 1), 0.0
        for value in _observed(random, int(random.integers(1, 4)), 0.6).tolist():
            counts[np.searchsorted(bounds, value)] += 1
            total += value
        buckets = tuple((KEY_BIAS + place, float(size)) for place, size in enumerate(counts) if size)
        found.append(Native(CUSTOM_SCHEMA, 0, float(counts.sum()), total, buckets=buckets, bounds=bounds))
    return found


def _gauges(random: np.random.Generator, count: int) -> list[Native]:
    found = []
    for _ in range(count):
        values = np.abs(_observed(random, int(random.integers(0, 6)), 1.0)) + 0.01
        keys, sizes = np.unique([_index(value, 0) + KEY_BIAS for value in values.tolist()], return_counts=True)
        buckets = tuple(zip(keys.astype(int).tolist(), sizes.astype(float).tolist(), strict=True))
        found.append(Native(0, GAUGE, float(len(values)), float(values.sum()), buckets=buckets))
    return found


def _ended(random: np.random.Generator) -> tuple[Int64Array, list[Native]]:
    """It comes and goes, each time with a stale marker."""
    times = START_MS + np.arange(0, SPAN_MS, SCRAPE_MS, dtype=np.int64)
    alive = (np.arange(len(times)) // 25) % 2 == 0
    samples, kept = _counters(random, len(times), 0), list[int]()
    for at in range(len(times)):
        if alive[at]:
            kept.append(at)
        elif alive[at - 1]:
            samples[at] = _END
            kept.append(at)
    return times[kept], [samples[at] for at in kept]
