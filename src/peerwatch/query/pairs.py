"""Pairs: the matched series of two vectors, row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from peerwatch.model import BoolArray, Int64Array, Labels
from peerwatch.query.matching import any_in_group, rows_by_group
from peerwatch.query.operate import Operand
from peerwatch.query.value import Vector, stacked_cells

Side = tuple[Vector, Int64Array, float | None]
"""(series, match group of each, what stands in where this side has no sample)."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """P pairs over T steps. groups [P]: the match group. present [P, T]: both sides are there. drops [P]: the name of
    the "many" side goes away at the end."""

    groups: Int64Array
    many_labels: list[Labels]
    one_labels: list[Labels]
    many: Operand
    one: Operand
    present: BoolArray
    drops: BoolArray


def matched_pairs(many: Vector, one: Vector, many_groups: Int64Array, one_groups: Int64Array) -> Pairs:
    """Every series of the "many" side with every one of its group on the "one" side."""
    partners = rows_by_group(one_groups)
    linked = [(row, other) for row, group in enumerate(many_groups.tolist()) for other in partners.get(group, ())]
    left = np.array([row for row, _ in linked], np.int64)
    right = np.array([other for _, other in linked], np.int64)
    return Pairs(
        many_groups[left],
        [many.labels[row] for row in left.tolist()],
        [one.labels[row] for row in right.tolist()],
        _rows(many, left),
        _rows(one, right),
        many.present[left] & one.present[right],
        many.names_to_drop[left],
    )


def _rows(vector: Vector, rows: Int64Array) -> Operand:
    cells = vector.histograms
    return Operand(vector.values[rows], None if cells is None else cells.taken(rows))


def _whole(vector: Vector) -> Operand:
    return Operand(vector.values, vector.histograms)


def _stacked(sides: Sequence[Operand]) -> Operand:
    values = np.concatenate([side.values for side in sides])
    return Operand(values, stacked_cells([(side.cells, side.values.shape) for side in sides]))


def with_fill(pairs: Pairs, many: Side, one: Side, signatures: list[Labels]) -> Pairs:
    """The pairs, and more where one side has no sample and a value stands in for it."""
    parts = [pairs]
    (many_vector, many_groups, many_fill), (one_vector, one_groups, one_fill) = many, one
    if one_fill is not None:
        there = any_in_group(one_groups, one_vector.present, len(signatures))
        stand_in = Operand(np.full(many_vector.values.shape, one_fill))
        lonely = many_vector.present & ~there[many_groups]
        drops = many_vector.names_to_drop
        own, other = list(many_vector.labels), [signatures[group] for group in many_groups.tolist()]
        parts.append(Pairs(many_groups, own, other, _whole(many_vector), stand_in, lonely, drops))
    if many_fill is not None:
        there = any_in_group(many_groups, many_vector.present, len(signatures))
        stand_in = Operand(np.full(one_vector.values.shape, many_fill))
        lonely = one_vector.present & ~there[one_groups]
        drops = np.zeros(len(one_groups), np.bool_)
        own, other = [signatures[group] for group in one_groups.tolist()], list(one_vector.labels)
        parts.append(Pairs(one_groups, own, other, stand_in, _whole(one_vector), lonely, drops))
    return Pairs(
        np.concatenate([part.groups for part in parts]),
        [labels for part in parts for labels in part.many_labels],
        [labels for part in parts for labels in part.one_labels],
        _stacked([part.many for part in parts]),
        _stacked([part.one for part in parts]),
        np.concatenate([part.present for part in parts]),
        np.concatenate([part.drops for part in parts]),
    )
