"""Durations that depend on the query: step(), range() and arithmetic with them."""

from __future__ import annotations

import math

from peerwatch.errors import ParseError
from peerwatch.query.ast import (
    Duration,
    DurationExpr,
    Expr,
    MatrixSelector,
    NumberLiteral,
    Subquery,
    VectorSelector,
    children,
)
from peerwatch.query.value import QuerySpan

_MAX_SECONDS = (1 << 63) / 1e9


def check_durations(expr: Expr, query: QuerySpan) -> None:
    """Raise ParseError if any duration in the expression does not come to one: that is the query's fault, whatever
    the data are."""
    waiting = [expr]
    while waiting:
        node = waiting.pop()
        waiting.extend(reversed(children(node)))
        match node:
            case VectorSelector():
                _check(node.offset, query, may_be_negative=True)
            case MatrixSelector():
                _check(node.range, query)
            case Subquery():
                _check(node.offset, query, may_be_negative=True)
                _check(node.step, query)
                _check(node.range, query)
            case _:
                pass


def _check(duration: Duration | None, query: QuerySpan, *, may_be_negative: bool = False) -> None:
    if isinstance(duration, DurationExpr):
        resolve_duration_ms(duration, query, may_be_negative=may_be_negative)


def resolve_duration_ms(expr: DurationExpr, query: QuerySpan, *, may_be_negative: bool = False) -> int:
    """What a duration expression comes to, in milliseconds. Raises ParseError for what is no duration."""
    seconds = _seconds(expr, query)
    if math.isnan(seconds) or math.isinf(seconds):
        raise _problem(expr, "duration is NaN or infinite")
    if seconds <= 0 and not may_be_negative:
        raise _problem(expr, "duration must be greater than 0")
    if abs(seconds) > _MAX_SECONDS:
        raise _problem(expr, "duration is out of range")
    return int(seconds * 1000)


def _problem(expr: DurationExpr, message: str) -> ParseError:
    start, end = expr.span.start, expr.span.end
    return ParseError(f"{start}:{end}: {message}", start, end)


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
        raise _problem(expr, f"{kind} by zero")
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
