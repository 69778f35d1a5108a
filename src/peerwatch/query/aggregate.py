"""Aggregations: sum by (x) (…) and the rest."""

from __future__ import annotations

import numpy as np

from peerwatch.errors import QueryError
from peerwatch.model import BoolArray, Float64Array, Int64Array, Labels
from peerwatch.query.annotation import Annotations
from peerwatch.query.ast import Aggregate, Span, unwrap
from peerwatch.query.functions.label import valid_label_name
from peerwatch.query.functions.native_windows import beside
from peerwatch.query.gotext import format_plain, quote
from peerwatch.query.grouping import Groups, group_labels, grouping_of
from peerwatch.query.limits import Budget
from peerwatch.query.native.text import described
from peerwatch.query.native_groups import sum_natives
from peerwatch.query.rank import keep_ranked, keep_ratio
from peerwatch.query.reduce import REDUCTIONS, present_groups, quantile_of_groups
from peerwatch.query.value import Scalar, Text, Value, Vector, empty_vector

_RANKED = ("topk", "bottomk", "limitk")
_OF_NUMBERS = ("topk", "bottomk", "min", "max", "stddev", "stdvar", "quantile")
"""These pass over native histograms."""
_SUMS = ("sum", "avg")


def aggregate(expr: Aggregate, vector: Vector, param: Value | None, notes: Annotations, budget: Budget) -> Vector:
    """The aggregation of a vector, all steps at once."""
    if expr.op == "count_values":
        if not isinstance(param, Text):
            raise QueryError("count_values needs the name of a label")
        return _count_values(expr, vector, param.value, budget)
    groups = Groups.of(vector.labels, expr)
    if isinstance(param, Scalar) and expr.param is not None:
        if expr.op in _RANKED:
            if expr.op in _OF_NUMBERS:
                if param.values.max(initial=0.0) >= 1:
                    _say_ignored(expr.op, vector, notes, expr.span)
                vector = vector.floats
            return keep_ranked(expr.op, param.values, vector, groups, budget)
        if expr.op == "limit_ratio":
            return keep_ratio(param.values, vector, notes, unwrap(expr.param).span)
        _check_quantiles(param.values, notes, unwrap(expr.param).span)
    if not groups.labels:
        return empty_vector(vector.values.shape[1])
    if expr.op in _OF_NUMBERS:
        _say_ignored(expr.op, vector, notes, unwrap(expr.expr).span)
        vector = vector.floats
    drops = groups.any_row(vector.drop_name)
    if expr.op in _SUMS and vector.histograms is not None:
        return _sums(expr, vector, groups, notes, budget, drops)
    with np.errstate(all="ignore"):
        values = _reduced(expr.op, vector, groups, param, budget)
    return Vector(groups.labels, values, present_groups(vector, groups), drops)


def _say_ignored(op: str, vector: Vector, notes: Annotations, span: Span) -> None:
    if vector.native.any():
        notes.ignored_in_aggregation(op, span)


def _sums(
    expr: Aggregate, vector: Vector, groups: Groups, notes: Annotations, budget: Budget, drops: BoolArray | None
) -> Vector:
    """Groups of numbers and groups of histograms; one that has both at a step has no sum there."""
    span = unwrap(expr.expr).span
    natives = present_groups(vector.where(vector.native), groups)
    with np.errstate(all="ignore"):
        values = _reduced(expr.op, vector.floats, groups, None, budget)
    floats = Vector(groups.labels, values, present_groups(vector.floats, groups) & ~natives, drops)
    return beside(floats, sum_natives(vector, groups, notes, span, budget, average=expr.op == "avg"))


def _check_quantiles(wanted: Float64Array, notes: Annotations, span: Span) -> None:
    """The extremes stand for all steps, and one NaN hides them."""
    if np.isnan(wanted).any():
        notes.invalid_quantile(np.nan, span)
        return
    for worst in (wanted.max(initial=0.0), wanted.min(initial=0.0)):
        if not 0 <= worst <= 1:
            notes.invalid_quantile(float(worst), span)


def _reduced(op: str, vector: Vector, groups: Groups, param: Value | None, budget: Budget) -> Float64Array:
    if isinstance(param, Scalar):
        return quantile_of_groups(param.values, vector, groups, budget)
    return REDUCTIONS[op](vector, groups, budget)


def _count_values(expr: Aggregate, vector: Vector, label: str, budget: Budget) -> Vector:
    """How many series of each group have each value; the value becomes a label before grouping."""
    if not valid_label_name(label):
        raise QueryError(f"invalid label name {quote(label)}")
    grouping = grouping_of(expr) if expr.without else grouping_of(expr) | {label}
    rows, steps = np.nonzero(vector.present)
    texts, which = _texts(vector)
    pairs, pair_of = np.unique(rows * max(1, len(texts)) + which, return_inverse=True)
    known: dict[Labels, int] = {}
    owner = np.empty(len(pairs), np.int64)
    for at, (row, value) in enumerate(zip(*np.divmod(pairs, max(1, len(texts))), strict=True)):
        marked = vector.labels[row].with_({label: texts[value]})
        owner[at] = known.setdefault(group_labels(marked, grouping, expr.without), len(known))
    budget.cells(len(known), vector.values.shape[1])
    counts = np.zeros((len(known), vector.values.shape[1]))
    np.add.at(counts, (owner[pair_of], steps), 1.0)
    drops = None
    if vector.drop_name is not None:
        drops = np.full(len(known), bool(vector.drop_name.any()))
    return Vector(list(known), counts, counts > 0, drops)


def _texts(vector: Vector) -> tuple[list[str], Int64Array]:
    """(distinct values as texts, which of them each present cell has)."""
    # by their bits, because 0 and -0 are two texts
    distinct, which = np.unique(vector.values[vector.present].view(np.uint64), return_inverse=True)
    texts = [format_plain(value) for value in distinct.view(np.float64).tolist()]
    if vector.histograms is None:
        return texts, which
    native = vector.histograms.mask[vector.present]
    known: dict[str, int] = {}
    spelled = described(vector.histograms.of(vector.native))
    which[native] = [len(texts) + known.setdefault(text, len(known)) for text in spelled]
    return [*texts, *known], which
