"""Type checks: what is grammatical and yet means nothing. Each yields the problems it finds, the worst first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from peerwatch.errors import ParseError
from peerwatch.model import METRIC_NAME
from peerwatch.query.ast import (
    COMPARISONS,
    SET_OPERATORS,
    Aggregate,
    Binary,
    Cardinality,
    Expr,
    Matching,
    Span,
    Subquery,
    Unary,
    ValueType,
    VectorSelector,
    value_type,
)
from peerwatch.query.gotext import quote
from peerwatch.query.signature import Signature

_GROUPED = (Cardinality.MANY_TO_ONE, Cardinality.ONE_TO_MANY)
_OPERANDS = (ValueType.SCALAR, ValueType.VECTOR)


def _problem(span: Span, message: str) -> ParseError:
    return ParseError(message, span.start, span.end)


def check_call(signature: Signature, args: Sequence[Expr], span: Span) -> Iterator[ParseError]:
    """Number and types of a call's arguments."""
    count, name = len(signature.args), quote(signature.name)
    if signature.extra == 0:
        if len(args) != count:
            yield _problem(span, f"expected {count} argument(s) in call to {name}, got {len(args)}")
    elif len(args) < count - 1:
        yield _problem(span, f"expected at least {count - 1} argument(s) in call to {name}, got {len(args)}")
    elif 0 < signature.extra < len(args) - count + 1:
        most = count - 1 + signature.extra
        yield _problem(span, f"expected at most {most} argument(s) in call to {name}, got {len(args)}")
    if signature.name == "info" and len(args) > 1:
        yield from _check_label_filter(args[1])
    for position, arg in enumerate(args):
        if signature.args and (position < count or signature.extra):
            wanted = signature.args[min(position, count - 1)]
            yield from _check_type(arg, wanted, f"call to function {name}")


def _check_label_filter(arg: Expr) -> Iterator[ParseError]:
    if not isinstance(arg, VectorSelector):
        yield _problem(arg.span, "expected label selectors only")
    elif arg.name:
        yield _problem(arg.span, "expected label selectors only, got vector selector instead")


def _check_type(expr: Expr, wanted: ValueType, context: str) -> Iterator[ParseError]:
    found = value_type(expr)
    if found is not wanted:
        yield _problem(expr.span, f"expected type {wanted.value} in {context}, got {found.value}")


def check_aggregate(node: Aggregate) -> Iterator[ParseError]:
    """Types of an aggregation's operand and parameter."""
    yield from _check_type(node.expr, ValueType.VECTOR, "aggregation expression")
    if node.param is not None:
        wanted = ValueType.STRING if node.op == "count_values" else ValueType.SCALAR
        yield from _check_type(node.param, wanted, "aggregation parameter")


def check_binary(node: Binary, matching: Matching) -> Iterator[ParseError]:
    """Operand types and what may modify the operator. `matching` is as written, also where it does not belong."""
    sides = (value_type(node.lhs), value_type(node.rhs))
    if node.return_bool and node.op not in COMPARISONS:
        yield _problem(node.op_span, "bool modifier can only be used on comparison operators")
    if node.op in COMPARISONS and not node.return_bool and sides == (ValueType.SCALAR, ValueType.SCALAR):
        yield _problem(node.op_span, "comparisons between scalars must use BOOL modifier")
    for label in matching.labels:
        if matching.on and label in matching.include:
            yield _problem(node.op_span, f"label {quote(label)} must not occur in ON and GROUP clause at once")
    for expr, side in zip((node.lhs, node.rhs), sides, strict=True):
        if side not in _OPERANDS:
            yield _problem(expr.span, "binary expression must contain only scalar and instant vector types")
    yield from _check_matching(node, matching, sides)


def _check_matching(node: Binary, matching: Matching, sides: tuple[ValueType, ValueType]) -> Iterator[ParseError]:
    has_fill = matching.fill_left is not None or matching.fill_right is not None
    if sides != (ValueType.VECTOR, ValueType.VECTOR):
        if matching.labels:
            yield _problem(node.span, "vector matching only allowed between instant vectors")
        if has_fill:
            yield _problem(node.span, "filling in missing series only allowed between instant vectors")
    elif node.op in SET_OPERATORS:
        if matching.card in _GROUPED:
            yield _problem(node.span, f"no grouping allowed for {quote(node.op)} operation")
        if has_fill:
            yield _problem(node.span, "filling in missing series not allowed for set operators")
    if node.op in SET_OPERATORS and ValueType.SCALAR in sides:
        yield _problem(node.span, f"set operator {quote(node.op)} not allowed in binary scalar expression")


def check_unary(node: Unary) -> Iterator[ParseError]:
    """A sign needs a number or a vector."""
    found = value_type(node.expr)
    if found not in _OPERANDS:
        message = "unary expression only allowed on expressions of type scalar or instant vector, got "
        yield _problem(node.span, message + quote(found.value))


def check_subquery(node: Subquery) -> Iterator[ParseError]:
    """A subquery runs over an instant vector."""
    found = value_type(node.expr)
    if found is not ValueType.VECTOR:
        go_name = {ValueType.MATRIX: "matrix"}.get(found, found.value)
        yield _problem(node.span, f"subquery is only allowed on instant vector, got {go_name} instead")


def check_selector(node: VectorSelector) -> Iterator[ParseError]:
    """One metric name at most, and something that is not empty: `{a!="x"}` would select everything by a slip."""
    if node.name:
        names = [matcher for matcher in node.matchers if matcher.name == METRIC_NAME]
        if len(names) > 1:
            other = next((matcher.value for matcher in names if matcher.value != node.name), node.name)
            message = f"metric name must not be set twice: {quote(node.name)} or {quote(other)}"
            yield _problem(node.span, message)
    elif all(matcher.matches_empty for matcher in node.matchers):
        yield _problem(node.span, "vector selector must contain at least one non-empty matcher")
