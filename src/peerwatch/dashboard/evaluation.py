"""Evaluation: panels and time spans in, plain numbers by legend out. One lives for one tick or one request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from copy import copy
from dataclasses import dataclass, field
from typing import TypeVar

import anyio
import numpy as np

from peerwatch.dashboard.config import Config
from peerwatch.dashboard.panels import Panel, Query, legend
from peerwatch.dashboard.query_client import Matrix, QueryClient, Vector
from peerwatch.dashboard.timespan import Timespan
from peerwatch.errors import PeerwatchError
from peerwatch.model import Float64Array
from peerwatch.telemetry import CollectorRegistry, Counter, get_logger

Point = dict[str, float | None]
"""One query at one time: the value of each legend."""

Line = dict[str, list[float | None]]
"""One query over a range: the values of each legend on the grid; None where there is none."""

_Answer = TypeVar("_Answer", Vector, Matrix)
_log = get_logger("dashboard")


@dataclass(frozen=True, slots=True)
class PanelPoint:
    """A panel at one time: `points` in the order of its queries, or the reason why there are none."""

    points: list[Point]
    error: str = ""


@dataclass(frozen=True, slots=True)
class PanelHistory:
    """A panel over a range. `hidden` counts the series beyond the limit per query."""

    lines: list[Line]
    hidden: int = 0
    error: str = ""


class Evaluator:
    """Runs queries with a deadline, `parallel_queries` at a time, and turns a failing one into a message.

    `failures` counts the failing ones: one bad panel must not take the page with it.
    """

    def __init__(self, config: Config, client: QueryClient, registry: CollectorRegistry) -> None:
        self.config = config
        self.client = client
        self._limiter = anyio.Semaphore(config.parallel_queries)
        self._failures = Counter(
            "peerwatch_dashboard_query_failures_total", "Queries of the dashboard that failed.", registry=registry
        )

    def beside(self) -> Evaluator:
        """One with as many places of its own, so that neither waits for the other; what fails is counted together."""
        twin = copy(self)
        twin._limiter = anyio.Semaphore(self.config.parallel_queries)
        return twin

    async def ask(self, call: Callable[[], Awaitable[_Answer]]) -> _Answer | str:
        """The answer of one query, or why there is none."""
        try:
            async with self._limiter:
                with anyio.fail_after(self.config.query_deadline_s):
                    return await call()
        except TimeoutError:
            reason = f"no answer within {self.config.query_deadline_s:g} s; try a shorter range"
        except PeerwatchError as error:
            reason = str(error)
        except Exception as error:  # one failing panel must not stop the others
            _log.exception("dashboard query failed")
            reason = f"internal error: {type(error).__name__}"
        self._failures.inc()
        return reason


@dataclass(slots=True)
class TickEvaluation:
    """The values of one tick. Each distinct expression is evaluated once, however many topics show it."""

    evaluator: Evaluator
    now_ms: int
    _memo: dict[tuple[str, int], Vector | str] = field(default_factory=dict)

    async def panel(self, panel: Panel, span: Timespan, instance: str, time_ms: int) -> PanelPoint:
        """`panel` at `time_ms`."""
        points: list[Point] = []
        for query in panel.queries:
            answer = await self.vector(query, span, instance, time_ms)
            if isinstance(answer, str):
                return PanelPoint([], answer)
            points.append(point_of(query, answer, self.evaluator.config.max_series_per_query))
        return PanelPoint(points)

    async def vector(self, query: Query, span: Timespan, instance: str, time_ms: int) -> Vector | str:
        """The plain answer of one query."""
        expr = span.render(query.expr, instance=instance, job=self.evaluator.config.job)
        key = (expr, time_ms)
        if key not in self._memo:
            self._memo[key] = await self.evaluator.ask(lambda: self.evaluator.client.instant(expr, time_ms))
        return self._memo[key]


async def panel_history(
    evaluator: Evaluator, panel: Panel, span: Timespan, instance: str, start_ms: int, end_ms: int
) -> PanelHistory:
    """`panel` over [start_ms, end_ms] in steps of `span`."""
    lines: list[Line] = []
    hidden = 0
    for query in panel.queries:
        expr = span.render(query.expr, instance=instance, job=evaluator.config.job)
        answer = await evaluator.ask(_range_call(evaluator, expr, start_ms, end_ms, span.step_ms))
        if isinstance(answer, str):
            return PanelHistory([], 0, answer)
        line, more = line_of(query, answer, evaluator.config.max_series_per_query)
        lines.append(line)
        hidden += more
    return PanelHistory(lines, hidden)


def _range_call(
    evaluator: Evaluator, expr: str, start_ms: int, end_ms: int, step_ms: int
) -> Callable[[], Awaitable[Matrix]]:
    return lambda: evaluator.client.range(expr, start_ms, end_ms, step_ms)


def point_of(query: Query, vector: Vector, max_series: int) -> Point:
    """Values by legend; beyond `max_series` the highest stay."""
    keep = _highest(vector.values, max_series)
    values = plain(vector.values[keep])
    return {legend(query.legend, vector.labels[i]): value for i, value in zip(keep, values, strict=True)}


def line_of(query: Query, matrix: Matrix, max_series: int) -> tuple[Line, int]:
    """Rows by legend, and how many are left out: beyond `max_series` those with the highest peak stay."""
    values = matrix.values
    with np.errstate(invalid="ignore"):
        peaks = np.fmax.reduce(values, axis=1, initial=-np.inf) if values.size else np.zeros(len(matrix.labels))
    keep = _highest(peaks, max_series)
    line = {legend(query.legend, matrix.labels[i]): plain(values[i]) for i in keep}
    return line, len(matrix.labels) - len(keep)


def plain(values: Float64Array) -> list[float | None]:
    """Floats with six significant digits, as JSON can have them: None for NaN and infinities.

    Six digits are more than a screen shows, and a third of the bytes of all seventeen.
    """
    finite = np.isfinite(values)
    if not finite.any():
        return [None] * len(values)
    safe = np.where(finite & (values != 0), np.abs(values), 1.0)
    decimals = np.clip(5 - np.floor(np.log10(safe)), 0, 12)
    scale = 10.0**decimals
    rounded = np.where(finite, np.round(np.where(finite, values, 0.0) * scale) / scale, 0.0)
    return [value if ok else None for value, ok in zip(rounded.tolist(), finite.tolist(), strict=True)]


def _highest(values: Float64Array, count: int) -> list[int]:
    if len(values) <= count:
        return list(range(len(values)))
    ranked = np.argsort(np.where(np.isnan(values), -np.inf, values), kind="stable")
    return sorted(ranked[-count:].tolist())
