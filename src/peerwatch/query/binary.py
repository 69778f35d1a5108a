"""Arithmetic and comparison between scalars and vectors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from peerwatch.errors import QueryError
from peerwatch.model import BoolArray, Int64Array, Labels
from peerwatch.query.ast import Cardinality, Matching
from peerwatch.query.gotext import quote
from peerwatch.query.limits import Budget
from peerwatch.query.matching import match_groups, rows_by_group
from peerwatch.query.operator import ARITHMETIC, apply
from peerwatch.query.pairs import Pairs, matched_pairs, with_fill
from peerwatch.query.printer import format_label
from peerwatch.query.value import METADATA_LABELS, Scalar, Vector, drop_names, merge_duplicates

_AMBIGUOUS = "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
_NOT_UNIQUE = "multiple matches for labels: grouping labels must ensure unique matches"


def between_scalars(op: str, left: Scalar, right: Scalar) -> Scalar:
    """`left op right`; a comparison yields 0 or 1."""
    result, holds = apply(op, left.values, right.values)
    return Scalar(result if holds is None else holds.astype(np.float64))


def with_scalar(
    op: str, vector: Vector, scalar: Scalar, *, scalar_is_left: bool, return_bool: bool, delayed: bool
) -> Vector:
    """Each sample with the scalar of its step. A comparison keeps the vector's samples, whichever side they are on."""
    number = np.broadcast_to(scalar.values, vector.values.shape)
    left, right = (number, vector.values) if scalar_is_left else (vector.values, number)
    result, holds = apply(op, left, right)
    if holds is None:
        return drop_names(vector.with_values(result), delayed=delayed)
    if return_bool:
        return drop_names(vector.with_values(holds.astype(np.float64)), delayed=delayed)
    return vector.with_values(vector.values, vector.present & holds)


def negate(vector: Vector, *, delayed: bool) -> Vector:
    """`-vector`."""
    return drop_names(vector.with_values(-vector.values), delayed=delayed)


def between_vectors(
    op: str, left: Vector, right: Vector, matching: Matching, *, return_bool: bool, delayed: bool, budget: Budget
) -> Vector:
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
    budget.cells(len(pairs.many_labels), left.values.shape[1])
    sides = (pairs.one_values, pairs.many_values) if swapped else (pairs.many_values, pairs.one_values)
    result, holds = apply(op, *sides)
    drop_now = op in ARITHMETIC or (return_bool and not delayed)
    labels = [
        _result_labels(base, other, matching, drop_now)
        for base, other in zip(pairs.many_labels, pairs.one_labels, strict=True)
    ]
    _check_many_side(pairs, labels, matching)
    if holds is not None:
        pairs = pairs if return_bool else replace(pairs, present=pairs.present & holds)
        result = holds.astype(np.float64) if return_bool else result
    drops = pairs.drops | return_bool if delayed else None
    return merge_duplicates(Vector(labels, result, pairs.present, drops))


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
