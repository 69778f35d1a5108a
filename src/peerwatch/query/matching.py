"""Match groups: which series of two vectors belong together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from peerwatch.model import METRIC_NAME, BoolArray, Int64Array, Labels
from peerwatch.query.ast import Matching


def signature_of(matching: Matching) -> Callable[[Labels], Labels]:
    """What two series must have in common: the labels of on(), or all but those of ignoring() and the name."""
    if matching.on:
        wanted = frozenset(matching.labels)
        return lambda labels: labels.keep(wanted)
    ignored = frozenset((*matching.labels, METRIC_NAME))
    return lambda labels: labels.without(ignored)


def match_groups(
    left: Sequence[Labels], right: Sequence[Labels], matching: Matching
) -> tuple[Int64Array, Int64Array, list[Labels]]:
    """(group of each left series, of each right series, signature of each group)."""
    signature = signature_of(matching)
    known: dict[Labels, int] = {}
    ids = [np.array([known.setdefault(signature(one), len(known)) for one in side], np.int64) for side in (left, right)]
    return ids[0], ids[1], list(known)


def any_in_group(groups: Int64Array, present: BoolArray, group_count: int) -> BoolArray:
    """bool [groups, T]: whether some series of the group is present."""
    found = np.zeros((group_count, present.shape[1]), np.bool_)
    if len(np.unique(groups)) == len(groups):
        found[groups] = present
    else:
        np.logical_or.at(found, groups, present)
    return found


def rows_by_group(groups: Int64Array) -> dict[int, list[int]]:
    """The series of each group, in order."""
    rows: dict[int, list[int]] = {}
    for row, group in enumerate(groups.tolist()):
        rows.setdefault(group, []).append(row)
    return rows
