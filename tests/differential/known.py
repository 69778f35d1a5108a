"""Queries that Prometheus answers differently, for a reason that docs/promql.md gives. As narrow as can be told."""

from __future__ import annotations

from collections.abc import Iterator

from peerwatch.errors import ParseError
from peerwatch.query.ast import (
    Aggregate,
    AtEdge,
    Call,
    Expr,
    NumberLiteral,
    Subquery,
    VectorSelector,
    children,
    unwrap,
)
from peerwatch.query.invariance import step_invariant
from peerwatch.query.parser import parse


def known_difference(query: str) -> str | None:
    """Why the answers to a query may differ; None when they must not."""
    try:
        root = parse(query)
    except ParseError:
        return None
    invariant = step_invariant(root)
    for node in _nodes(root):
        if isinstance(node, Call) and node.function == "timestamp" and _is_shifted(node.args[0]):
            return "timestamp(x @ t offset d): Prometheus forgets the offset"
        if isinstance(node, Aggregate) and node.param is not None:
            if any(
                isinstance(one, VectorSelector | Subquery) and isinstance(one.at, AtEdge) for one in _nodes(node.param)
            ):
                return "quantile(scalar(x @ start()), y): Prometheus forgets the @ in a parameter"
            moves = not isinstance(unwrap(node.param), NumberLiteral) and id(node.param) not in invariant
            if moves and id(unwrap(node.expr)) in invariant:
                return "quantile(time(), x @ t): Prometheus takes the first step's parameter for all"
    return None


def _nodes(root: Expr) -> Iterator[Expr]:
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(children(node))


def _is_at_an_edge(node: Expr) -> bool:
    return isinstance(node, VectorSelector | Subquery) and isinstance(node.at, AtEdge)


def _is_shifted(arg: Expr) -> bool:
    selector = unwrap(arg)
    return isinstance(selector, VectorSelector) and selector.at is not None and selector.offset != 0
