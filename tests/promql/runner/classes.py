"""Classes: what a case is about, judged by its content alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from peerwatch.errors import ParseError
from peerwatch.model import Labels, Matcher
from peerwatch.query.ast import (
    Aggregate,
    Binary,
    Call,
    DurationExpr,
    Expr,
    MatrixSelector,
    Subquery,
    VectorSelector,
    children,
)
from peerwatch.query.parser import parse
from peerwatch.query.signature import SIGNATURES
from tests.promql.runner.script import Case

REASONS = {
    "A": "plain floats: literals, selectors, operators, aggregations, functions, classic histograms",
    "B": "experimental functions and aggregations on floats",
    "C": "fill modifiers and info()",
    "D": "duration expressions, anchored and smoothed selectors, start timestamps",
    "E": "native histograms",
    "T": "type and unit labels",
}

_NATIVE_FUNCTIONS = frozenset(
    ["histogram_count", "histogram_sum", "histogram_avg", "histogram_stddev", "histogram_stdvar"]
)


def class_of(case: Case, native: Iterable[Labels], start_times: Iterable[Labels], typed: bool) -> str:
    """The class of a case.

    E: it names a series that holds native histograms (`native`), expects one, or uses an operator or function for them.
    D: it names a series with start timestamps, or uses the experimental syntax of time. C: fill or info().
    T: the storage holds type and unit labels. B: experimental functions. A: everything else.
    """
    try:
        nodes = list(walk(parse(case.expr)))
    except ParseError:
        nodes = []
    selectors = [node for node in nodes if isinstance(node, VectorSelector)]
    if _is_native(case, nodes) or _touches(selectors, native):
        return "E"
    if any(_is_about_time(node) for node in nodes) or _touches(selectors, start_times):
        return "D"
    if any(_is_filled(node) or _calls(node, "info") for node in nodes):
        return "C"
    if typed:
        return "T"
    return "B" if any(_is_experimental(node) for node in nodes) else "A"


def _is_native(case: Case, nodes: list[Expr]) -> bool:
    if any("{{" in line for line in case.lines) or re.search(r"histogram|native", " ".join(_messages(case))):
        return True
    return any(
        (isinstance(node, Binary) and node.op in ("</", ">/"))
        or (isinstance(node, Call) and node.function in _NATIVE_FUNCTIONS)
        for node in nodes
    )


def _messages(case: Case) -> list[str]:
    return [one.text for one in case.expectations if "native" in one.text]


def _touches(selectors: list[VectorSelector], series: Iterable[Labels]) -> bool:
    return any(_selects(selector.matchers, labels) for labels in series for selector in selectors)


def _selects(matchers: Iterable[Matcher], labels: Labels) -> bool:
    return all(matcher.matches(labels.get(matcher.name)) for matcher in matchers)


def _is_about_time(node: Expr) -> bool:
    match node:
        case VectorSelector():
            return node.anchored or node.smoothed or isinstance(node.offset, DurationExpr)
        case MatrixSelector():
            return isinstance(node.range, DurationExpr)
        case Subquery():
            return any(isinstance(part, DurationExpr) for part in (node.range, node.step, node.offset))
        case _:
            return _calls(node, "start_timestamp")


def _is_filled(node: Expr) -> bool:
    matching = node.matching if isinstance(node, Binary) else None
    return matching is not None and (matching.fill_left is not None or matching.fill_right is not None)


def _calls(node: Expr, name: str) -> bool:
    return isinstance(node, Call) and node.function == name


def _is_experimental(node: Expr) -> bool:
    if isinstance(node, Aggregate):
        return node.op in ("limitk", "limit_ratio")
    return isinstance(node, Call) and SIGNATURES[node.function].experimental


def walk(expr: Expr) -> Iterator[Expr]:
    """The node and everything below it."""
    yield expr
    for child in children(expr):
        yield from walk(child)
