"""Workload: what a node agent sends: 300 series per host, of the kinds that hosts have. Repeatable, no I/O."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from peerwatch.model import Float64Array, Int64Array, Labels, MetricType, Series

STEP_MS = 5000
SERIES = 300

Kind = Callable[[np.random.Generator, int, Float64Array], Float64Array]


def _constant(rng: np.random.Generator, ticks: int, load: Float64Array) -> Float64Array:
    return np.full(ticks, float(rng.integers(0, 2) * rng.integers(0, 1 << 33)))


def _rare_counter(rng: np.random.Generator, ticks: int, load: Float64Array) -> Float64Array:
    return rng.integers(0, 1000) + np.cumsum(rng.random(ticks) < 0.03).astype(float)


def _cpu_seconds(rng: np.random.Generator, ticks: int, load: Float64Array) -> Float64Array:
    share = np.clip(load * rng.lognormal(-1, 0.8) + rng.normal(0, 0.02, ticks), 0, 1)
    return np.round(rng.integers(10, 10**7) / 100 + np.cumsum(np.round(5 * share, 2)), 2)


def _time_counter(rng: np.random.Generator, ticks: int, load: Float64Array) -> Float64Array:
    steps = np.clip(rng.gamma(2, 0.05, ticks) * rng.lognormal(0, 1), 0, 5)
    return np.round(rng.integers(10, 10**6) / 1000 + np.cumsum(np.round(steps, 3)), 3)


def _byte_counter(rng: np.random.Generator, ticks: int, load: Float64Array) -> Float64Array:
    steps = np.floor(rng.lognormal(rng.uniform(2, 13), 0.5, ticks) * (load + 0.1))
    return np.floor(rng.integers(1, 1 << 36) + np.cumsum(steps))


def _sector_counter(rng: np.random.Generator, ticks: int, load: Float64Array) -> Float64Array:
    steps = np.floor(rng.lognormal(rng.uniform(1, 7), 0.7, ticks) * (rng.random(ticks) < 0.7))
    return 512 * np.floor(rng.integers(1, 1 << 30) + np.cumsum(steps))


def _memory(rng: np.random.Generator, ticks: int, load: Float64Array) -> Float64Array:
    pages = rng.integers(1 << 14, 1 << 22) + np.cumsum(np.round(rng.normal(0, rng.uniform(5, 300), ticks)))
    return 4096 * np.floor(np.abs(pages))


def _small_gauge(rng: np.random.Generator, ticks: int, load: Float64Array) -> Float64Array:
    return rng.poisson(rng.uniform(1, 60), ticks).astype(float)


def _slow_gauge(rng: np.random.Generator, ticks: int, load: Float64Array) -> Float64Array:
    return np.floor(1000 + np.cumsum(np.round(rng.normal(0, 0.4, ticks))))


def _percent(rng: np.random.Generator, ticks: int, load: Float64Array) -> Float64Array:
    return np.round(np.clip(100 * load * rng.uniform(0.2, 1.5) + rng.normal(0, 3, ticks), 0, 100), 1)


def _ratio(rng: np.random.Generator, ticks: int, load: Float64Array) -> Float64Array:
    return np.clip(load * rng.uniform(0.3, 1.2) + rng.normal(0, 0.02, ticks), 0, 1)


def _latency(rng: np.random.Generator, ticks: int, load: Float64Array) -> Float64Array:
    return rng.lognormal(-5, 0.3, ticks)


MIX: tuple[tuple[str, int, MetricType, Kind], ...] = (
    ("node_cpu_seconds_total", 20, MetricType.COUNTER, _cpu_seconds),
    ("node_disk_io_time_seconds_total", 10, MetricType.COUNTER, _time_counter),
    ("node_network_bytes_total", 37, MetricType.COUNTER, _byte_counter),
    ("node_disk_bytes_total", 6, MetricType.COUNTER, _sector_counter),
    ("node_memory_bytes", 30, MetricType.GAUGE, _memory),
    ("node_sockstat", 20, MetricType.GAUGE, _small_gauge),
    ("node_open_files", 14, MetricType.GAUGE, _slow_gauge),
    ("node_cpu_percent", 6, MetricType.GAUGE, _percent),
    ("app_ratio", 10, MetricType.GAUGE, _ratio),
    ("app_latency_seconds", 10, MetricType.GAUGE, _latency),
    ("node_errors_total", 37, MetricType.COUNTER, _rare_counter),
    ("node_info", 100, MetricType.GAUGE, _constant),
)


def schema(agent: int) -> tuple[Series, ...]:
    """The series of one agent, in the order in which it sends them."""
    host = {"instance": f"host-{agent:04d}", "job": "node"}
    return tuple(
        Series(Labels.of({"__name__": f"{name}_{item // 4}", "item": str(item % 4), **host}), kind, f"About {name}.")
        for name, count, kind, _ in MIX
        for item in range(count)
    )


def samples(agent: int, ticks: int, start_ms: int) -> tuple[Int64Array, Float64Array]:
    """Times int64 [ticks] with a little jitter, values float64 [SERIES, ticks]."""
    rng = np.random.default_rng(1000 + agent)
    jitter = np.abs(rng.normal(0, 1.5, ticks)).astype(np.int64)
    times = start_ms + int(rng.integers(0, STEP_MS)) + np.arange(ticks, dtype=np.int64) * STEP_MS + jitter
    load = 0.3 + 0.2 * np.sin(np.arange(ticks) / 500 + agent) + 0.1 * np.abs(rng.normal(0, 1, ticks))
    rows = [make(rng, ticks, load) for _, count, _, make in MIX for _ in range(count)]
    return times, np.stack(rows)
