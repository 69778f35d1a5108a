"""and, or, unless."""

from __future__ import annotations

import numpy as np

from peerwatch.model import BoolArray
from peerwatch.query.ast import Matching
from peerwatch.query.matching import any_in_group, match_groups
from peerwatch.query.value import Vector, merge_duplicates, stacked


def combine_sets(op: str, left: Vector, right: Vector, matching: Matching) -> Vector:
    """`left op right`, step by step: what is on one side depends on which match groups the other has then."""
    left_groups, right_groups, signatures = match_groups(left.labels, right.labels, matching)
    if op == "or":
        there = any_in_group(left_groups, left.present, len(signatures))
        return _union(left, right, right.present & ~there[right_groups])
    there = any_in_group(right_groups, right.present, len(signatures))[left_groups]
    return left.where(there if op == "and" else ~there)


def _union(left: Vector, right: Vector, right_present: BoolArray) -> Vector:
    drops = None
    if left.drop_name is not None or right.drop_name is not None:
        drops = np.concatenate((left.names_to_drop, right.names_to_drop))
    return merge_duplicates(stacked([*left.labels, *right.labels], (left, right.where(right_present)), drops))
