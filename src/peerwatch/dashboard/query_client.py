"""QueryClient: all that the dashboard knows of PromQL and of the store behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from peerwatch.model import Float64Array, Int64Array, Labels


@dataclass(frozen=True, slots=True)
class Vector:
    """The answer at one instant: `values[i]` belongs to `labels[i]`. A scalar is one value without labels."""

    labels: Sequence[Labels]
    values: Float64Array


@dataclass(frozen=True, slots=True)
class Matrix:
    """The answer over a range: `values[i, j]` is series i at `times_ms[j]`; NaN where the series has no value."""

    labels: Sequence[Labels]
    times_ms: Int64Array
    values: Float64Array


class QueryClient(Protocol):
    """Evaluates PromQL without blocking the event loop. Errors are QueryError; cancelling a call gives it up."""

    async def instant(self, expr: str, time_ms: int) -> Vector:
        """The value of `expr` at `time_ms` (UTC milliseconds)."""
        ...

    async def range(self, expr: str, start_ms: int, end_ms: int, step_ms: int) -> Matrix:
        """The values of `expr` at start, start + step, … up to `end_ms`; the grid is complete, also when empty."""
        ...

    async def changed(self, version: int) -> int:
        """Wait until there is data newer than `version`; the new version. 0 is older than everything."""
        ...
