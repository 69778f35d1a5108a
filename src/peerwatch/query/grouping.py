"""Groups: which series an aggregation puts together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from peerwatch.model import METRIC_NAME, BoolArray, Int64Array, Labels
from peerwatch.query.ast import Aggregate
from peerwatch.query.matching import rows_by_group


def group_labels(labels: Labels, grouping: frozenset[str], without: bool) -> Labels:
    """What the series of one group have in common."""
    return labels.without(grouping) if without else labels.keep(grouping)


def grouping_of(expr: Aggregate) -> frozenset[str]:
    """The labels of by(), or those of without() and the name."""
    return frozenset((*expr.grouping, METRIC_NAME)) if expr.without else frozenset(expr.grouping)


@dataclass(frozen=True)
class Groups:
    """ids [S]: the group of each series; labels: what each group is called, in order of first appearance."""

    ids: Int64Array
    labels: list[Labels]

    @classmethod
    def of(cls, series: Sequence[Labels], expr: Aggregate) -> Groups:
        """The groups that by() or without() makes of some series."""
        grouping = grouping_of(expr)
        known: dict[Labels, int] = {}
        ids = [known.setdefault(group_labels(one, grouping, expr.without), len(known)) for one in series]
        return cls(np.array(ids, np.int64), list(known))

    @cached_property
    def rows(self) -> list[Int64Array]:
        """The series of each group, in order."""
        found = rows_by_group(self.ids)
        return [np.array(found[group], np.int64) for group in range(len(self.labels))]

    @cached_property
    def order(self) -> Int64Array:
        """All series, group after group."""
        return np.argsort(self.ids, kind="stable")

    @cached_property
    def starts(self) -> Int64Array:
        """Where each group begins in `order`."""
        return np.searchsorted(self.ids[self.order], np.arange(len(self.labels)))

    def any_row(self, marked: BoolArray | None) -> BoolArray | None:
        """For each group whether one of its series is marked."""
        if marked is None:
            return None
        found = np.zeros(len(self.labels), np.bool_)
        found[self.ids[marked]] = True
        return found
