"""Arithmetic and comparison between scalars and vectors."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from peerwatch.errors import QueryError
from peerwatch.model import BoolArray, Int64Array, Labels
from peerwatch.query.annotation import Annotations
from peerwatch.query.ast import Cardinality, Matching, Span
from peerwatch.query.gotext import quote
from peerwatch.query.limits import Budget
from peerwatch.query.matching import match_groups, rows_by_group
from peerwatch.query.native.arithmetic import scaled
from peerwatch.query.operate import Operand, operate
from peerwatch.query.operator import TRIMS, apply
from peerwatch.query.pairs import Pairs, matched_pairs, with_fill
from peerwatch.query.printer import format_label
from peerwatch.query.value import METADATA_LABELS, Scalar, Vector, drop_names, merge_duplicates

_AMBIGUOUS = "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
_NOT_UNIQUE = "multiple matches for labels: grouping labels must ensure unique matches"


def between_scalars(op: str, left: Scalar, right: Scalar) -> Scalar:
    """`left op right`; a comparison yields 0 or 1."""
    result, holds = apply(op, left.values, right.values)
    return Scalar(result if holds is None else holds.astype(np.float64))


@dataclass(frozen=True, slots=True)
class Operation:
    """One operator at its place in a query: what every way of applying it needs to know."""

    op: str
    span: Span
    return_bool: bool
    delayed: bool
    notes: Annotations
    budget: Budget


def with_scalar(operation: Operation, vector: Vector, scalar: Scalar, *, scalar_is_left: bool) -> Vector:
    """Each sample with the scalar of its step. A comparison keeps the vector's samples, whichever side they are on."""
    number = Operand(np.broadcast_to(scalar.values, vector.values.shape))
    sample = Operand(vector.values, vector.histograms)
    sides = (number, sample) if scalar_is_left else (sample, number)
    outcome = operate(operation.op, *sides, vector.present, operation.notes, operation.span)
    if outcome.holds is None:
        changed = replace(vector, values=outcome.values, present=outcome.present, histograms=outcome.cells)
        return changed if operation.op in TRIMS else drop_names(changed, delayed=operation.delayed)
    if operation.return_bool:
        holds = outcome.holds.astype(np.float64)
        return drop_names(vector.with_values(holds, outcome.present), delayed=operation.delayed)
    return vector.where(outcome.present & outcome.holds)


def negate(vector: Vector, *, delayed: bool) -> Vector:
    """`-vector`."""
    cells = vector.histograms
    if cells is not None:
        cells = replace(cells, column=scaled(cells.column, np.full(len(cells.column), -1.0)))
    return drop_names(replace(vector, values=-vector.values, histograms=cells), delayed=delayed)


def between_vectors(operation: Operation, left: Vector, right: Vector, matching: Matching) -> Vector:
    """Samples of both sides that match, combined. Raises QueryError where the matching is not what it must be."""
    swapped = matching.card is Cardinality.ONE_TO_MANY
    many, one = (right, left) if swapped else (left, right)
    many_groups, one_groups, signatures = match_groups(many.labels, one.labels, matching)
    filled = matching.fill_left is not None or matching.fill_right is not None
    some_many: BoolArray = np.asarray(many.present.any(axis=0))
    some_one: BoolArray = np.asarray(one.present.any(axis=0))
    active = some_many | some_one if filled else some_many & some_one  # nothing is checked where nothing can match
    _check_one_side(one, one_groups, signatures, active, "left" if swapped else "right")
    pairs = matched_pairs(many, one, many_groups, one_groups)
    if filled:
        # with group_right, too, fill_left is for the "many" side: that is how Prometheus has it
        sides_to_fill = (many, many_groups, matching.fill_left), (one, one_groups, matching.fill_right)
        pairs = with_fill(pairs, *sides_to_fill, signatures)
    operation.budget.cells(len(pairs.many_labels), left.values.shape[1])
    return _combined(operation, pairs, matching, swapped=swapped)


def _combined(operation: Operation, pairs: Pairs, matching: Matching, *, swapped: bool) -> Vector:
    sides = (pairs.one, pairs.many) if swapped else (pairs.many, pairs.one)
    outcome = operate(operation.op, *sides, pairs.present, operation.notes, operation.span)
    pairs, return_bool = replace(pairs, present=outcome.present), operation.return_bool
    is_comparison = outcome.holds is not None
    drop_now = (not is_comparison and operation.op not in TRIMS) or (return_bool and not operation.delayed)
    labels = [
        _result_labels(base, other, matching, drop_now)
        for base, other in zip(pairs.many_labels, pairs.one_labels, strict=True)
    ]
    _check_many_side(pairs, labels, matching)
    drops = pairs.drops | return_bool if operation.delayed else None
    if outcome.holds is None:
        return merge_duplicates(Vector(labels, outcome.values, pairs.present, drops, outcome.cells))
    if return_bool:
        return merge_duplicates(Vector(labels, outcome.holds.astype(np.float64), pairs.present, drops))
    kept = Vector(labels, outcome.values, pairs.present, drops, outcome.cells).where(outcome.holds)
    return merge_duplicates(kept)


def _check_many_side(pairs: Pairs, labels: list[Labels], matching: Matching) -> None:
    """No step may have two results for one match group (or, when grouped, with the same labels)."""
    is_one_to_one = matching.card is Cardinality.ONE_TO_ONE
    keys = [(group, None if is_one_to_one else one) for group, one in zip(pairs.groups.tolist(), labels, strict=True)]
    if len(set(keys)) == len(keys):
        return
    rows_of: dict[tuple[int, Labels | None], list[int]] = {}
    for row, key in enumerate(keys):
        rows_of.setdefault(key, []).append(row)
    for rows in rows_of.values():
        if len(rows) > 1 and (pairs.present[rows].sum(axis=0) > 1).any():
            raise QueryError(_AMBIGUOUS if is_one_to_one else _NOT_UNIQUE)


def _result_labels(base: Labels, other: Labels, matching: Matching, drop_name: bool) -> Labels:
    labels = base.without(METADATA_LABELS) if drop_name else base
    if matching.card is Cardinality.ONE_TO_ONE:
        labels = labels.keep(matching.labels) if matching.on else labels.without(matching.labels)
    if matching.include:
        labels = labels.with_({name: other.get(name) for name in matching.include})
    return labels


def _check_one_side(one: Vector, groups: Int64Array, signatures: list[Labels], active: BoolArray, side: str) -> None:
    for group, rows in rows_by_group(groups).items():
        if len(rows) == 1:
            continue
        present = one.present[rows]
        clash = np.flatnonzero((present.sum(axis=0) > 1) & active)
        if len(clash) == 0:
            continue
        first, second = np.flatnonzero(present[:, clash[0]])[:2].tolist()
        names = sorted(_described(one.labels[rows[at]]) for at in (first, second))
        raise QueryError(
            f"found duplicate series for the match group {_described(signatures[group])} on the {side} hand-side "
            f"of the operation: [{names[0]}, {names[1]}]"
            ";many-to-many matching not allowed: matching labels must be unique on one side"
        )


def _described(labels: Labels) -> str:
    """Labels as Go prints them: the name among the others."""
    return "{" + ", ".join(f"{format_label(name)}={quote(value)}" for name, value in labels) + "}"
