"""Signals: what a machine that does not exist measures. Each depends on its name and the time only."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np

from peerwatch.dashboard.panels import PANELS, Query
from peerwatch.model import Float64Array, Int64Array, Labels

START_MS = 1_750_000_000_000
GIB = 2.0**30
MIB = 2.0**20

Signal = Callable[[Int64Array], Float64Array]
SeriesList = list[tuple[Labels, Signal]]


def wave(name: str, low: float, high: float, *, noise: float = 0.25, slowness: float = 1.0) -> Signal:
    """Values between `low` and `high` that depend on the name and the time only: a machine's day in small.

    Slow swings, jitter per 5 s, and now and then a minute of work. `noise` 0 and a high `slowness` make it calm.
    """
    seed = zlib.crc32(name.encode()) % 9973

    def signal(times_ms: Int64Array) -> Float64Array:
        seconds = times_ms / 1000.0 / slowness
        periods = ((271.0, 0.10), (613.0, 0.12), (1777.0, 0.13), (21_600.0, 0.15))
        swing = sum(size * np.sin(seconds * 6.2832 / period + seed * size) for period, size in periods)
        jitter = (_chance(times_ms // 5000, seed) - 0.5) * noise
        burst = np.where(_chance(times_ms // 45_000, seed + 7) > 0.9, noise, 0.0)
        return np.asarray(low + (high - low) * np.clip(0.34 + swing + jitter + burst, 0.0, 1.0), dtype=np.float64)

    return signal


def _chance(ticks: Int64Array, seed: int) -> Float64Array:
    """A number in [0, 1) for each tick, the same each time it is asked."""
    mixed = (ticks.astype(np.uint64) + np.uint64(seed * 7919)) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    return np.asarray((mixed * np.uint64(0xBF58476D1CE4E5B9) >> np.uint64(40)) / 2.0**24, dtype=np.float64)


def averaged(signal: Signal, step_ms: int) -> Signal:
    """The mean over the step before each time, as rate and avg_over_time give it."""

    def mean(times_ms: Int64Array) -> Float64Array:
        parts = [signal(times_ms - step_ms * part // 12) for part in range(12)]
        return np.asarray(np.mean(parts, axis=0), dtype=np.float64)

    return mean


def constant(value: float) -> Signal:
    """The same at every time."""
    return lambda times_ms: np.full(len(times_ms), value)


_MODES = {"user": 38.0, "system": 14.0, "iowait": 9.0, "softirq": 3.0, "irq": 0.6, "nice": 2.0, "steal": 0.8}
_STATES = {
    "established": (120, 260), "time_wait": (20, 140), "listen": (31, 31), "close_wait": (0, 9), "syn_sent": (0, 3),
    "fin_wait1": (0, 0), "fin_wait2": (0, 6), "syn_recv": (0, 0), "last_ack": (0, 0), "closing": (0, 0),
    "close": (0, 0),
}  # fmt: skip
_DISKS = {"/": 61.5, "/home": 38.2, "/var/lib/data": 82.9}
_LOADS = {"1 min": 1, "5 min": 4, "15 min": 10}


def _load(instance: str, legend: str) -> Signal:
    """The same work, smoothed the longer the more."""
    work = wave(instance + "load", 0.3, 6.0, noise=0.12)

    def signal(times_ms: Int64Array) -> Float64Array:
        back = [work(times_ms - 25_000 * step) for step in range(_LOADS[legend])]
        return np.asarray(np.mean(back, axis=0), dtype=np.float64)

    return signal


def _memory(instance: str, legend: str) -> Signal:
    """Used and cached swing slowly; what is free is the rest of 32 GiB."""
    used = wave(instance + "used", 9 * GIB, 16 * GIB, noise=0.02, slowness=3)
    cached = wave(instance + "cache", 6 * GIB, 12 * GIB, noise=0.01, slowness=6)
    if legend == "free":
        return lambda times_ms: 32 * GIB - used(times_ms) - cached(times_ms)
    return cached if legend == "cache" else used


def _age(times_ms: Int64Array) -> Float64Array:
    return np.asarray(times_ms / 1000.0 - seen(times_ms), dtype=np.float64)


def series_of(instance: str, panel: str, query: Query) -> SeriesList:
    """The series of one query; every branch is one line of the panel table."""

    def waves(label: str, ranges: dict[str, tuple[float, float]]) -> SeriesList:
        return [
            (Labels.of({label: value}), wave(instance + panel + query.legend + value, low, high))
            for value, (low, high) in ranges.items()
        ]

    def one(low: float, high: float, noise: float = 0.25) -> SeriesList:
        return [(Labels(), wave(instance + query.legend, low, high, noise=noise))]

    if panel == "cpu":
        return waves("mode", {mode: (top * 0.08, top) for mode, top in _MODES.items()})
    if panel == "network":
        return waves("device", {"eth0": (2 * MIB, 48 * MIB), "eth1": (0.2 * MIB, 6 * MIB)})
    if panel == "disk_io":
        return waves("device", {"nvme0n1": (1 * MIB, 90 * MIB), "sda": (0.1 * MIB, 12 * MIB)})
    if panel == "tcp":
        return [
            (labels, _whole(signal))
            for labels, signal in waves("state", {state: (low, high) for state, (low, high) in _STATES.items()})
        ]
    if panel == "disk":
        return [(Labels.of(mountpoint=mount), constant(used)) for mount, used in _DISKS.items()]
    if panel == "load":
        return [(Labels(), constant(8.0) if query.legend == "cores" else _load(instance, query.legend))]
    if panel == "swap":
        return [(Labels(), constant(4 * GIB))] if query.legend == "total" else one(0.3 * GIB, 0.5 * GIB, noise=0.0)
    if panel == "memory":
        return [(Labels(), _memory(instance, query.legend))]
    if panel == "age":
        return [(Labels(), _age)]
    return [(Labels(), _tile(instance, query.legend))]


def _tile(instance: str, legend: str) -> Signal:
    if legend in ("cpu", "rx", "tx", "established", "tcp"):
        return _total(instance, legend)
    known: dict[str, Signal] = {
        "cores": constant(8.0),
        "memory_used": _memory(instance, "used"),
        "memory_total": constant(32 * GIB),
        "swap_used": wave(instance + "used", 0.3 * GIB, 0.5 * GIB, noise=0.0),
        "swap_total": constant(4 * GIB),
        "load1": _load(instance, "1 min"),
        "disk": constant(max(_DISKS.values())),
        "age": _age,
        "uptime": constant(1_234_567.0),
    }
    return known[legend]


def _total(instance: str, legend: str) -> Signal:
    """The sum of what a panel shows in parts."""
    panel, position = {"cpu": ("cpu", 0), "rx": ("network", 0), "tx": ("network", 1)}.get(legend, ("tcp", 0))
    query = next(found for found in PANELS if found.id == panel).queries[position]
    parts = series_of(instance, panel, query)
    if legend == "established":
        parts = [part for part in parts if part[0].get("state") == "established"]
    return lambda times_ms: np.asarray(np.sum([signal(times_ms) for _, signal in parts], axis=0), dtype=np.float64)


def seen(times_ms: Int64Array) -> Float64Array:
    """Unix seconds of the newest sample: one every 5 s, shown 0.2 s after it was taken."""
    return np.asarray(times_ms // 5000 * 5.0 - 0.2, dtype=np.float64)


def _whole(signal: Signal) -> Signal:
    return lambda times_ms: np.asarray(np.round(signal(times_ms)), dtype=np.float64)
