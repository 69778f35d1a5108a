"""Kinds of metric: how the values of one series run over time, as a node exporter's do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from peerwatch.model import Float64Array

_PAGE = 4096.0
_SECTOR = 512.0


@dataclass(frozen=True, slots=True)
class Host:
    """What the series of one host have in common: its load (0 to 1) at every tick, and the tick's length."""

    load: Float64Array
    interval_s: float

    @property
    def ticks(self) -> int:
        """Number of samples of each series."""
        return int(self.load.size)


Kind = Callable[[Generator, Host], Float64Array]


def constant(random: Generator, host: Host) -> Float64Array:
    """A size or a limit; one in three is zero, as error counters of a healthy host are."""
    value = 0.0 if random.random() < 0.33 else float(random.integers(1, 1 << 33))
    return np.full(host.ticks, value)


def one(_: Generator, host: Host) -> Float64Array:
    """`up` of a host that is up."""
    return np.ones(host.ticks)


def cpu_seconds(random: Generator, host: Host) -> Float64Array:
    """A counter of CPU time in hundredths of a second."""
    share = np.clip(host.load * random.lognormal(-1, 0.8) + random.normal(0, 0.02, host.ticks), 0, 1)
    return np.round(random.integers(10, 10**7) / 100 + np.cumsum(np.round(host.interval_s * share, 2)), 2)


def io_seconds(random: Generator, host: Host) -> Float64Array:
    """A counter of time in milliseconds, by bursts."""
    busy = np.clip(random.gamma(2.0, 0.05, host.ticks) * random.lognormal(0, 1), 0, host.interval_s)
    return np.round(random.integers(10, 10**6) / 1000 + np.cumsum(np.round(busy, 3)), 3)


def events(random: Generator, host: Host) -> Float64Array:
    """A counter of packets, bytes or switches: each step differs."""
    steps = np.floor(random.lognormal(random.uniform(2, 13), 0.5, host.ticks) * (host.load + 0.1))
    return float(random.integers(1, 1 << 36)) + np.cumsum(steps)


def sectors(random: Generator, host: Host) -> Float64Array:
    """A counter of bytes on a disk, in whole sectors, resting three ticks in ten."""
    written = np.floor(random.lognormal(random.uniform(1, 7), 0.7, host.ticks)) * (random.random(host.ticks) < 0.7)
    return _SECTOR * (float(random.integers(1, 1 << 30)) + np.cumsum(written))


def rare(random: Generator, host: Host) -> Float64Array:
    """A counter that moves now and then."""
    moves = random.random(host.ticks) < 0.05 * random.random()
    return float(random.integers(0, 1000)) + np.cumsum(moves.astype(np.float64))


def memory(random: Generator, host: Host) -> Float64Array:
    """Bytes in whole pages, wandering."""
    steps = np.round(random.normal(0, random.uniform(5, 300), host.ticks))
    wandering: Float64Array = _PAGE * np.abs(float(random.integers(1 << 14, 1 << 22)) + np.cumsum(steps))
    return wandering


def shrinking(random: Generator, host: Host) -> Float64Array:
    """Free space of a quiet file system."""
    moves = random.random(host.ticks) < 0.02
    return _PAGE * (float(random.integers(1 << 16, 1 << 22)) - np.cumsum(moves.astype(np.float64)))


def level(random: Generator, host: Host) -> Float64Array:
    """A count that changes by one or stays: open files, free inodes."""
    found: Float64Array = 1000.0 + np.cumsum(np.round(random.normal(0, 0.4, host.ticks)))
    return found


def small(random: Generator, host: Host) -> Float64Array:
    """A small count without memory: running processes."""
    return random.poisson(random.uniform(1, 60), host.ticks).astype(np.float64)


def load_average(random: Generator, host: Host) -> Float64Array:
    """Two decimals, smoothed over a minute."""
    smooth = np.convolve(host.load * random.uniform(6, 10), np.ones(12) / 12, "same")
    found: Float64Array = np.round(smooth, 2).astype(np.float64)
    return found


def percent(random: Generator, host: Host) -> Float64Array:
    """One decimal."""
    noisy: Float64Array = 100 * host.load * random.uniform(0.2, 1.5) + random.normal(0, 3, host.ticks)
    limited: Float64Array = np.clip(noisy, 0, 100)
    return np.round(limited, 1)


def ratio(random: Generator, host: Host) -> Float64Array:
    """A quotient: every bit of the mantissa is used."""
    noisy: Float64Array = np.clip(host.load * random.uniform(0.3, 1.2) + random.normal(0, 0.02, host.ticks), 0, 1)
    return noisy


def latency(random: Generator, host: Host) -> Float64Array:
    """A measured duration: every bit of the mantissa is used and nothing repeats."""
    return random.lognormal(-5, 0.3, host.ticks)


def temperature(random: Generator, host: Host) -> Float64Array:
    """Half degrees."""
    halves: Float64Array = np.round(2 * (45 + 5 * host.load + np.cumsum(random.normal(0, 0.05, host.ticks))))
    return halves / 2


def now(random: Generator, host: Host) -> Float64Array:
    """The clock in seconds, with microseconds."""
    return 1.7e9 + np.arange(host.ticks) * host.interval_s + random.random(host.ticks) / 1e6
