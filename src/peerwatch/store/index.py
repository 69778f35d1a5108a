"""LabelIndex: which series have which labels, in dictionary-coded columns. Rows are series in the order of ids."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from peerwatch.model import BoolArray, Int64Array, Labels, Matcher, MatchOp

_NEVER_FIRST = np.iinfo(np.int64).max
_NEVER_LAST = np.iinfo(np.int64).min


class _Column:
    """One label name: the rows that have it, and their values as codes. Sparse, so rare names cost little."""

    __slots__ = ("_codes", "_pending_codes", "_pending_rows", "_rows", "code_of", "values")

    def __init__(self) -> None:
        self.values: list[str] = []
        self.code_of: dict[str, int] = {}
        self._rows: NDArray[np.int32] = np.empty(0, np.int32)
        self._codes: NDArray[np.int32] = np.empty(0, np.int32)
        self._pending_rows: list[int] = []
        self._pending_codes: list[int] = []

    def add(self, row: int, value: str) -> None:
        code = self.code_of.get(value)
        if code is None:
            code = self.code_of[value] = len(self.values)
            self.values.append(value)
        self._pending_rows.append(row)
        self._pending_codes.append(code)

    def arrays(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """(rows, codes), rows ascending."""
        if self._pending_rows:
            self._rows = np.concatenate([self._rows, np.array(self._pending_rows, np.int32)])
            self._codes = np.concatenate([self._codes, np.array(self._pending_codes, np.int32)])
            self._pending_rows, self._pending_codes = [], []
        return self._rows, self._codes

    def wanted(self, matcher: Matcher) -> BoolArray:
        """Per code, whether the matcher means that value."""
        if matcher.op in (MatchOp.EQUAL, MatchOp.NOT_EQUAL):
            wanted = np.full(len(self.values), matcher.op is MatchOp.NOT_EQUAL)
            code = self.code_of.get(matcher.value)
            if code is not None:
                wanted[code] = matcher.op is MatchOp.EQUAL
            return wanted
        return np.fromiter(map(matcher.matches, self.values), np.bool_, len(self.values))


class LabelIndex:
    """Finds rows by matchers; a regular expression runs once per distinct value, not per series.

    Also keeps, per row, a range of time outside which the series has no sample (inside it may have some). Its owner
    is the dictionary, which guards it with its lock. Grows with the series; pruning builds a new one.
    """

    def __init__(self) -> None:
        self._columns: dict[str, _Column] = {}
        self._count = 0
        self._first: Int64Array = np.empty(0, np.int64)
        self._last: Int64Array = np.empty(0, np.int64)

    def __len__(self) -> int:
        return self._count

    def add(self, labels: Labels) -> int:
        """The row of a new series."""
        row = self._count
        self._count += 1
        if self._count > len(self._first):
            self._grow()
        for name, value in labels:
            column = self._columns.get(name)
            if column is None:
                column = self._columns[name] = _Column()
            column.add(row, value)
        return row

    def widen(self, rows: Int64Array, first_ms: int, last_ms: int) -> None:
        """The series of `rows` may have samples in [first_ms, last_ms] too."""
        self._first[rows] = np.minimum(self._first[rows], first_ms)
        self._last[rows] = np.maximum(self._last[rows], last_ms)

    def widen_each(self, rows: Int64Array, first_ms: Int64Array, last_ms: Int64Array) -> None:
        """`widen` with a range of its own for every row."""
        self._first[rows] = np.minimum(self._first[rows], first_ms)
        self._last[rows] = np.maximum(self._last[rows], last_ms)

    def ranges(self) -> tuple[Int64Array, Int64Array]:
        """(first_ms, last_ms) of every row; first > last where there was never a sample."""
        return self._first[: self._count].copy(), self._last[: self._count].copy()

    def find(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Int64Array:
        """Ascending rows that satisfy every matcher and may have samples in [start_ms, end_ms]."""
        count = self._count
        hit: BoolArray = (self._first[:count] <= end_ms) & (self._last[:count] >= start_ms)
        for matcher in matchers:
            column = self._columns.get(matcher.name)
            if column is None:
                if not matcher.matches_empty:
                    return np.empty(0, np.int64)
                continue
            rows, codes = column.arrays()
            hits = np.full(count, matcher.matches_empty)
            hits[rows] = column.wanted(matcher)[codes]
            hit &= hits
        return np.flatnonzero(hit)

    def values(self, name: str, rows: Int64Array) -> list[str]:
        """Sorted distinct values of label `name` in `rows`."""
        column = self._columns.get(name)
        if column is None:
            return []
        having, codes = column.arrays()
        found = np.unique(codes[self._mask(rows)[having]])
        return sorted(column.values[code] for code in found.tolist())

    def names(self, rows: Int64Array) -> list[str]:
        """Sorted names of the labels in `rows`."""
        mask = self._mask(rows)
        return sorted(name for name, column in self._columns.items() if mask[column.arrays()[0]].any())

    def _mask(self, rows: Int64Array) -> BoolArray:
        mask = np.zeros(self._count, np.bool_)
        mask[rows] = True
        return mask

    def _grow(self) -> None:
        capacity = max(64, 2 * self._count)
        first = np.full(capacity, _NEVER_FIRST)
        last = np.full(capacity, _NEVER_LAST)
        first[: len(self._first)] = self._first
        last[: len(self._last)] = self._last
        self._first, self._last = first, last
