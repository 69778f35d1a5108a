"""Batch: what an agent sends. A matrix per target, never a list of samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from peerwatch.model.arrays import BoolArray, Float64Array, Int64Array
from peerwatch.model.series import Series


class Matrix(Protocol):
    """A SampleMatrix, or what becomes one when its values are asked for."""

    @property
    def times_ms(self) -> Int64Array:
        """See SampleMatrix."""
        ...

    @property
    def values(self) -> Float64Array:
        """See SampleMatrix."""
        ...

    @property
    def presence(self) -> BoolArray | None:
        """See SampleMatrix."""
        ...

    @property
    def rows(self) -> int:
        """How many series."""
        ...

    @property
    def sample_count(self) -> int:
        """How many cells are present."""
        ...


@dataclass(frozen=True, slots=True)
class SampleMatrix:
    """n series x k ticks: `values[i, j]` is series i at `times_ms[j]`.

    times_ms: int64 [k], UTC milliseconds, strictly increasing. values: float64 [n, k], C order; the stale NaN is data.
    presence: bool [n, k], or None when every cell is there; where it is False the value is meaningless (0.0 by custom).
    """

    times_ms: Int64Array
    values: Float64Array
    presence: BoolArray | None = None

    @property
    def rows(self) -> int:
        """How many series."""
        return len(self.values)

    @property
    def sample_count(self) -> int:
        """How many cells are present."""
        return int(self.values.size if self.presence is None else self.presence.sum())


@dataclass(frozen=True, slots=True)
class BatchBlock:
    """One (target, interval): all its series share their timestamps, as in a scrape.

    `job` and `target` name what was sampled; empty means this host itself. They hold no identity: who speaks is in
    the envelope, and the collector adds `instance`.
    """

    series: tuple[Series, ...]
    matrix: SampleMatrix
    job: str = ""
    target: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """What travels in one envelope."""

    blocks: tuple[BatchBlock, ...]

    @property
    def sample_count(self) -> int:
        """Samples in all blocks."""
        return sum(block.matrix.sample_count for block in self.blocks)
