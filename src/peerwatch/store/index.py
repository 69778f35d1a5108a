"""LabelIndex: which series have which labels, in dictionary-coded columns. Rows are series in the order of ids."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from peerwatch.model import BoolArray, Int64Array, Labels, Matcher, MatchOp
from peerwatch.model.parts import PART

Codes = NDArray[np.int32]
_NEVER_FIRST = np.iinfo(np.int64).max
_NEVER_LAST = np.iinfo(np.int64).min


class _Column:
    """One label name: the rows that have it, and their values as codes. Sparse, so rare names cost little."""

    __slots__ = ("_codes", "_pending_codes", "_pending_rows", "_rows", "code_of", "values")

    def __init__(self) -> None:
        self.values: list[str] = []
        self.code_of: dict[str, int] = {}
        self._rows: Codes = np.empty(0, np.int32)
        self._codes: Codes = np.empty(0, np.int32)
        self._pending_rows: list[int] = []
        self._pending_codes: list[int] = []

    def add(self, row: int, value: str) -> None:
        code = self.code_of.get(value)
        if code is None:
            code = self.code_of[value] = len(self.values)
            self.values.append(value)
        self._pending_rows.append(row)
        self._pending_codes.append(code)

    def arrays(self) -> tuple[Codes, Codes]:
        """(rows, codes), rows ascending."""
        if self._pending_rows:
            self._rows = np.concatenate([self._rows, np.array(self._pending_rows, np.int32)])
            self._codes = np.concatenate([self._codes, np.array(self._pending_codes, np.int32)])
            self._pending_rows, self._pending_codes = [], []
        return self._rows, self._codes

    def wanted_later(self, matcher: Matcher) -> Callable[[], BoolArray]:
        """Tells, when called, per code whether the matcher means that value."""
        count = len(self.values)
        if matcher.op in (MatchOp.EQUAL, MatchOp.NOT_EQUAL):
            code = self.code_of.get(matcher.value)
            return lambda: _equal(count, code, matcher.op)
        values = self.values  # only ever grows
        return lambda: np.fromiter(map(matcher.matches, islice(values, count)), np.bool_, count)


def _equal(count: int, code: int | None, op: MatchOp) -> BoolArray:
    wanted = np.full(count, op is MatchOp.NOT_EQUAL)
    if code is not None:
        wanted[code] = op is MatchOp.EQUAL
    return wanted


@dataclass(frozen=True, slots=True)
class Query:
    """Matchers beside the columns that they need. Ranges are those of the moment of asking: they only widen."""

    count: int
    first: Int64Array
    last: Int64Array
    parts: list[tuple[Matcher, Codes, Codes, Callable[[], BoolArray]]]

    def find(self, start_ms: int, end_ms: int) -> Int64Array:
        """Ascending rows that satisfy every matcher and may have samples in [start_ms, end_ms]."""
        rows = self.matching()
        return rows[self.within(rows, start_ms, end_ms)]

    def matching(self) -> Int64Array:
        """Ascending rows that satisfy every matcher."""
        hit = np.ones(self.count, np.bool_)
        for matcher, rows, codes, wanted in self.parts:
            hits = np.full(self.count, matcher.matches_empty)
            hits[rows] = wanted()[codes]
            hit &= hits
        return np.flatnonzero(hit)

    def within(self, rows: Int64Array, start_ms: int, end_ms: int) -> Int64Array:
        """Positions of those among `rows` that may have samples in [start_ms, end_ms]."""
        return np.flatnonzero((self.first[rows] <= end_ms) & (self.last[rows] >= start_ms))


class LabelIndex:
    """Finds rows by matchers; a regular expression runs once per distinct value, not per series.

    PART is stored like any label, and seen by nobody: parts are found, listed and told apart by what they belong to.

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

    def capture(self, matchers: Sequence[Matcher]) -> Query:
        """What is needed to answer, as of now; answering may then take its time without the lock."""
        parts = []
        for matcher in matchers:
            column = self._visible(matcher.name)
            if column is not None:
                parts.append((matcher, *column.arrays(), column.wanted_later(matcher)))
            elif not matcher.matches_empty:
                return Query(0, self._first, self._last, [])
        return Query(self._count, self._first, self._last, parts)

    def find(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Int64Array:
        """Ascending rows that satisfy every matcher and may have samples in [start_ms, end_ms]."""
        return self.capture(matchers).find(start_ms, end_ms)

    def values(self, name: str, rows: Int64Array) -> list[str]:
        """Sorted distinct values of label `name` in `rows`."""
        column = self._visible(name)
        if column is None:
            return []
        having, codes = column.arrays()
        found = np.unique(codes[self._mask(rows)[having]])
        return sorted(column.values[code] for code in found.tolist())

    def names(self, rows: Int64Array) -> list[str]:
        """Sorted names of the labels in `rows`."""
        mask = self._mask(rows)
        columns = [(name, column) for name, column in self._columns.items() if name != PART]
        return sorted(name for name, column in columns if mask[column.arrays()[0]].any())

    def _visible(self, name: str) -> _Column | None:
        return None if name == PART else self._columns.get(name)

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
