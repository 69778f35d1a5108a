"""absent and absent_over_time: a sample where there is none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from peerwatch.model import METRIC_NAME, BoolArray, Labels, MatchOp
from peerwatch.query.ast import Expr, MatrixSelector, VectorSelector, unwrap
from peerwatch.query.functions.context import Argument, CallContext, Function, ranges_of, vector_of
from peerwatch.query.value import Value, Vector


def _labels_of(expr: Expr) -> Labels:
    """What the selector pins down with =; a label that is mentioned twice is not pinned down."""
    selector = unwrap(expr)
    if isinstance(selector, MatrixSelector):
        selector = selector.selector
    if not isinstance(selector, VectorSelector):
        return Labels()
    named = [matcher for matcher in selector.matchers if matcher.name != METRIC_NAME]
    mentions = [matcher.name for matcher in named]
    return Labels.of(
        (matcher.name, matcher.value)
        for matcher in named
        if matcher.op is MatchOp.EQUAL and mentions.count(matcher.name) == 1
    )


def _answer(context: CallContext, seen: BoolArray) -> Value:
    missing = ~seen[None, :]
    return Vector([_labels_of(context.call.args[0])], np.ones(missing.shape), missing)


def _absent(context: CallContext, args: Sequence[Argument]) -> Value:
    return _answer(context, np.asarray(vector_of(args[0]).present.any(axis=0)))


def _absent_over_time(context: CallContext, args: Sequence[Argument]) -> Value:
    ranges = ranges_of(args[0])
    seen = np.zeros(len(ranges.ends_ms), np.bool_)
    for block in ranges.blocks():
        seen |= (block.group_counts > 0).any(axis=0)
    return _answer(context, seen)


ABSENCE: dict[str, Function] = {"absent": _absent, "absent_over_time": _absent_over_time}
