"""Limits: what one query may cost, and the budget that it draws on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from peerwatch.errors import CancelledQueryError, LimitError
from peerwatch.model import Clock


class Cancellation(Protocol):
    """Tells whether the client is still there; a `threading.Event` will do."""

    def is_set(self) -> bool:
        """True once nobody waits for the answer any more."""
        ...


class QueryTimeoutError(LimitError):
    """The query ran longer than its deadline allows."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Prometheus's defaults, so that a query that works there works here."""

    max_samples: int = 50_000_000  # 800 MB of columns; also the largest intermediate result, in cells
    max_points: int = 11_000  # per series: a week at one-minute steps
    timeout_s: float = 120.0


@dataclass(frozen=True, slots=True)
class Budget:
    """What is left for one query. Shared by everything that works on it; only reading, so no lock is needed."""

    limits: Limits
    clock: Clock
    deadline_s: float
    cancelled: Cancellation | None = None

    @classmethod
    def start(cls, limits: Limits, clock: Clock, cancelled: Cancellation | None = None) -> Budget:
        """A budget whose time runs from now."""
        return cls(limits, clock, clock.monotonic_s() + limits.timeout_s, cancelled)

    def check(self) -> None:
        """Raise CancelledQueryError or QueryTimeoutError. Cheap: call it between steps of work."""
        if self.cancelled is not None and self.cancelled.is_set():
            raise CancelledQueryError("query was canceled in expression evaluation")
        if self.clock.monotonic_s() > self.deadline_s:
            raise QueryTimeoutError(f"query timed out in expression evaluation, limit {self.limits.timeout_s:g} s")

    def cells(self, series_count: int, step_count: int) -> None:
        """Raise LimitError before a result of this size is made."""
        self.check()
        if series_count * step_count > self.limits.max_samples:
            raise LimitError(
                "query processing would load too many samples into memory in query execution: "
                f"{series_count} series x {step_count} steps, limit {self.limits.max_samples}"
            )
