"""Narrowing: what one side of an operator says about labels, told to the other side's selectors.

`a / b and on (instance) c{instance="x"}` needs only the series of x from a and b. The rule, which docs/promql.md
repeats: a label's value that is sure on one side, because selectors there demand it with `=`, becomes a matcher of the
other side's selectors, when

- the label is one that both sides must have in common (of on(), or not of ignoring()), and none that operators take
  away (name, type, unit), and
- the operator yields nothing for other values: `and`, `unless` (from left to right only), arithmetic and comparisons
  without fill modifiers; never `or`, and
- no error can come from the series that are left out. Of `and` and `unless` none does. Arithmetic and comparisons pair
  series by all labels (no on(), ignoring() or group_…()), and both sides are *plain*: selectors of one metric, and
  operators of this kind between them, or between them and scalars.

So are operands that a matcher passes through on its way down: only plain ones let it pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from operator import is_

from peerwatch.model import METRIC_NAME, Matcher, MatchOp
from peerwatch.query.ast import (
    Aggregate,
    Binary,
    Call,
    Expr,
    Matching,
    Paren,
    Unary,
    ValueType,
    VectorSelector,
    value_type,
)
from peerwatch.query.value import METADATA_LABELS

_DEEPEST = 32  # operators below one another; what is below stays as it is
_BY_ALL_LABELS = Matching()

Sure = Mapping[str, str]
"""Values that a label has in every series of an expression."""


def narrowed(expr: Expr, depth: int = 0) -> Expr:
    """An expression with the same value that reads fewer series."""
    if depth > _DEEPEST:
        return expr
    match expr:
        case Paren() | Unary() | Aggregate():
            inner = narrowed(expr.expr, depth + 1)
            return expr if inner is expr.expr else replace(expr, expr=inner)
        case Call():
            args = tuple(narrowed(arg, depth + 1) for arg in expr.args)
            return expr if all(map(is_, args, expr.args)) else replace(expr, args=args)
        case Binary():
            return _narrowed_operator(expr, depth)
        case _:
            return expr


def _narrowed_operator(expr: Binary, depth: int) -> Binary:
    lhs, rhs = narrowed(expr.lhs, depth + 1), narrowed(expr.rhs, depth + 1)
    matching = expr.matching
    if matching is not None:
        left, right = _common(_sure(lhs, depth), matching), _common(_sure(rhs, depth), matching)
        if expr.op == "and" or _pairs_plainly(expr):
            lhs, rhs = _told(lhs, right, depth), _told(rhs, left, depth)
        elif expr.op == "unless":
            rhs = _told(rhs, left, depth)
    return expr if lhs is expr.lhs and rhs is expr.rhs else replace(expr, lhs=lhs, rhs=rhs)


def _pairs_plainly(expr: Binary) -> bool:
    return expr.matching == _BY_ALL_LABELS and _plain(expr.lhs) and _plain(expr.rhs)


def _common(sure: Sure, matching: Matching) -> Sure:
    """What is sure of the labels that both sides have in common."""
    return {name: value for name, value in sure.items() if (name in matching.labels) is matching.on}


def _sure(expr: Expr, depth: int) -> Sure:
    if depth > _DEEPEST:
        return {}
    match expr:
        case VectorSelector():
            asked = [one for one in expr.matchers if one.op is MatchOp.EQUAL and one.value]
            return {one.name: one.value for one in asked if one.name not in METADATA_LABELS}
        case Paren() | Unary():
            return _sure(expr.expr, depth + 1)
        case Binary(op="and" | "unless"):
            return _sure(expr.lhs, depth + 1)
        case Binary(matching=None):
            return _sure(_operand(expr), depth + 1)
        case Binary() if _pairs_plainly(expr):
            return {**_sure(expr.lhs, depth + 1), **_sure(expr.rhs, depth + 1)}
        case _:
            return {}


def _operand(expr: Binary) -> Expr:
    """The side that is no scalar, where one is."""
    return expr.lhs if value_type(expr.lhs) is not ValueType.SCALAR else expr.rhs


def _plain(expr: Expr, depth: int = 0) -> bool:
    """Whether the series differ in more than their names, so that none gets into another's way."""
    if depth > _DEEPEST:
        return False
    match expr:
        case VectorSelector():
            return any(one.name == METRIC_NAME and one.op is MatchOp.EQUAL and one.value for one in expr.matchers)
        case Paren() | Unary():
            return _plain(expr.expr, depth + 1)
        case Binary(matching=None):
            return _plain(_operand(expr), depth + 1)
        case Binary():
            simple = expr.matching == _BY_ALL_LABELS and expr.op not in ("and", "or", "unless")
            return simple and _plain(expr.lhs, depth + 1) and _plain(expr.rhs, depth + 1)
        case _:
            return False


def _told(expr: Expr, sure: Sure, depth: int) -> Expr:
    """The expression less the series for which this is not so."""
    return _with_matchers(expr, sure) if sure and _plain(expr, depth) else expr


def _with_matchers(expr: Expr, sure: Sure) -> Expr:
    match expr:
        case VectorSelector():
            more = [Matcher(name, MatchOp.EQUAL, value) for name, value in sure.items()]
            new = [one for one in more if one not in expr.matchers]
            return replace(expr, matchers=tuple(sorted((*expr.matchers, *new), key=str))) if new else expr
        case Paren() | Unary():
            return replace(expr, expr=_with_matchers(expr.expr, sure))
        case Binary():
            return replace(expr, lhs=_with_matchers(expr.lhs, sure), rhs=_with_matchers(expr.rhs, sure))
        case _:
            return expr
