"""`/parse_query`: the tree as Prometheus's own pages read it."""

from __future__ import annotations

import msgspec
import pytest

from peerwatch.query.parser import parse
from peerwatch.query.tree import tree_of

SELECTOR = {
    "anchored": False,
    "matchers": [{"name": "__name__", "type": "=", "value": "m"}],
    "name": "m",
    "offset": 0,
    "offsetExpr": None,
    "smoothed": False,
    "startOrEnd": None,
    "timestamp": None,
    "type": "vectorSelector",
}
ONE = {"type": "numberLiteral", "val": "1"}
RATE = {"argTypes": ["matrix"], "name": "rate", "returnType": "vector", "variadic": 0}


@pytest.mark.parametrize(
    ("query", "tree"),
    [
        ("1", ONE),
        ('"a"', {"type": "stringLiteral", "val": "a"}),
        ("-(1)", {"expr": {"expr": ONE, "type": "parenExpr"}, "op": "-", "type": "unaryExpr"}),
        ("m offset 1m @ end()", SELECTOR | {"offset": 60_000, "startOrEnd": "end"}),
        (
            "rate(m[5m] @ 1.5)",
            {
                "args": [
                    SELECTOR | {"range": 300_000, "rangeExpr": None, "timestamp": 1500, "type": "matrixSelector"},
                ],
                "func": RATE,
                "type": "call",
            },
        ),
        (
            "m[1h:5m]",
            {
                "expr": SELECTOR,
                "offset": 0,
                "offsetExpr": None,
                "range": 3_600_000,
                "rangeExpr": None,
                "startOrEnd": None,
                "step": 300_000,
                "stepExpr": None,
                "timestamp": None,
                "type": "subquery",
            },
        ),
        (
            "topk without (a) (1, m)",
            {
                "expr": SELECTOR,
                "grouping": ["a"],
                "op": "topk",
                "param": ONE,
                "type": "aggregation",
                "without": True,
            },
        ),
        (
            "m > bool on (a) group_left (b) m",
            {
                "bool": True,
                "lhs": SELECTOR,
                "matching": {
                    "card": "many-to-one",
                    "fillValues": {"lhs": None, "rhs": None},
                    "include": ["b"],
                    "labels": ["a"],
                    "on": True,
                },
                "op": ">",
                "rhs": SELECTOR,
                "type": "binaryExpr",
            },
        ),
    ],
)
def test_every_kind_of_node_has_its_shape(query: str, tree: dict[str, object]) -> None:
    """Keys in alphabetical order, absent things null."""
    found = tree_of(parse(query))
    assert found == tree
    assert list(found) == sorted(found)


def test_a_long_chain_has_a_tree() -> None:
    """Hundreds of operands are usual in generated queries."""
    assert msgspec.json.encode(tree_of(parse("+".join(["m"] * 500)))).count(b"binaryExpr") == 499
