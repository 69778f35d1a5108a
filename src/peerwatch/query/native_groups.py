"""Sums and averages over groups of series with native histograms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from peerwatch.model import BoolArray, HistogramCells, Histograms, Int64Array
from peerwatch.model.histograms import COUNTER_RESET, NOT_COUNTER_RESET
from peerwatch.query.annotation import Annotations
from peerwatch.query.ast import Span
from peerwatch.query.grouping import Groups
from peerwatch.query.limits import Budget
from peerwatch.query.native.arithmetic import compact
from peerwatch.query.native.bundle import Bundle, added
from peerwatch.query.value import Vector

_BUCKETS_AT_ONCE = 1 << 18


@dataclass(frozen=True, slots=True)
class _Members:
    """Cells with a histogram, group by group and step by step: rows [M] of the vector, places [M] in its column; bundle
    i is group `groups[i]` at step `steps[i]` and owns starts[i] : starts[i] + counts[i]."""

    rows: Int64Array
    places: Int64Array
    groups: Int64Array
    steps: Int64Array
    starts: Int64Array
    counts: Int64Array

    @classmethod
    def of(cls, vector: Vector, groups: Groups, cells: HistogramCells) -> _Members:
        native = vector.native[groups.order]
        at, steps = np.nonzero(native)
        rows = groups.order[at]
        keys = groups.ids[rows] * native.shape[1] + steps
        order = np.argsort(keys, kind="stable")
        found, starts, counts = np.unique(keys[order], return_index=True, return_counts=True)
        group, step = np.divmod(found, max(1, native.shape[1]))
        places = cells.which[rows, steps][order]
        return cls(rows[order], places, group, step, starts, counts)

    def any_of(self, marked: BoolArray) -> BoolArray:
        """For each bundle whether a member is marked [M]."""
        return np.logical_or.reduceat(marked, self.starts) if len(self.starts) else np.zeros(0, np.bool_)


def sum_natives(
    vector: Vector, groups: Groups, notes: Annotations, span: Span, budget: Budget, *, average: bool
) -> HistogramCells | None:
    """The sum or average of the histograms of each group at each step; a group with numbers among them has none."""
    cells = vector.histograms
    if cells is None:
        return None
    members = _Members.of(vector, groups, cells)
    column = cells.column
    usable = _one_kind(vector, groups, members, notes, span)
    told, denied = (
        members.any_of((column.hints == hint)[members.places]) for hint in (COUNTER_RESET, NOT_COUNTER_RESET)
    )
    if (told & denied & usable).any():
        notes.colliding_resets("aggregation", span)
    which = np.full((len(groups.labels), vector.values.shape[1]), -1, np.int64)
    parts, before = [], 0
    rows = np.flatnonzero(usable)
    height = max(1, _BUCKETS_AT_ONCE // int(column.sizes.max(initial=1)))
    for at in range(0, len(rows), height):
        budget.check()
        part = rows[at : at + height]
        found, reconciled = added(
            column, Bundle(members.starts[part], members.counts[part], members.places), average=average
        )
        if reconciled.any():
            notes.reconciled_bounds("aggregation", span)
        which[members.groups[part], members.steps[part]] = before + np.arange(len(part), dtype=np.int64)
        before += len(part)
        parts.append(compact(found))
    return HistogramCells(which, Histograms.concat(parts)) if parts else None


def _one_kind(vector: Vector, groups: Groups, members: _Members, notes: Annotations, span: Span) -> BoolArray:
    """Bundles without numbers among their histograms, and whose bounds are all custom or none."""
    numbers = np.logical_or.reduceat(vector.floats.present[groups.order], groups.starts, axis=0)
    with_numbers: BoolArray = numbers[members.groups, members.steps]
    custom = _custom(vector, members)
    two_kinds = members.any_of(custom) & members.any_of(~custom)
    said = with_numbers.copy()
    for bundle in np.flatnonzero(two_kinds).tolist():
        said[bundle] = _say_two_kinds(vector, groups, members, bundle, notes, span)
    if said.any():
        notes.mixed_aggregation(span)
    return ~with_numbers & ~two_kinds


def _custom(vector: Vector, members: _Members) -> BoolArray:
    """bool [M]: members with custom bounds."""
    cells = vector.histograms
    return np.zeros(len(members.places), np.bool_) if cells is None else cells.column.custom[members.places]


def _say_two_kinds(
    vector: Vector, groups: Groups, members: _Members, bundle: int, notes: Annotations, span: Span
) -> bool:
    """Whether the numbers of a bundle are worth a remark, too. Prometheus goes through a group in order: it looks at
    bounds only where a histogram comes first, and at nothing behind the first one that does not fit."""
    part = slice(int(members.starts[bundle]), int(members.starts[bundle] + members.counts[bundle]))
    rows = groups.rows[int(members.groups[bundle])]
    numbers = rows[vector.floats.present[rows, int(members.steps[bundle])]]
    first = int(members.rows[part][0])
    if len(numbers) and numbers[0] < first:
        return True
    custom = _custom(vector, members)[part]
    odd = int(members.rows[part][np.flatnonzero(custom != custom[0])[0]])
    notes.mixed_schemas(vector.labels[odd].metric, span)
    return bool((numbers < odd).any())
