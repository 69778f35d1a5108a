"""Comparing answers with what a script expects."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import numpy as np

from peerwatch.model import Labels, SeriesSet
from peerwatch.query.gotext import unquote
from peerwatch.query.result import MatrixResult, Result, ScalarResult, StringResult, VectorResult
from tests.promql.runner.histogram import Literal, literals_of
from tests.promql.runner.script import Case
from tests.promql.runner.series import parse_series, parse_value

_TOLERANCE = 1e-6
_SMALLEST_NORMAL = 2.2250738585072014e-308
_SCALAR = re.compile(r"[-+]?(?:[0-9.]+(?:[eE][-+]?[0-9]+)?|[Ii][Nn][Ff]|[Nn][Aa][Nn])")

Points = Mapping[int, float | Literal]


class MismatchError(AssertionError):
    """The answer is not the expected one."""


def almost_equal(left: float, right: float) -> bool:
    """Equal within the suite's relative tolerance; NaN equals NaN."""
    if math.isnan(left) or math.isnan(right):
        return math.isnan(left) and math.isnan(right)
    if left == right:
        return True
    size, apart = abs(left) + abs(right), abs(left - right)
    if left == 0 or right == 0 or size < _SMALLEST_NORMAL:
        return apart < _TOLERANCE * _SMALLEST_NORMAL
    return apart / size < _TOLERANCE


def same_sample(expected: float | Literal, found: float | Literal) -> bool:
    """Equal within tolerance, histograms bucket by bucket; empty buckets count for nothing."""
    if not isinstance(expected, Literal) or not isinstance(found, Literal):
        return not isinstance(expected, Literal) and not isinstance(found, Literal) and almost_equal(expected, found)
    exact = ("schema", "bounds", "zero_width") + (() if expected.hint is None else ("hint",))
    if any(getattr(expected, name) != getattr(found, name) for name in exact):
        return False
    ours, theirs = expected.populated, found.populated
    return ours.keys() == theirs.keys() and all(
        almost_equal(one, other)
        for one, other in (
            *((getattr(expected, name), getattr(found, name)) for name in ("count", "sum", "zero_count")),
            *((ours[key], theirs[key]) for key in ours),
        )
    )


def check_messages(case: Case, result: Result) -> None:
    """Warnings and infos."""
    for what, found in (("warn", result.warnings), ("info", result.infos)):
        expected = case.expected(what)
        if case.expected(f"no_{what}") and found:
            raise MismatchError(f"expected no {what}, got {found}")
        if expected and not found:
            raise MismatchError(f"expected a {what}, got none")
        for one in expected:
            if not any(one.matches(text) for text in found):
                raise MismatchError(f"no {what} like {one.text!r} among {found}")
        for text in found:
            if expected and not any(one.matches(text) for one in expected):
                raise MismatchError(f"unexpected {what} {text!r}")


def check_result(case: Case, result: Result) -> None:
    """The value itself."""
    match result.value:
        case ScalarResult(value=value):
            if len(case.lines) != 1 or not _SCALAR.fullmatch(case.lines[0]):
                raise MismatchError(f"got the scalar {value}")
            if not almost_equal(parse_value(case.lines[0]), value):
                raise MismatchError(f"expected {case.lines[0]}, got {value}")
        case StringResult(value=value):
            expected = case.expected("string")
            wanted = unquote(expected[0].text) if expected else None
            if wanted != value:
                raise MismatchError(f"expected the string {wanted!r}, got {value!r}")
        case VectorResult() as vector:
            _check_vector(case, vector)
        case MatrixResult(series=series):
            _check_matrix(case, series)


def _check_vector(case: Case, vector: VectorResult) -> None:
    found: dict[Labels, float | Literal] = dict(zip(vector.labels, vector.values.tolist(), strict=True))
    if vector.histograms is not None:
        cells = vector.histograms
        for row, literal in zip(np.flatnonzero(cells.mask).tolist(), literals_of(cells.of(cells.mask)), strict=True):
            found[vector.labels[row]] = literal
    if len(found) != len(vector.labels):
        raise MismatchError(f"the same labels twice in {vector.labels}")
    expected = _expected_vector(case)
    _compare({labels: {0: value} for labels, value in expected.items()}, {k: {0: v} for k, v in found.items()})
    if (case.expected("ordered")) and list(expected) != list(found):
        raise MismatchError(f"expected the order {list(expected)}, got {list(found)}")


def _expected_vector(case: Case) -> dict[Labels, float | Literal]:
    if len(case.lines) == 1 and _SCALAR.fullmatch(case.lines[0]):
        return {Labels(): parse_value(case.lines[0])}
    expected = {}
    for line in case.lines:
        series = parse_series(line)
        if not series.values or series.values[0] is None:
            raise MismatchError(f"no value expected in {line}")
        expected[series.labels] = series.values[0]
    return expected


def _check_matrix(case: Case, series: SeriesSet) -> None:
    if list(series.labels) != sorted(series.labels):
        raise MismatchError("series are not sorted by labels")
    start_ms, _, step_ms = case.range_vector_grid or (case.start_ms, case.end_ms, case.step_ms)
    expected = {}
    for line in case.lines:
        wanted = parse_series(line)
        points = {start_ms + k * step_ms: value for k, value in enumerate(wanted.values) if value is not None}
        expected[wanted.labels] = points
    _compare({labels: points for labels, points in expected.items() if points}, points_of(series))


def points_of(series: SeriesSet) -> dict[Labels, Points]:
    """Series as dictionaries of time to value."""
    values: list[float | Literal] = series.values.tolist()
    if series.histograms is not None:
        cells = series.histograms
        for at, literal in zip(np.flatnonzero(cells.mask).tolist(), literals_of(cells.of(cells.mask)), strict=True):
            values[at] = literal
    found = {}
    for at, labels in enumerate(series.labels):
        part = slice(int(series.offsets[at]), int(series.offsets[at + 1]))
        found[labels] = dict(zip(series.times_ms[part].tolist(), values[part], strict=True))
    return found


def check_middle(case: Case, result: Result) -> None:
    """The middle step of the range query that an instant case is also evaluated as."""
    if not isinstance(result.value, MatrixResult):
        raise MismatchError("a range query must yield a matrix")
    found = {
        labels: {0: points[case.start_ms]}
        for labels, points in points_of(result.value.series).items()
        if case.start_ms in points
    }
    _compare({labels: {0: value} for labels, value in _expected_vector(case).items()}, found)


def _compare(expected: dict[Labels, Points], found: dict[Labels, Points]) -> None:
    if expected.keys() != found.keys():
        missing, extra = expected.keys() - found.keys(), found.keys() - expected.keys()
        raise MismatchError(f"missing series {sorted(missing)}, unexpected series {sorted(extra)}")
    for labels, points in expected.items():
        if points.keys() != found[labels].keys():
            raise MismatchError(f"{labels}: expected {points}, got {found[labels]}")
        for time, value in points.items():
            if not same_sample(value, found[labels][time]):
                raise MismatchError(f"{labels} at {time}: expected {value}, got {found[labels][time]}")
