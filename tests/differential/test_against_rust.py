"""Our parser beside the maintained Rust one (`promql-parser`, development only): who takes what, and as which tree.

It knows Prometheus 2.45 and some of what came later, so what it refuses we may take, for the reasons in `_newer`; what
it takes we must take too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from peerwatch.errors import ParseError
from peerwatch.query import Expr, format_expr, parse
from peerwatch.query.ast import (
    DurationExpr,
    MatrixSelector,
    NumberLiteral,
    Subquery,
    Unary,
    VectorSelector,
    children,
)
from tests.differential.grammar import mistakes, queries

rust = pytest.importorskip("promql_parser", reason="needs promql-parser: pip install '.[dev]'")

generated = settings(
    max_examples=1500, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)
_EMPTY_MATCHING = re.compile(r"\b(on|ignoring)\s*\(\s*\)")
_GROUPED_DIGITS = re.compile(r"[0-9]_[0-9]")
_RAW_BACKSLASH = re.compile(r"`[^`]*\\[^`]*`")
_EXTENDED = ("anchored", "smoothed")
_LENIENT = ("unary expression only allowed on", "filling in missing series only allowed", "in aggregation parameter")
"""What it does not check: what stands behind a plus sign, between what one can fill, limitk's parameter."""

_NO_OFFSET = re.compile(r"offset\s+0s")


def ours(text: str) -> Expr | str:
    """Our tree, or why there is none."""
    try:
        return parse(text)
    except ParseError as error:
        return str(error)


def theirs(text: str) -> str | None:
    """Their tree, printed."""
    try:
        printed: str = rust.parse(text).prettify()
    except ValueError:
        return None
    return printed


def _nodes(root: Expr) -> Iterator[Expr]:
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(children(node))


def _newer(text: str, tree: Expr) -> str | None:
    """Why the Rust parser does not know this query."""
    if _GROUPED_DIGITS.search(text):
        return "1_000"
    if _RAW_BACKSLASH.search(text):
        return "a backslash in a raw string"
    if _NO_OFFSET.search(text):
        return "offset 0s"
    for node in _nodes(tree):
        if isinstance(node, VectorSelector) and (node.anchored or node.smoothed or node.name in _EXTENDED):
            return "anchored, smoothed"
        if any(isinstance(one, DurationExpr) for one in _durations(node)):
            return "arithmetic on durations"
    return None


def _durations(node: Expr) -> tuple[object, ...]:
    match node:
        case VectorSelector():
            return (node.offset,)
        case MatrixSelector():
            return (node.range,)
        case Subquery():
            return (node.range, node.step, node.offset)
        case _:
            return ()


def _misprinted(text: str, tree: Expr) -> bool:
    """It prints 5m as 300 where a number stands, times before 1970 as 1970, and no plus signs.

    It leaves out `ignoring ()` before group_left, and keeps `on ()` beside a number, where Prometheus drops it.
    """
    return bool(_EMPTY_MATCHING.search(text)) or any(
        (isinstance(node, Unary) and node.op == "+")
        or (isinstance(node, NumberLiteral) and node.is_duration)
        or (isinstance(node, VectorSelector | Subquery) and isinstance(node.at, int) and node.at < 0)
        for node in _nodes(tree)
    )


def check(text: str) -> bool:
    """Whether both took it; AssertionError where one should not have, or their trees differ."""
    tree, printed = ours(text), theirs(text)
    if isinstance(tree, str):
        assert printed is None or any(words in tree for words in _LENIENT), (
            f"only the Rust parser takes {text!r}; we say {tree}"
        )
        return False
    if printed is None:
        assert _newer(text, tree), f"only we take {text!r}"
        return False
    if not _misprinted(text, tree):
        assert parse(printed) == tree
        assert theirs(format_expr(tree)) == printed
    return True


@pytest.mark.parametrize(("texts", "enough"), [(queries, 150), (mistakes(), 50)], ids=["queries", "mistakes"])
def test_both_parsers_take_the_same_queries_as_the_same_trees(texts: st.SearchStrategy[str], enough: int) -> None:
    """What one refuses the other refuses; what both print, both read back as the same; and of that there is enough."""
    taken: set[str] = set()

    @generated
    @given(texts)
    def run(text: str) -> None:
        if check(text):
            taken.add(text)

    run()
    assert len(taken) >= enough, len(taken)


@pytest.mark.parametrize(
    "text",
    [
        "x[1y2w3d4h5m6s7ms] offset -5m @ end()",
        '{"a.b", "c d"=~"e.*", f!~\'g\'}',
        "sum without (a, b,) (x) / on () group_left (c) y",
        "x ^ -1 ^ 2 or -y atan2 z unless z and on (a) w",
        "x > bool on (a) fill_left (1) fill_right (-1) y",
        "start{a='b'} + end + sum + by + offset offset 1m",
        "max_over_time(rate(x[5m])[1h:])[300:0.5]",
        'label_replace(x, "a", `$1`, \'b\', "\\u00e9\\x41\\101\\n")',
        "0x1F + 017 + 1e3 + .5 + inf + nan",
        'count_values by (a) ("b", x) + topk(1, y) without (c) # remark',
    ],
)
def test_both_parsers_agree_on_rare_syntax(text: str) -> None:
    """Shapes that the generator does not make."""
    assert check(text)
