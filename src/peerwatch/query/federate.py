"""Federation: the newest sample of each matching series, as a page that another Prometheus scrapes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from peerwatch.model import METRIC_NAME, Labels, Matcher
from peerwatch.query.gotext import format_scientific
from peerwatch.query.limits import Budget
from peerwatch.query.loader import Loader

_PLAIN_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_PLAIN_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_NOT_PLAIN = re.compile(r"[^a-zA-Z0-9_:]")
_INSTANCE = "instance"
ESCAPED, UTF8 = "underscores", "allow-utf-8"
"""How a page spells names that are not plain: with `_` for each strange character, or quoted."""


def content_type(accept: str) -> tuple[str, str]:
    """(the page's content type, how it spells names) for a client that accepts this."""
    escaping = UTF8 if f"escaping={UTF8}" in accept.replace(" ", "") else ESCAPED
    return f"text/plain; version=0.0.4; charset=utf-8; escaping={escaping}", escaping


def federate(
    loader: Loader, budget: Budget, selectors: Sequence[Sequence[Matcher]], now_ms: int, lookback_ms: int, escaping: str
) -> bytes:
    """The page. A series whose newest sample is older than the lookback, or a stale marker, is not in it.

    Every line has its timestamp; series without `instance` say so by an empty one, which keeps the scraper from adding
    its own (with honor_labels). Raises LimitError and CancelledQueryError.
    """
    at_ms = np.array([now_ms], np.int64)
    found: dict[Labels, tuple[float, int]] = {}
    for matchers in selectors:
        vector, times = loader.latest_times(matchers, at_ms, lookback_ms)
        for row in np.flatnonzero(vector.present[:, 0]).tolist():
            found[vector.labels[row]] = (float(vector.values[row, 0]), int(times[row, 0]))
        budget.check()
    named = sorted((labels.metric, labels) for labels in found if labels.metric)
    return "".join(_lines(named, found, escaping)).encode("utf-8", "replace")


def _lines(named: Sequence[tuple[str, Labels]], found: dict[Labels, tuple[float, int]], escaping: str) -> Iterator[str]:
    last = ""
    for metric, labels in named:
        if metric != last:
            last = metric
            yield f"# TYPE {_metric(metric, escaping)} untyped\n"
        value, time_ms = found[labels]
        yield f"{_series(metric, labels, escaping)} {format_scientific(value or 0.0)} {time_ms}\n"


def _series(metric: str, labels: Labels, escaping: str) -> str:
    pairs = [(name, value) for name, value in labels if name != METRIC_NAME]
    if not labels.get(_INSTANCE):
        pairs.append((_INSTANCE, ""))
    inside = ",".join(f'{_label(name, escaping)}="{_escape(value)}"' for name, value in pairs)
    name = _metric(metric, escaping)
    return f"{{{name},{inside}}}" if name.startswith('"') else f"{name}{{{inside}}}"


def _metric(name: str, escaping: str) -> str:
    return name if _PLAIN_METRIC.fullmatch(name) else _spelled(name, escaping)


def _label(name: str, escaping: str) -> str:
    return name if _PLAIN_LABEL.fullmatch(name) else _spelled(name, escaping)


def _spelled(name: str, escaping: str) -> str:
    if escaping == UTF8:
        return f'"{_escape(name)}"'
    plain = _NOT_PLAIN.sub("_", name)
    return f"_{plain[1:]}" if plain[:1].isdigit() else plain


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
