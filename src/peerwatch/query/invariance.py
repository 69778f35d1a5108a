"""Which parts of an expression are the same at every step, so that they are evaluated once."""

from __future__ import annotations

from peerwatch.query.ast import (
    Aggregate,
    Binary,
    Call,
    Expr,
    MatrixSelector,
    NumberLiteral,
    Paren,
    StringLiteral,
    Subquery,
    Unary,
    VectorSelector,
    left_spine,
)

TIME_DEPENDENT = frozenset(
    [
        "days_in_month",
        "day_of_month",
        "day_of_week",
        "day_of_year",
        "hour",
        "minute",
        "month",
        "year",
        "predict_linear",
        "time",
        "timestamp",
    ]
)
"""Functions that look at the step itself, whatever their arguments are."""


def step_invariant(expr: Expr) -> frozenset[int]:
    """The `id`s of all nodes whose value does not depend on the step: everything with a fixed @ below it."""
    found: set[int] = set()
    _visit(expr, found)
    return frozenset(found)


def _visit(expr: Expr, found: set[int]) -> bool:
    invariant = _visit_chain(expr, found) if isinstance(expr, Binary) else _is_invariant(expr, found)
    if invariant:
        found.add(id(expr))
    return invariant


def _visit_chain(expr: Binary, found: set[int]) -> bool:
    chain = left_spine(expr)
    invariant = _visit(chain[0].lhs, found)
    for link in chain:
        right = _visit(link.rhs, found)
        invariant = invariant and right
        if invariant:
            found.add(id(link))
    return invariant


def _is_invariant(expr: Expr, found: set[int]) -> bool:
    match expr:
        case NumberLiteral() | StringLiteral():
            return True
        case VectorSelector():
            return expr.at is not None
        case MatrixSelector():
            return expr.selector.at is not None
        case Subquery():
            _visit(expr.expr, found)
            return expr.at is not None
        case Paren() | Unary():
            return _visit(expr.expr, found)
        case Aggregate():
            param = expr.param is None or _visit(expr.param, found)
            return _visit(expr.expr, found) and param
        case Call():
            args = [_visit(arg, found) for arg in expr.args]
            return all(args) and expr.function not in TIME_DEPENDENT
        case _:
            raise TypeError(f"unknown node {type(expr).__name__}")
