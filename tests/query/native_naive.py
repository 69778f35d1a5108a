"""Native histograms done naively, one bucket at a time: what the columns are compared with."""

from __future__ import annotations

import math
from dataclasses import replace

from peerwatch.model import CUSTOM_SCHEMA, KEY_BIAS
from peerwatch.model.histograms import COUNTER_RESET, NOT_COUNTER_RESET
from tests.promql.runner.histogram import Literal

Bucket = tuple[float, float, float]
"""Lower bound, upper bound, observations."""


def bound(index: int, schema: int) -> float:
    """Upper bound of a positive bucket, to rounding."""
    try:
        return 2.0 ** (index * 2.0**-schema)
    except OverflowError:
        return math.inf


def limits(key: int, literal: Literal) -> tuple[float, float]:
    """(lower, upper) of a bucket."""
    index = abs(key) - KEY_BIAS
    if literal.schema == CUSTOM_SCHEMA:
        edges = [-math.inf, *literal.bounds, math.inf]
        return edges[index], edges[index + 1]
    low, high = bound(index - 1, literal.schema), bound(index, literal.schema)
    return (low, high) if key > 0 else (-high, -low)


def coarser(literal: Literal, schema: int) -> Literal:
    """At a lower resolution."""
    buckets: dict[int, float] = {}
    for key, count in literal.buckets.items():
        index = abs(key) - KEY_BIAS
        for _ in range(literal.schema - schema):
            index = math.ceil(index / 2)
        target = (index + KEY_BIAS) * (1 if key > 0 else -1)
        buckets[target] = buckets.get(target, 0.0) + count
    return replace(literal, schema=schema, buckets=buckets)


def wider(literal: Literal, width: float) -> Literal:
    """With a zero bucket at least so wide, whose edge cuts no populated bucket."""
    if width <= literal.zero_width:
        return literal
    while True:
        cut = [
            key
            for key, count in literal.buckets.items()
            if count and _inner(key, literal) < width < _outer(key, literal)
        ]
        if not cut:
            break
        width = max(_outer(key, literal) for key in cut)
    inside = [key for key in literal.buckets if _inner(key, literal) < width]
    kept = {key: count for key, count in literal.buckets.items() if key not in inside}
    gained = sum(literal.buckets[key] for key in inside)
    return replace(literal, zero_width=width, zero_count=literal.zero_count + gained, buckets=kept)


def _inner(key: int, literal: Literal) -> float:
    return min(map(abs, limits(key, literal)))


def _outer(key: int, literal: Literal) -> float:
    return max(map(abs, limits(key, literal)))


def rebounded(literal: Literal, bounds: tuple[float, ...]) -> Literal:
    """With fewer custom bounds."""
    buckets: dict[int, float] = {}
    for key, count in literal.buckets.items():
        upper = limits(key, literal)[1]
        target = next((at for at, one in enumerate(bounds) if one >= upper), len(bounds)) + KEY_BIAS
        buckets[target] = buckets.get(target, 0.0) + count
    return replace(literal, bounds=bounds, buckets=buckets)


def together(left: Literal, right: Literal) -> tuple[Literal, Literal]:
    """Both with the same buckets."""
    if left.schema == CUSTOM_SCHEMA:
        common = tuple(one for one in left.bounds if one in right.bounds)
        return rebounded(left, common), rebounded(right, common)
    while left.zero_width != right.zero_width:
        right = wider(right, left.zero_width)
        left = wider(left, right.zero_width)
    schema = min(left.schema, right.schema)
    return coarser(left, schema), coarser(right, schema)


def added(left: Literal, right: Literal, sign: float = 1.0) -> Literal:
    """left + sign * right."""
    left, right = together(left, right)
    keys = left.buckets.keys() | right.buckets.keys()
    return replace(
        left,
        count=left.count + sign * right.count,
        sum=left.sum + sign * right.sum,
        zero_count=left.zero_count + sign * right.zero_count,
        buckets={key: left.buckets.get(key, 0.0) + sign * right.buckets.get(key, 0.0) for key in sorted(keys)},
    )


def was_reset(current: Literal, previous: Literal) -> bool:
    """Whether a counter began anew."""
    if current.hint in (COUNTER_RESET, NOT_COUNTER_RESET):
        return current.hint == COUNTER_RESET
    if current.count < previous.count or (current.schema == CUSTOM_SCHEMA) != (previous.schema == CUSTOM_SCHEMA):
        return True
    if current.schema != CUSTOM_SCHEMA:
        if current.schema > previous.schema or current.zero_width < previous.zero_width:
            return True
        previous = wider(previous, current.zero_width)
        if previous.zero_width != current.zero_width or current.zero_count < previous.zero_count:
            return True
    current, previous = together(current, previous)
    return any(count > current.buckets.get(key, 0.0) for key, count in previous.buckets.items())


def ascending(literal: Literal) -> list[Bucket]:
    """The populated buckets, the zero bucket among them."""
    found = []
    for key, count in sorted(literal.buckets.items()):
        lower, upper = limits(key, literal)
        if literal.schema != CUSTOM_SCHEMA:
            lower = max(lower, literal.zero_width) if lower > 0 else lower
            upper = min(upper, -literal.zero_width) if upper < 0 else upper
        found.append((lower, upper, count))
    if literal.zero_count > 0:
        found.append((-literal.zero_width, literal.zero_width, literal.zero_count))
    return [one for one in sorted(found) if one[2] != 0]
