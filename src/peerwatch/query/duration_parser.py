"""Durations: what stands in [brackets] and after offset."""

from __future__ import annotations

from dataclasses import replace

from peerwatch.errors import ParseError
from peerwatch.query.ast import Duration, DurationExpr, NumberLiteral, Span
from peerwatch.query.cursor import Cursor
from peerwatch.query.gotext import parse_duration_ms, parse_number
from peerwatch.query.token import Kind, Token

Node = NumberLiteral | DurationExpr

_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2, "%": 2, "^": 3}
_UNARY = 3  # a sign binds like *, so only ^ goes into its operand
_MAX_SECONDS = (1 << 63) / 1e9
_LITERALS = (Kind.NUMBER, Kind.DURATION)


def number_of(token: Token) -> NumberLiteral:
    """The literal of a NUMBER or DURATION token. Raises ParseError."""
    span = Span(token.start, token.end)
    try:
        if token.kind is Kind.DURATION:
            return NumberLiteral(parse_duration_ms(token.text) / 1000, is_duration=True, span=span)
        return NumberLiteral(parse_number(token.text), span=span)
    except ValueError as error:
        text = str(error) if token.kind is Kind.DURATION else f"error parsing number: {error}"
        raise ParseError(text, token.start, token.end) from error


def parse_bracket_duration(cursor: Cursor) -> Duration:
    """A range or a resolution: positive."""
    node = _binary(cursor, 1)
    if isinstance(node, NumberLiteral) and not node.value > 0:
        raise ParseError("duration must be greater than 0", node.span.start, node.span.end)
    return _duration(node)


def parse_offset(cursor: Cursor) -> Duration:
    """What follows `offset`: one operand, signed or not. Arithmetic needs parentheses there, because
    `x offset 5m + 1` has always meant (x offset 5m) + 1; but behind them it goes on: `x offset (5m) + 1` is 301 s."""
    if cursor.is_symbol("("):
        return _duration(_binary(cursor, 1))
    return _duration(_signed(cursor, 4))


def _duration(node: Node) -> Duration:
    if not isinstance(node, NumberLiteral):
        return node
    if node.is_duration:
        return round(node.value * 1000)  # whole milliseconds, which nanoseconds in a float64 would lose at 101 days
    return int(round(node.value * 1e9) / 1e6)


def _binary(cursor: Cursor, minimum: int) -> Node:
    left = _signed(cursor, _UNARY)
    while cursor.is_symbol(*_PRECEDENCE) and _PRECEDENCE[cursor.token.text] >= minimum:
        operator = cursor.take()
        level = _PRECEDENCE[operator.text]
        right = _binary(cursor, level if operator.text == "^" else level + 1)
        if operator.text in "/%" and isinstance(right, NumberLiteral) and right.value == 0:
            kind = "division" if operator.text == "/" else "modulo"
            raise ParseError(f"{kind} by zero", operator.start, operator.end)
        left = DurationExpr(operator.text, left, right, span=Span(left.span.start, right.span.end))
    return left


def _signed(cursor: Cursor, level: int) -> Node:
    if not cursor.is_symbol("+", "-"):
        return _operand(cursor)
    sign = cursor.take()
    with cursor.deeper():
        node = _binary(cursor, level)
    span = Span(sign.start, node.span.end)
    if isinstance(node, NumberLiteral):
        return _in_range(replace(node, value=-node.value if sign.text == "-" else node.value, span=span))
    return DurationExpr("-", None, node, span=span) if sign.text == "-" else node


def _operand(cursor: Cursor) -> Node:
    token = cursor.token
    if token.kind in _LITERALS:
        return _in_range(number_of(cursor.take()))
    if cursor.is_symbol("("):
        return _parenthesised(cursor)
    if cursor.is_word("step", "range"):
        cursor.take()
        cursor.expect("(")
        cursor.expect(")")
        return DurationExpr(token.word, span=cursor.span_from(token.start))
    if cursor.is_word("min_of", "max_of"):
        return _extreme(cursor)
    return cursor.unexpected("duration", "number, duration, step(), or range()")


def _parenthesised(cursor: Cursor) -> DurationExpr:
    start = cursor.expect("(").start
    with cursor.deeper():
        node = _binary(cursor, 1)
    cursor.expect(")")
    span = cursor.span_from(start)
    if isinstance(node, DurationExpr):
        return replace(node, wrapped=True, span=span)
    return DurationExpr("+", None, node, wrapped=True, span=span)


def _extreme(cursor: Cursor) -> DurationExpr:
    name = cursor.take()
    cursor.expect("(")
    with cursor.deeper():
        left = _binary(cursor, 1)
        cursor.expect(",")
        right = _binary(cursor, 1)
    cursor.expect(")")
    return DurationExpr(name.word, left, right, span=cursor.span_from(name.start))


def _in_range(node: NumberLiteral) -> NumberLiteral:
    if not abs(node.value) <= _MAX_SECONDS:
        raise ParseError("duration out of range", node.span.start, node.span.end)
    return node
