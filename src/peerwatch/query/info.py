"""info(): series enriched with the labels of info metrics."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from peerwatch.errors import QueryError
from peerwatch.model import METRIC_NAME, BoolArray, Int64Array, Labels, Matcher, MatchOp
from peerwatch.query.ast import At, Duration, Expr, Subquery, VectorSelector, children
from peerwatch.query.value import Vector, merge_duplicates

IDENTIFYING_LABELS = ("instance", "job")
"""What ties a series to the info series of the same target."""

_TARGET_INFO = Matcher(METRIC_NAME, MatchOp.EQUAL, "target_info")
_ANY_INFO = Matcher(METRIC_NAME, MatchOp.REGEX, ".+_info")
_MAX_PATTERN_CHARS = 32_000  # a longer list of instances is left out: more is read, the answer is the same


@dataclass(frozen=True, slots=True)
class InfoFilter:
    """names: which info metrics. data: which of their labels, and what these must match."""

    names: tuple[Matcher, ...]
    data: tuple[Matcher, ...]

    @classmethod
    def of(cls, selector: VectorSelector | None) -> InfoFilter:
        """What the second argument asks for; target_info without one."""
        if selector is None:
            return cls((_TARGET_INFO,), ())
        names = tuple(matcher for matcher in selector.matchers if matcher.name == METRIC_NAME)
        data = tuple(matcher for matcher in selector.matchers if matcher.name != METRIC_NAME)
        if not names:
            return cls((_TARGET_INFO,), data)
        if any(matcher.op in (MatchOp.EQUAL, MatchOp.REGEX) for matcher in names):
            return cls(names, data)
        return cls((_ANY_INFO, *names), data)

    def is_info(self, labels: Labels) -> bool:
        """Whether a series is itself one of the info series."""
        return all(matcher.matches(labels.metric) for matcher in self.names)

    def matchers(self, base: Vector) -> list[Matcher]:
        """What selects the info series of some base series; empty when none of them can have any."""
        found = [*self.names, *self.data]
        enriched = [labels for labels in base.labels if not self.is_info(labels)]
        is_identified = False
        for name in IDENTIFYING_LABELS:
            values = sorted({labels.get(name) for labels in enriched} - {""})
            pattern = "|".join(re.escape(value) for value in values)
            is_identified |= bool(values)
            if values and len(pattern) <= _MAX_PATTERN_CHARS:
                found.append(Matcher(name, MatchOp.REGEX, pattern))
        return found if is_identified else []


def when_selected(expr: Expr) -> tuple[At | None, list[Duration]]:
    """(the @ that governs the first selector of an expression, the offsets that apply to it)."""
    path = _first_selector(expr)
    offsets: list[Duration] = []
    for node in reversed(path):
        if isinstance(node, VectorSelector | Subquery):
            offsets.append(node.offset)
            if node.at is not None:
                return node.at, offsets
    return None, offsets


def _first_selector(expr: Expr) -> list[Expr]:
    """The way from the root to the first selector, both included; empty if there is none."""
    if isinstance(expr, VectorSelector):
        return [expr]
    for child in children(expr):
        found = _first_selector(child)
        if found:
            return [expr, *found]
    return []


def enrich(base: Vector, info: Vector, sampled_ms: Int64Array, wanted: InfoFilter) -> Vector:
    """The base series with the labels of their info series, step by step. Raises QueryError for conflicts."""
    if (base.present.any(axis=0) & info.native.any(axis=0)).any():
        raise QueryError("info sample should be float")
    current = _newest(info, sampled_ms)
    by_target: dict[Labels, list[int]] = {}
    for row, one in enumerate(info.labels):
        by_target.setdefault(one.keep(IDENTIFYING_LABELS), []).append(row)
    needs_match = any(not matcher.matches_empty for matcher in wanted.data)
    rows, labels, masks = list[int](), list[Labels](), list[BoolArray]()
    for row, own in enumerate(base.labels):
        if wanted.is_info(own):
            found: Iterator[tuple[Labels, BoolArray]] = iter([(own, base.present[row])])
        else:
            candidates = by_target.get(own.keep(IDENTIFYING_LABELS), [])
            found = _variants(own, base.present[row], info, current, candidates, wanted, needs_match)
        for result, mask in found:
            rows.append(row)
            labels.append(result)
            masks.append(mask)
    if not rows:
        return base.take([])
    chosen = base.take(rows)
    return merge_duplicates(replace(chosen, labels=labels).where(np.array(masks)))


def _newest(info: Vector, sampled_ms: Int64Array) -> BoolArray:
    """bool [S, T]: of the info series with the same name and target, the one sampled last at each step."""
    current = info.present.copy()
    groups: dict[Labels, list[int]] = {}
    for row, labels in enumerate(info.labels):
        groups.setdefault(labels.keep((METRIC_NAME, *IDENTIFYING_LABELS)), []).append(row)
    for rows in groups.values():
        if len(rows) == 1:
            continue
        times = np.where(info.present[rows], sampled_ms[rows], np.iinfo(np.int64).min)
        newest = info.present[rows] & (times == times.max(axis=0))
        clash = np.flatnonzero(newest.sum(axis=0) > 1)
        if len(clash):
            one, other = np.flatnonzero(newest[:, clash[0]])[:2].tolist()
            first, second = info.labels[rows[one]], info.labels[rows[other]]
            at = int(times[one, clash[0]])
            raise QueryError(f"found duplicate series for info metric: existing {first} @ {at}, new {second} @ {at}")
        current[rows] = newest
    return current


def _variants(
    own: Labels,
    present: BoolArray,
    info: Vector,
    current: BoolArray,
    candidates: Sequence[int],
    wanted: InfoFilter,
    needs_match: bool,
) -> Iterator[tuple[Labels, BoolArray]]:
    """(labels, steps) for each set of info series that applies at some of the steps."""
    if not candidates:
        if not needs_match:
            yield own, present
        return
    patterns, which = np.unique(current[list(candidates)], axis=1, return_inverse=True)
    for pattern in range(patterns.shape[1]):
        mask = present & (which.reshape(-1) == pattern)
        applied = [info.labels[row] for row, on in zip(candidates, patterns[:, pattern], strict=True) if on]
        if mask.any() and (applied or not needs_match):
            yield _enriched(own, applied, wanted), mask


def _enriched(own: Labels, applied: Sequence[Labels], wanted: InfoFilter) -> Labels:
    names = {matcher.name for matcher in wanted.data}
    added: dict[str, str] = {}
    for labels in applied:
        for name, value in labels:
            if name == METRIC_NAME or (names and name not in names):
                continue
            if added.get(name, value) != value:
                raise QueryError(f"conflicting label: {name}")
            if not own.get(name):
                added[name] = value
    return own.with_(added)
