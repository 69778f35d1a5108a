"""What two answers of the query API differ in."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tests.differential.reference import Answer

TOLERANCE = 1e-9
_MOST_MESSAGES = 10  # more are counted only, and which ones are shown is left to chance
_SAMPLES = re.compile(r"over \d+ samples")
_NOWHERE = " (1:1)"
_RANKED = re.compile(r"\(*(sort|sort_desc|sort_by_label|sort_by_label_desc|topk|bottomk)\b")

Rows = dict[frozenset[tuple[str, str]], list[tuple[float, float]]]


def difference(query: str, expected: Answer, found: Answer) -> str | None:
    """The first thing that differs, or None. Values may differ by a billionth of themselves, error texts at will."""
    (status, wanted), (our_status, ours) = expected, found
    if (status, wanted.get("errorType")) != (our_status, ours.get("errorType")):
        return f"expected {_outcome(expected)}, got {_outcome(found)}"
    if status != 200:
        return None
    return _results(query, wanted["data"], ours["data"]) or _messages(wanted, ours)


def _outcome(answer: Answer) -> str:
    status, body = answer
    return f"{status} {body.get('errorType', '')} {body.get('error', str(body.get('data'))[:400])}"


def _results(query: str, wanted: Mapping[str, Any], ours: Mapping[str, Any]) -> str | None:
    kind = wanted["resultType"]
    if kind != ours["resultType"]:
        return f"expected a {kind}, got a {ours['resultType']}"
    left, right = wanted["result"], ours["result"]
    if kind == "string":
        return None if left == right else f"expected {left}, got {right}"
    if kind == "scalar":
        return None if _same([left], [right]) else f"expected {left}, got {right}"
    return _series(left, right) or _order(query, kind, left, right)


def _series(left: Sequence[Mapping[str, Any]], right: Sequence[Mapping[str, Any]]) -> str | None:
    wanted, ours = _rows(left), _rows(right)
    if len(wanted) != len(left) or len(ours) != len(right):
        return f"the same labels twice: {left}, {right}"
    if wanted.keys() != ours.keys():
        missing, extra = ([dict(row) for row in rows] for rows in (wanted.keys() - ours, ours.keys() - wanted.keys()))
        return f"missing series {missing}, unexpected series {extra}"
    for labels, points in wanted.items():
        if not _same(points, ours[labels]):
            pairs = [pair for pair in zip(points, ours[labels], strict=False) if not _same(*([one] for one in pair))]
            return f"{dict(labels)}: {len(points)} and {len(ours[labels])} points, first (expected, got): {pairs[:2]}"
    return None


def _rows(result: Sequence[Mapping[str, Any]]) -> Rows:
    return {frozenset(row["metric"].items()): _points(row) for row in result}


def _points(row: Mapping[str, Any]) -> list[Any]:
    """Numbers and histograms in order of time."""
    if "value" in row or "histogram" in row:
        return [row["value"] if "value" in row else row["histogram"]]
    return sorted([*row.get("values", ()), *row.get("histograms", ())], key=lambda point: float(point[0]))


def _same(left: Sequence[Any], right: Sequence[Any]) -> bool:
    return len(left) == len(right) and all(
        at == our_at and _same_sample(one, other) for (at, one), (our_at, other) in zip(left, right, strict=True)
    )


def _same_sample(left: Any, right: Any) -> bool:
    if isinstance(left, str) and isinstance(right, str):
        return left == right or close(float(left), float(right))
    if isinstance(left, str) or isinstance(right, str):
        return False
    buckets, others = left.get("buckets", []), right.get("buckets", [])
    return (
        all(close(float(left[name]), float(right[name])) for name in ("count", "sum"))
        and [bucket[:3] for bucket in buckets] == [bucket[:3] for bucket in others]
        and all(close(float(one[3]), float(other[3])) for one, other in zip(buckets, others, strict=True))
    )


def close(left: float, right: float) -> bool:
    """Equal within the tolerance; NaN equals NaN."""
    if math.isnan(left) or math.isnan(right):
        return math.isnan(left) and math.isnan(right)
    return math.isclose(left, right, rel_tol=TOLERANCE, abs_tol=0.0)


def _order(query: str, kind: str, left: Sequence[Mapping[str, Any]], right: Sequence[Mapping[str, Any]]) -> str | None:
    """A matrix is sorted by labels. A vector has an order only where the outermost function gives it one; of equal
    values any may come first."""
    if kind == "matrix":
        orders = [[row["metric"] for row in rows] for rows in (left, right)]
        return None if orders[0] == orders[1] else f"expected the order {orders[0]}, got {orders[1]}"
    if _RANKED.match(query) and not _same([row["value"] for row in left], [row["value"] for row in right]):
        return f"expected the order {left}, got {right}"
    return None


def _messages(wanted: Mapping[str, Any], ours: Mapping[str, Any]) -> str | None:
    for kind in ("warnings", "infos"):
        left, right = ({_comparable(text) for text in body.get(kind, ())} for body in (wanted, ours))
        left = {_placed(text, right) for text in left}
        if len(left) <= _MOST_MESSAGES and left != right:
            return f"expected {kind} {sorted(left - right)}, got {sorted(right - left)}"
    return None


def _comparable(message: str) -> str:
    """Prometheus adds what it has counted to itself at every step: "over 50331646 samples" of a graph with 25."""
    return _SAMPLES.sub("over N samples", message)


def _placed(message: str, ours: set[str]) -> str:
    """Prometheus forgets where a subquery stood, and says 1:1. We know: the same message with a place will do."""
    text = message.removesuffix(_NOWHERE)
    return next((one for one in ours if text != message and one.rpartition(" (")[0] == text), message)
