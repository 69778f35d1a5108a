"""Text: native histograms as people and programs read them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from peerwatch.model import BoolArray, Float64Array, Histograms
from peerwatch.query.gotext import format_general
from peerwatch.query.native.table import table_of
from peerwatch.query.spelling import spell_values

_AT_ONCE = 1024  # histograms in one table: bounds what an answer of many needs on the side


@dataclass(frozen=True, slots=True)
class _Populated:
    """Buckets that are not empty, histogram after histogram, ascending: ends[i] is where those of histogram i end.
    with_lower, with_upper: whether a bound belongs to its bucket."""

    ends: list[int]
    lower: Float64Array
    upper: Float64Array
    counts: Float64Array
    with_lower: BoolArray
    with_upper: BoolArray

    @classmethod
    def of(cls, found: Histograms) -> _Populated:
        table = table_of(found)
        shown = table.there & (table.counts != 0)
        rows = np.nonzero(shown)[0]
        lower, upper, custom = table.lower[shown], table.upper[shown], found.custom[rows]
        around = ~custom & (lower == -found.zero_widths[rows]) & (upper == found.zero_widths[rows])
        with_lower = np.where(custom, lower == -np.inf, (lower < 0) | around)
        ends = np.cumsum(np.bincount(rows, minlength=len(found))).tolist()
        return cls(ends, lower, upper, table.counts[shown], with_lower, custom | (upper > 0) | around)


def described(found: Histograms) -> list[str]:
    """Each as `count_values` names it."""
    return [text for part in _slices(found) for text in _described(part)]


def rendered(found: Histograms) -> list[bytes]:
    """Each as the JSON object of Prometheus's API."""
    return [text for part in _slices(found) for text in _rendered(part)]


def _slices(found: Histograms) -> Iterator[Histograms]:
    for at in range(0, len(found), _AT_ONCE):
        yield found.take(np.arange(at, min(at + _AT_ONCE, len(found)), dtype=np.int64))


def _described(found: Histograms) -> list[str]:
    inside = _Populated.of(found)
    opening, closing = np.where(inside.with_lower, "[", "("), np.where(inside.with_upper, "]", ")")
    numbers = zip(inside.lower.tolist(), inside.upper.tolist(), inside.counts.tolist(), strict=True)
    buckets = [
        f", {left}{format_general(lower)},{format_general(upper)}{right}:{format_general(count)}"
        for left, right, (lower, upper, count) in zip(opening.tolist(), closing.tolist(), numbers, strict=True)
    ]
    totals = zip(found.counts.tolist(), found.sums.tolist(), pairwise([0, *inside.ends]), strict=True)
    return [
        f"{{count:{format_general(count)}, sum:{format_general(total)}{''.join(buckets[start:end])}}}"
        for count, total, (start, end) in totals
    ]


def _rendered(found: Histograms) -> list[bytes]:
    inside = _Populated.of(found)
    codes = np.where(inside.with_lower, np.where(inside.with_upper, 3, 1), np.where(inside.with_upper, 0, 2)).tolist()
    spelled = zip(codes, *map(spell_values, (inside.lower, inside.upper, inside.counts)), strict=True)
    buckets = [b'[%d,"%s","%s","%s"]' % bucket for bucket in spelled]
    lists = [b",".join(buckets[start:end]) for start, end in pairwise([0, *inside.ends])]
    return [
        b'{"count":"%s","sum":"%s"%s}' % (count, total, b',"buckets":[%s]' % listed if listed else b"")
        for count, total, listed in zip(spell_values(found.counts), spell_values(found.sums), lists, strict=True)
    ]
