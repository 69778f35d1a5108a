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
    usable = ~_with_numbers(vector, groups, members, notes, span)
    usable &= ~_of_two_kinds(vector, members, column, notes, span)
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


def _with_numbers(vector: Vector, groups: Groups, members: _Members, notes: Annotations, span: Span) -> BoolArray:
    numbers = np.logical_or.reduceat(vector.floats.present[groups.order], groups.starts, axis=0)
    mixed: BoolArray = numbers[members.groups, members.steps]
    if mixed.any():
        notes.mixed_aggregation(span)
    return mixed


def _of_two_kinds(vector: Vector, members: _Members, column: Histograms, notes: Annotations, span: Span) -> BoolArray:
    custom = column.custom[members.places]
    mixed = members.any_of(custom) & members.any_of(~custom)
    for bundle in np.flatnonzero(mixed).tolist():
        part = slice(int(members.starts[bundle]), int(members.starts[bundle] + members.counts[bundle]))
        odd = int(np.flatnonzero(custom[part] != custom[part][0])[0])
        notes.mixed_schemas(vector.labels[members.rows[part][odd]].metric, span)
    return mixed
