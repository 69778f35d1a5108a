"""Engine: PromQL in, answers out. It knows nothing but a Queryable."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from peerwatch.errors import LimitError, ParseError, QueryError
from peerwatch.model import Clock, SystemClock
from peerwatch.query.annotation import Annotations
from peerwatch.query.ast import Expr, ValueType, value_type
from peerwatch.query.evaluate import Evaluation
from peerwatch.query.limits import Budget, Cancellation
from peerwatch.query.loader import Loader
from peerwatch.query.narrow import narrowed
from peerwatch.query.options import EngineOptions
from peerwatch.query.parser import parse
from peerwatch.query.queryable import Queryable
from peerwatch.query.result import Result, instant_result, range_result
from peerwatch.query.span import check_durations
from peerwatch.query.value import QuerySpan

_USUAL_LENGTH = 1024  # of a query worth keeping: its tree takes some 20 bytes per character: 5 MB in all


class Engine:
    """Evaluates queries against one source of samples.

    Blocking and CPU-bound: call it in a worker thread. Several threads may share one engine. A query ends with
    LimitError when it costs more than the limits allow, with CancelledQueryError when `cancelled` is set.
    """

    def __init__(self, source: Queryable, options: EngineOptions | None = None, clock: Clock | None = None) -> None:
        self._source = source
        self._options = options or EngineOptions()
        self._clock = clock or SystemClock()

    @property
    def options(self) -> EngineOptions:
        """What this engine takes for granted."""
        return self._options

    def instant(
        self,
        query: str | Expr,
        time_ms: int,
        *,
        timeout_s: float | None = None,
        lookback_ms: int | None = None,
        cancelled: Cancellation | None = None,
    ) -> Result:
        """The answer at one time. Raises ParseError, LimitError, CancelledQueryError or QueryError."""
        expr, narrow, text = _parsed(query)
        span = QuerySpan(time_ms, time_ms)
        check_durations(expr, span)
        evaluation, loader, notes = self._evaluation(span, timeout_s, lookback_ms, cancelled)
        value = instant_result(evaluation.run(narrow), time_ms)
        return Result(value, *notes.render(text), loader.samples)

    def range(
        self,
        query: str | Expr,
        start_ms: int,
        end_ms: int,
        step_ms: int,
        *,
        timeout_s: float | None = None,
        lookback_ms: int | None = None,
        cancelled: Cancellation | None = None,
    ) -> Result:
        """The answer at start, start + step, … up to end. Raises as `instant`; also for too many steps."""
        expr, narrow, text = _parsed(query)
        found = value_type(expr)
        if found not in (ValueType.SCALAR, ValueType.VECTOR):
            message = f'invalid expression type "{found.value}" for range query, must be Scalar or instant Vector'
            raise ParseError(message, expr.span.start, expr.span.end)
        if step_ms <= 0 or end_ms < start_ms:
            raise QueryError(f"range from {start_ms} to {end_ms} with a step of {step_ms} ms")
        span = QuerySpan(start_ms, end_ms, step_ms)
        limit = self._options.limits.max_points
        if span.grid.count - 1 > limit:  # Prometheus counts the steps, not the points
            raise LimitError(f"{span.grid.count - 1} steps per series, limit {limit}: use a longer step")
        check_durations(expr, span)
        evaluation, loader, notes = self._evaluation(span, timeout_s, lookback_ms, cancelled)
        value = range_result(evaluation.run(narrow), span)
        return Result(value, *notes.render(text), loader.samples)

    def _evaluation(
        self, span: QuerySpan, timeout_s: float | None, lookback_ms: int | None, cancelled: Cancellation | None
    ) -> tuple[Evaluation, Loader, Annotations]:
        limits = self._options.limits
        if timeout_s is not None:
            limits = replace(limits, timeout_s=min(timeout_s, limits.timeout_s))
        options = self._options if lookback_ms is None else replace(self._options, lookback_ms=lookback_ms)
        budget = Budget.start(limits, self._clock, cancelled)
        notes = Annotations()
        loader = Loader(self._source, budget, with_starts=options.start_timestamps)
        return Evaluation(loader, options, budget, notes, span), loader, notes


def _parsed(query: str | Expr) -> tuple[Expr, Expr, str]:
    """(tree, what to evaluate, text)."""
    if not isinstance(query, str):
        return query, narrowed(query), ""
    trees = _parse_again(query) if len(query) <= _USUAL_LENGTH else _parse(query)
    return (*trees, query)


def _parse(query: str) -> tuple[Expr, Expr]:
    expr = parse(query)
    return expr, narrowed(expr)


@lru_cache(maxsize=256)
def _parse_again(query: str) -> tuple[Expr, Expr]:
    """Dashboards ask the same again and again: trees are frozen, so they are kept. The least recently used goes."""
    return _parse(query)
