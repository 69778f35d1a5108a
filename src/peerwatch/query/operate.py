"""Operate: binary operators between cells that may hold numbers or native histograms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from peerwatch.model import BoolArray, Float64Array, HistogramCells, Histograms
from peerwatch.query.annotation import Annotations
from peerwatch.query.ast import Span
from peerwatch.query.native.arithmetic import as_gauges, combined, compact, compatible, divided, same, scaled
from peerwatch.query.native.trim import trimmed
from peerwatch.query.operator import COMPARISON, TRIMS, apply


@dataclass(frozen=True, slots=True)
class Operand:
    """One side: numbers [P, T], and which cells hold a histogram instead."""

    values: Float64Array
    cells: HistogramCells | None = None

    @property
    def native(self) -> BoolArray:
        """bool [P, T]."""
        return np.zeros(self.values.shape, np.bool_) if self.cells is None else self.cells.mask


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it. present [P, T]: cells for which the operator is defined. holds [P, T]: where a comparison is
    true; None for arithmetic. cells: results that are histograms; of a comparison those of its left side."""

    values: Float64Array
    present: BoolArray
    holds: BoolArray | None
    cells: HistogramCells | None = None


def operate(op: str, left: Operand, right: Operand, present: BoolArray, notes: Annotations, span: Span) -> Outcome:
    """`left op right`. Cells whose kinds do not go with the operator are left out, and that is said."""
    if left.cells is None and right.cells is None and op not in TRIMS:
        values, holds = apply(op, left.values, right.values)
        return Outcome(values, present, holds)
    return _Mixed(op, left, right, present, notes, span).outcome()


class _Mixed:
    """One operator over cells of all kinds."""

    def __init__(
        self, op: str, left: Operand, right: Operand, present: BoolArray, notes: Annotations, span: Span
    ) -> None:
        self._op, self._left, self._right = op, left, right
        self._notes, self._span = notes, span
        self._present = present.copy()
        ours, theirs = left.native & present, right.native & present
        self._numbers = present & ~ours & ~theirs
        self._by_histogram = theirs & ~ours
        self._with_number = ours & ~theirs
        self._histograms = ours & theirs

    def outcome(self) -> Outcome:
        op = self._op
        if op in TRIMS:
            self._undefined(self._numbers, "float", "float")
            values, holds = np.zeros(self._left.values.shape), None
        else:
            values, holds = apply(op, self._left.values, self._right.values)
        parts = [self._factor_first(), self._number_last(), self._both(holds)]
        marked = np.zeros(self._present.shape, np.bool_)
        which, before = np.full(marked.shape, -1, np.int64), 0
        for mask, column in parts:
            which[mask] = before + np.arange(len(column), dtype=np.int64)
            before += len(column)
        column = Histograms.concat([column for _, column in parts])
        cells = HistogramCells(which, column) if len(column) else None
        return Outcome(values, self._present, holds, cells)

    def _undefined(self, marked: BoolArray, left: str, right: str) -> tuple[BoolArray, Histograms]:
        if marked.any():
            self._notes.incompatible_types(left, self._op, right, self._span)
            self._present &= ~marked
        return np.zeros(marked.shape, np.bool_), Histograms.none()

    def _factor_first(self) -> tuple[BoolArray, Histograms]:
        """A number and a histogram."""
        marked = self._by_histogram
        if self._op != "*" or self._right.cells is None:
            return self._undefined(marked, "float", "histogram")
        return marked, compact(scaled(self._right.cells.of(marked), self._left.values[marked]))

    def _number_last(self) -> tuple[BoolArray, Histograms]:
        """A histogram and a number."""
        marked, op = self._with_number, self._op
        if op not in ("*", "/", *TRIMS) or self._left.cells is None:
            return self._undefined(marked, "histogram", "float")
        found, number = self._left.cells.of(marked), self._right.values[marked]
        if op in TRIMS:
            return marked, trimmed(found, number, keep_below=op == "</")
        return marked, compact(scaled(found, number) if op == "*" else divided(found, number))

    def _both(self, holds: BoolArray | None) -> tuple[BoolArray, Histograms]:
        """Two histograms."""
        marked, op = self._histograms, self._op
        if self._left.cells is None or self._right.cells is None or op not in ("+", "-", "==", "!="):
            return self._undefined(marked, "histogram", "histogram")
        ours, theirs = self._left.cells.of(marked), self._right.cells.of(marked)
        if holds is not None and op in COMPARISON:
            holds[marked] = same(ours, theirs) == (op == "==")
            return marked, ours
        return self._sum(ours, theirs)

    def _sum(self, ours: Histograms, theirs: Histograms) -> tuple[BoolArray, Histograms]:
        marked, subtract = self._histograms.copy(), self._op == "-"
        fits = compatible(ours, theirs)
        if not fits.all():
            self._notes.incompatible_buckets(self._op, self._span)
        rows = np.flatnonzero(fits)
        total = combined(ours.take(rows), theirs.take(rows), subtract=subtract)
        operation = "subtraction" if subtract else "addition"
        if total.collided.any():
            self._notes.colliding_resets(operation, self._span)
        if total.reconciled[~total.collided].any():
            self._notes.reconciled_bounds(operation, self._span)
        fits[rows] = ~total.collided
        marked[marked] = fits
        self._present &= ~self._histograms | marked
        found = compact(total.found.take(np.flatnonzero(~total.collided)))
        return marked, as_gauges(found) if subtract else found
