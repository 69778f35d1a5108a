"""Tree: a syntax tree as the JSON of `/parse_query`, which drives the tree views of Prometheus's own pages."""

from __future__ import annotations

from collections.abc import Sequence

from peerwatch.model import Matcher
from peerwatch.query.ast import (
    Aggregate,
    At,
    AtEdge,
    Binary,
    Call,
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
    ValueType,
    VectorSelector,
    left_spine,
)
from peerwatch.query.gotext import format_plain
from peerwatch.query.signature import SIGNATURES

Node = dict[str, object]

_TYPE_NAMES = {
    ValueType.SCALAR: "scalar",
    ValueType.STRING: "string",
    ValueType.VECTOR: "vector",
    ValueType.MATRIX: "matrix",
}


def tree_of(expr: Expr) -> Node:
    """The tree, keys in alphabetical order as Go's encoder writes them.

    A duration that is an expression is 0, and its own tree stands beside it (`offsetExpr`, `rangeExpr`, `stepExpr`).
    """
    match expr:
        case NumberLiteral():
            return {"type": "numberLiteral", "val": format_plain(expr.value)}
        case StringLiteral():
            return {"type": "stringLiteral", "val": _text(expr.value)}
        case Paren():
            return {"expr": tree_of(expr.expr), "type": "parenExpr"}
        case Unary():
            return {"expr": tree_of(expr.expr), "op": expr.op, "type": "unaryExpr"}
        case VectorSelector():
            return _selector(expr, "vectorSelector")
        case MatrixSelector():
            return dict(
                sorted({**_selector(expr.selector, "matrixSelector"), **_duration("range", expr.range)}.items())
            )
        case Subquery():
            return _subquery(expr)
        case Call():
            return _call(expr)
        case Aggregate():
            return _aggregate(expr)
        case Binary():
            return _binary(expr)
        case _:
            raise TypeError(f"no tree of {type(expr).__name__}")


def _text(value: str) -> str:
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _duration(name: str, duration: Duration | None) -> Node:
    if isinstance(duration, DurationExpr):
        return {name: 0, f"{name}Expr": _duration_tree(duration)}
    return {name: duration or 0, f"{name}Expr": None}


def _duration_tree(node: DurationExpr | NumberLiteral | None) -> Node | None:
    if node is None:
        return None
    if isinstance(node, NumberLiteral):
        return {"duration": node.is_duration, "type": "numberLiteral", "val": format_plain(node.value)}
    return {
        "lhs": _duration_tree(node.lhs),
        "op": node.op,
        "rhs": _duration_tree(node.rhs),
        "type": "durationExpr",
        "wrapped": node.wrapped,
    }


def _times(offset: Duration, at: At | None) -> Node:
    return {
        **_duration("offset", offset),
        "startOrEnd": at.value if isinstance(at, AtEdge) else None,
        "timestamp": at if isinstance(at, int) else None,
    }


def _selector(node: VectorSelector, kind: str) -> Node:
    found: Node = {
        "anchored": node.anchored,
        "matchers": _matchers(node.matchers),
        "name": node.name,
        "smoothed": node.smoothed,
        "type": kind,
        **_times(node.offset, node.at),
    }
    return dict(sorted(found.items()))


def _matchers(matchers: Sequence[Matcher]) -> list[Node]:
    return [{"name": one.name, "type": one.op.value, "value": _text(one.value)} for one in matchers]


def _subquery(node: Subquery) -> Node:
    found: Node = {
        "expr": tree_of(node.expr),
        **_duration("range", node.range),
        **_duration("step", node.step),
        "type": "subquery",
        **_times(node.offset, node.at),
    }
    return dict(sorted(found.items()))


def _call(node: Call) -> Node:
    signature = SIGNATURES[node.function]
    function = {
        "argTypes": [_TYPE_NAMES[one] for one in signature.args],
        "name": signature.name,
        "returnType": _TYPE_NAMES[signature.returns],
        "variadic": signature.extra,
    }
    return {"args": [tree_of(arg) for arg in node.args], "func": function, "type": "call"}


def _aggregate(node: Aggregate) -> Node:
    return {
        "expr": tree_of(node.expr),
        "grouping": list(node.grouping),
        "op": node.op,
        "param": None if node.param is None else tree_of(node.param),
        "type": "aggregation",
        "without": node.without,
    }


def _binary(node: Binary) -> Node:
    """A chain of operators is walked in a loop; its tree is as deep as the chain is long."""
    chain = left_spine(node)
    found = tree_of(chain[0].lhs)
    for link in chain:
        found = {
            "bool": link.return_bool,
            "lhs": found,
            "matching": None if link.matching is None else _matching(link.matching),
            "op": link.op,
            "rhs": tree_of(link.rhs),
            "type": "binaryExpr",
        }
    return found


def _matching(matching: Matching) -> Node:
    return {
        "card": matching.card.value,
        "fillValues": {"lhs": matching.fill_left, "rhs": matching.fill_right},
        "include": list(matching.include),
        "labels": list(matching.labels),
        "on": matching.on,
    }
