"""Aggregations: sum by (x) (…) and the rest."""

from __future__ import annotations

import numpy as np

from peerwatch.errors import QueryError
from peerwatch.model import Float64Array, Labels
from peerwatch.query.annotation import Annotations
from peerwatch.query.ast import Aggregate, Span, unwrap
from peerwatch.query.functions.label import valid_label_name
from peerwatch.query.gotext import format_plain, quote
from peerwatch.query.grouping import Groups, group_labels, grouping_of
from peerwatch.query.limits import Budget
from peerwatch.query.rank import keep_ranked, keep_ratio
from peerwatch.query.reduce import REDUCTIONS, present_groups, quantile_of_groups
from peerwatch.query.value import Scalar, Text, Value, Vector, empty_vector

_RANKED = ("topk", "bottomk", "limitk")


def aggregate(expr: Aggregate, vector: Vector, param: Value | None, notes: Annotations, budget: Budget) -> Vector:
    """The aggregation of a vector, all steps at once."""
    if expr.op == "count_values":
        if not isinstance(param, Text):
            raise QueryError("count_values needs the name of a label")
        return _count_values(expr, vector, param.value, budget)
    groups = Groups.of(vector.labels, expr)
    if isinstance(param, Scalar) and expr.param is not None:
        if expr.op in _RANKED:
            return keep_ranked(expr.op, param.values, vector, groups, budget)
        if expr.op == "limit_ratio":
            return keep_ratio(param.values, vector, notes, unwrap(expr.param).span)
        _check_quantiles(param.values, notes, unwrap(expr.param).span)
    if not groups.labels:
        return empty_vector(vector.values.shape[1])
    with np.errstate(all="ignore"):
        values = _reduced(expr.op, vector, groups, param, budget)
    drops = groups.any_row(vector.drop_name)
    return Vector(groups.labels, values, present_groups(vector, groups), drops)


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
    # by their bits, because 0 and -0 are two texts
    distinct, which = np.unique(vector.values[rows, steps].view(np.uint64), return_inverse=True)
    texts = [format_plain(value) for value in distinct.view(np.float64).tolist()]
    pairs, pair_of = np.unique(rows * max(1, len(distinct)) + which, return_inverse=True)
    known: dict[Labels, int] = {}
    owner = np.empty(len(pairs), np.int64)
    for at, (row, value) in enumerate(zip(*np.divmod(pairs, max(1, len(distinct))), strict=True)):
        marked = vector.labels[row].with_({label: texts[value]})
        owner[at] = known.setdefault(group_labels(marked, grouping, expr.without), len(known))
    budget.cells(len(known), vector.values.shape[1])
    counts = np.zeros((len(known), vector.values.shape[1]))
    np.add.at(counts, (owner[pair_of], steps), 1.0)
    drops = None
    if vector.drop_name is not None:
        drops = np.full(len(known), bool(vector.drop_name.any()))
    return Vector(list(known), counts, counts > 0, drops)
