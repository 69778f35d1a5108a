"""Printer: a syntax tree back to PromQL, spelled as Prometheus spells it. Parsing the text gives the same tree."""

from __future__ import annotations

import re

from peerwatch.model import METRIC_NAME, Matcher, MatchOp
from peerwatch.query.ast import (
    Aggregate,
    At,
    AtEdge,
    Binary,
    Call,
    Cardinality,
    Duration,
    DurationExpr,
    Expr,
    Matching,
    MatrixSelector,
    NumberLiteral,
    Paren,
    StringLiteral,
    Subquery,
    Unary,
    VectorSelector,
    left_spine,
)
from peerwatch.query.gotext import format_duration_ms, format_plain, quote

_PLAIN_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def format_expr(expr: Expr) -> str:
    """One line of PromQL with the same tree as `expr`."""
    match expr:
        case NumberLiteral():
            return _number(expr)
        case StringLiteral():
            return quote(expr.value)
        case VectorSelector():
            return _selector(expr) + _extension(expr) + _modifiers(expr.at, expr.offset)
        case MatrixSelector():
            selector = expr.selector
            text = f"{_selector(selector)}[{_duration(expr.range)}]{_extension(selector)}"
            return text + _modifiers(selector.at, selector.offset)
        case Subquery():
            return format_expr(expr.expr) + subquery_suffix(expr)
        case Call():
            return f"{expr.function}({', '.join(format_expr(arg) for arg in expr.args)})"
        case Aggregate():
            return _aggregate(expr)
        case Paren():
            return f"({format_expr(expr.expr)})"
        case Unary():
            return expr.op + format_expr(expr.expr)
        case Binary():
            return _binary(expr)
        case _:
            raise TypeError(f"no way to print {type(expr).__name__}")


def format_matcher(matcher: Matcher) -> str:
    """One matcher, its label quoted where it must be."""
    return f"{format_label(matcher.name)}{matcher.op.value}{quote(matcher.value)}"


def aggregate_header(expr: Aggregate) -> str:
    """Operator and grouping of an aggregation: everything before the parenthesis."""
    if expr.without:
        return f"{expr.op} without ({_labels(expr.grouping)}) "
    return f"{expr.op} by ({_labels(expr.grouping)}) " if expr.grouping else expr.op


def binary_operator(expr: Binary) -> str:
    """Operator and modifiers of a binary expression: everything between its sides."""
    return expr.op + (" bool" if expr.return_bool else "") + (_matching(expr.matching) if expr.matching else "")


def subquery_suffix(expr: Subquery) -> str:
    """Brackets and modifiers of a subquery: everything after its expression."""
    step = "" if expr.step is None else _duration(expr.step)
    return f"[{_duration(expr.range)}:{step}]{_modifiers(expr.at, expr.offset)}"


def _aggregate(expr: Aggregate) -> str:
    param = f"{format_expr(expr.param)}, " if expr.param is not None else ""
    return f"{aggregate_header(expr)}({param}{format_expr(expr.expr)})"


def _binary(expr: Binary) -> str:
    chain = left_spine(expr)
    parts = [format_expr(chain[0].lhs)]
    parts += [f"{binary_operator(link)} {format_expr(link.rhs)}" for link in chain]
    return " ".join(parts)


def _matching(matching: Matching) -> str:
    is_grouped = matching.card in (Cardinality.MANY_TO_ONE, Cardinality.ONE_TO_MANY)
    text = ""
    if matching.labels or matching.on or is_grouped:
        text += f" {'on' if matching.on else 'ignoring'} ({_labels(matching.labels)})"
    if is_grouped:
        side = "left" if matching.card is Cardinality.MANY_TO_ONE else "right"
        text += f" group_{side} ({_labels(matching.include)})"
    return text + _fill(matching.fill_left, matching.fill_right)


def _fill(left: float | None, right: float | None) -> str:
    if left is not None and left == right:
        return f" fill ({format_plain(left)})"
    text = "" if left is None else f" fill_left ({format_plain(left)})"
    return text if right is None else f"{text} fill_right ({format_plain(right)})"


def _selector(node: VectorSelector) -> str:
    matchers = [matcher for matcher in node.matchers if not _is_name(matcher, node.name)]
    inside = ",".join(format_matcher(matcher) for matcher in matchers)
    return f"{node.name}{{{inside}}}" if inside or not node.name else node.name


def _is_name(matcher: Matcher, name: str) -> bool:
    return bool(name) and matcher == Matcher(METRIC_NAME, MatchOp.EQUAL, name)


def _extension(node: VectorSelector) -> str:
    return " anchored" if node.anchored else " smoothed" if node.smoothed else ""


def _modifiers(at: At | None, offset: Duration) -> str:
    text = ""
    if isinstance(at, AtEdge):
        text = f" @ {at.value}()"
    elif at is not None:
        text = f" @ {'-' if at < 0 else ''}{abs(at) // 1000}.{abs(at) % 1000:03d}"
    if isinstance(offset, DurationExpr):  # in front: an operator behind its parentheses would be part of it
        return f" offset {_duration(offset)}{text}"
    return f"{text} offset {_duration(offset)}" if offset != 0 else text


def _number(node: NumberLiteral) -> str:
    if node.is_duration:
        return format_duration_ms(round(node.value * 1000))
    return format_plain(node.value)


def _duration(duration: Duration) -> str:
    return format_duration_ms(duration) if isinstance(duration, int) else _duration_expr(duration)


def _duration_expr(node: DurationExpr | NumberLiteral) -> str:
    if isinstance(node, NumberLiteral):
        return _number(node)
    text = _duration_operation(node)
    return f"({text})" if node.wrapped else text


def _duration_operation(node: DurationExpr) -> str:
    left = "" if node.lhs is None else _duration_expr(node.lhs)
    right = "" if node.rhs is None else _duration_expr(node.rhs)
    if node.op in ("step", "range"):
        return f"{node.op}()"
    if node.op in ("min_of", "max_of"):
        return f"{node.op}({left}, {right})"
    if node.lhs is None:
        return right if node.op == "+" else f"-{right}"
    return f"{left} {node.op} {right}"


def _labels(names: tuple[str, ...]) -> str:
    return ", ".join(format_label(name) for name in names)


def format_label(name: str) -> str:
    """A label's name, quoted where it must be."""
    return name if _PLAIN_LABEL.fullmatch(name) else quote(name)
