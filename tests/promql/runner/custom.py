"""Classic histograms as native ones with custom bounds: what `load_with_nhcb` makes of them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from peerwatch.model import CUSTOM_SCHEMA, KEY_BIAS, METRIC_NAME, Labels
from tests.promql.runner.histogram import Literal
from tests.promql.runner.series import SeriesLine, Value

_SUFFIX = re.compile(r"(?P<base>.+)_(?P<part>bucket|sum|count)$")


def custom_histograms(lines: Iterable[SeriesLine]) -> dict[Labels, list[Value]]:
    """The samples of each histogram that the lines are parts of, step by step."""
    parts: dict[Labels, dict[int, dict[str | float, float]]] = {}
    for line in lines:
        found = _SUFFIX.match(line.labels.metric)
        if found is None:
            continue
        part: str | float = found["part"]
        if part == "bucket":
            try:
                part = float(line.labels.get("le"))
            except ValueError:
                continue
            if math.isnan(part):
                continue
        base = line.labels.without(["le"]).with_({METRIC_NAME: found["base"]})
        for step, value in enumerate(line.values):
            if isinstance(value, float | int):
                parts.setdefault(base, {}).setdefault(step, {})[part] = value
    return {base: _samples(steps) for base, steps in parts.items()}


def _samples(steps: dict[int, dict[str | float, float]]) -> list[Value]:
    return [_histogram(steps[step]) if step in steps else None for step in range(max(steps) + 1)]


def _histogram(parts: dict[str | float, float]) -> Literal:
    bounds = sorted(bound for bound in parts if isinstance(bound, float))
    largest = parts[bounds[-1]] if bounds else 0.0
    count = parts.get("count", largest)
    cumulative = [parts[bound] for bound in bounds]
    if not bounds or bounds[-1] != math.inf:
        cumulative.append(count)
    finite = tuple(bound for bound in bounds if bound != math.inf)
    counts = [upper - lower for lower, upper in zip([0.0, *cumulative], cumulative, strict=False)]
    buckets = {at + KEY_BIAS: value for at, value in enumerate(counts) if value != 0}
    return Literal(CUSTOM_SCHEMA, count, parts.get("sum", 0.0), 0.0, 0.0, buckets, finite)
