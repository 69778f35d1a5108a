"""Durations that depend on the query: step(), range() and arithmetic with them."""

from __future__ import annotations

import math

from peerwatch.errors import QueryError
from peerwatch.query.ast import DurationExpr, NumberLiteral
from peerwatch.query.value import QuerySpan

_MAX_SECONDS = (1 << 63) / 1e9


def resolve_duration_ms(expr: DurationExpr, query: QuerySpan, *, may_be_negative: bool = False) -> int:
    """What a duration expression comes to, in milliseconds. Raises QueryError for what is no duration."""
    seconds = _seconds(expr, query)
    place = f"{expr.span.start}:{expr.span.end}"
    if math.isnan(seconds) or math.isinf(seconds):
        raise QueryError(f"{place}: duration is NaN or infinite")
    if seconds <= 0 and not may_be_negative:
        raise QueryError(f"{place}: duration must be greater than 0")
    if abs(seconds) > _MAX_SECONDS:
        raise QueryError(f"{place}: duration is out of range")
    return int(seconds * 1000)


def _seconds(expr: DurationExpr | NumberLiteral | None, query: QuerySpan) -> float:
    if expr is None:
        return 0.0
    if isinstance(expr, NumberLiteral):
        return expr.value
    if expr.op == "step":
        return query.step_ms / 1000
    if expr.op == "range":
        return (query.end_ms - query.start_ms) / 1000
    return _operate(expr, _seconds(expr.lhs, query), _seconds(expr.rhs, query))


def _operate(expr: DurationExpr, left: float, right: float) -> float:
    if expr.op in "/%" and right == 0:
        kind = "division" if expr.op == "/" else "modulo"
        raise QueryError(f"{expr.span.start}:{expr.span.end}: {kind} by zero")
    match expr.op:
        case "min_of":
            return min(left, right)
        case "max_of":
            return max(left, right)
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "/":
            return left / right
        case "%":
            return math.fmod(left, right)
        case _:
            return _power(left, right)


def _power(left: float, right: float) -> float:
    try:
        return math.pow(left, right)
    except (ValueError, OverflowError):
        return math.nan
