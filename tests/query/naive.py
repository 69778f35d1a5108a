"""PromQL's functions over ranges the slow way: one window after the other, one sample after the other."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

Point = tuple[int, float]
Naive = Callable[[list[Point], int, int], float | None]
"""(samples of the window in order, its end in ms, its width in ms) -> the result, or None for no result."""


def _values(window: list[Point]) -> list[float]:
    return [value for _, value in window]


def extrapolated(is_counter: bool, per_second: bool) -> Naive:
    """rate, increase, delta."""

    def run(window: list[Point], end_ms: int, range_ms: int) -> float | None:
        if len(window) < 2:
            return None
        (first_ms, first), (last_ms, last) = window[0], window[-1]
        change = last - first
        if is_counter:
            for (_, before), (_, after) in pairwise(window):
                if after < before:
                    change += before
        sampled = (last_ms - first_ms) / 1000
        average = sampled / (len(window) - 1)
        to_start, to_end = (first_ms - (end_ms - range_ms)) / 1000, (end_ms - last_ms) / 1000
        if to_start >= average * 1.1:
            to_start = average / 2
        if is_counter and change > 0 and first >= 0:
            to_start = min(to_start, sampled * (first / change))
        if to_end >= average * 1.1:
            to_end = average / 2
        factor = (sampled + to_start + to_end) / sampled
        return change * factor / (range_ms / 1000 if per_second else 1)

    return run


def last_two(is_rate: bool) -> Naive:
    """irate, idelta."""

    def run(window: list[Point], end_ms: int, range_ms: int) -> float | None:
        if len(window) < 2:
            return None
        (before_ms, before), (last_ms, last) = window[-2:]
        if not is_rate:
            return last - before
        return (last if last < before else last - before) / ((last_ms - before_ms) / 1000)

    return run


def of_values(function: Callable[[list[float]], float], at_least: int = 1) -> Naive:
    """Functions that look at values alone."""
    return lambda window, end, width: function(_values(window)) if len(window) >= at_least else None


def _extreme(choose: Callable[[list[float]], float]) -> Callable[[list[float]], float]:
    def run(values: list[float]) -> float:
        known = [value for value in values if not math.isnan(value)]
        return choose(known) if known else math.nan

    return run


def _sum(values: list[float]) -> float:
    return sum(values) if not all(map(math.isfinite, values)) else math.fsum(values)


def _variance(values: list[float]) -> float:
    if not all(map(math.isfinite, values)):
        return math.nan
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values) / len(values)


def _changes(values: list[float]) -> float:
    pairs = pairwise(values)
    return sum(one != other and not (math.isnan(one) and math.isnan(other)) for one, other in pairs)


def _resets(values: list[float]) -> float:
    return sum(after < before for before, after in pairwise(values))


def quantile(wanted: float, values: list[float]) -> float:
    """Linear between neighbours; NaN sorts first."""
    ordered = sorted(values, key=lambda value: (not math.isnan(value), value))
    rank = wanted * (len(ordered) - 1)
    low = math.floor(rank)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] * (1 - (rank - low)) + ordered[high] * (rank - low)


NAIVE: dict[str, Naive] = {
    "rate({}[{}])": extrapolated(True, True),
    "increase({}[{}])": extrapolated(True, False),
    "delta({}[{}])": extrapolated(False, False),
    "irate({}[{}])": last_two(True),
    "idelta({}[{}])": last_two(False),
    "resets({}[{}])": of_values(_resets),
    "changes({}[{}])": of_values(_changes),
    "count_over_time({}[{}])": of_values(lambda values: float(len(values))),
    "sum_over_time({}[{}])": of_values(_sum),
    "avg_over_time({}[{}])": of_values(lambda values: _sum(values) / len(values)),
    "min_over_time({}[{}])": of_values(_extreme(min)),
    "max_over_time({}[{}])": of_values(_extreme(max)),
    "first_over_time({}[{}])": of_values(lambda values: values[0]),
    "last_over_time({}[{}])": of_values(lambda values: values[-1]),
    "present_over_time({}[{}])": of_values(lambda values: 1.0),
    "stdvar_over_time({}[{}])": of_values(_variance),
    "quantile_over_time(0.3, {}[{}])": of_values(lambda values: quantile(0.3, values)),
}
