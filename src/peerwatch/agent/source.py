"""Source: one thing that can be sampled. Reading: what one sampling gave."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from peerwatch.errors import PeerwatchError
from peerwatch.model import METRIC_NAME, Float64Array, Labels, MetricType, Series


class NoDataError(PeerwatchError):
    """This machine has nothing for a source to read: another kernel, another platform. Said once, not a fault."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a source saw at one moment: `values[i]` belongs to `series[i]`.

    A source hands out the identical tuple as long as nothing but values changed, so that everything after it
    can compare by identity. `job` and `target` are empty for this host itself.
    """

    series: tuple[Series, ...]
    values: Float64Array
    job: str = ""
    target: str = ""

    def __post_init__(self) -> None:
        if self.values.shape != (len(self.series),):
            raise ValueError(f"reading with {len(self.series)} series and values of shape {self.values.shape}")


def reading(series: tuple[Series, ...], values: Iterable[float]) -> Reading:
    """A reading of this host from plain numbers."""
    return Reading(series, np.fromiter(values, dtype=np.float64))


class Source(Protocol):
    """Something that can be sampled. Called from one thread at a time, never from two."""

    def collect(self, now_ms: int) -> Reading:
        """Sample now. May block; may raise anything: the caller isolates it. NoDataError: nothing to read here."""
        ...


@dataclass(frozen=True, slots=True)
class Family:
    """A metric's name with its meaning; makes the series that belong to it."""

    name: str
    help: str
    type: MetricType = MetricType.GAUGE

    def series(self, **labels: str) -> Series:
        """The series of this family with these labels."""
        return Series(Labels.of({**labels, METRIC_NAME: self.name}), self.type, self.help)


class Layout:
    """Remembers the series of the last seen shape, so that a tick makes no label objects. Owned by one source.

    Holds exactly one shape: a source whose devices changed makes its tuple anew and drops the old one.
    """

    __slots__ = ("_series", "_shape")

    def __init__(self) -> None:
        self._shape: Hashable = None
        self._series: tuple[Series, ...] | None = None

    def series(self, shape: Hashable, make: Callable[[], Iterable[Series]]) -> tuple[Series, ...]:
        """The tuple for `shape`: the identical one as last time if the shape is equal, else a new one from `make`."""
        if self._series is None or shape != self._shape:
            self._series = tuple(make())
            self._shape = shape
        return self._series
