"""Federation: the newest sample of each matching series, as a page that another Prometheus scrapes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

from peerwatch.errors import LimitError
from peerwatch.model import KEY_BIAS, METRIC_NAME, Histograms, Labels, Matcher, SeriesSet, is_stale
from peerwatch.query.gotext import format_scientific
from peerwatch.query.limits import Budget
from peerwatch.query.queryable import Queryable

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


@dataclass(frozen=True, slots=True)
class Newest:
    """A series' newest sample: a number, or a histogram with custom bounds and (bound, count up to it) of each."""

    time_ms: int
    value: float
    sum: float = 0.0
    buckets: tuple[tuple[float, float], ...] | None = None


def federate(
    source: Queryable,
    budget: Budget,
    selectors: Sequence[Sequence[Matcher]],
    now_ms: int,
    lookback_ms: int,
    escaping: str,
) -> bytes:
    """The page. A series whose newest sample is older than the lookback, or a stale marker, is not in it.

    Every line has its timestamp; series without `instance` say so by an empty one, which keeps the scraper from adding
    its own (with honor_labels). This format has no exponential histograms: they are left out, as by Prometheus; those
    with custom bounds become classic ones. Raises LimitError and CancelledQueryError.
    """
    found: dict[Labels, Newest] = {}
    held, limit = 0, budget.limits.max_samples
    for matchers in selectors:
        budget.check()
        read = source.select(matchers, now_ms - lookback_ms + 1, now_ms, max_samples=limit - held)
        held += len(read.values)
        if held > limit:
            raise LimitError(f"federation would load more than {limit} samples into memory")
        found.update(newest_of(read))
    named = sorted((labels.metric, labels) for labels in found if labels.metric)
    return "".join(_lines(named, found, escaping)).encode("utf-8", "replace")


def newest_of(read: SeriesSet) -> Iterator[tuple[Labels, Newest]]:
    """Each series' newest sample; none for a series that ended, and for exponential histograms."""
    rows = np.flatnonzero(np.diff(read.offsets))
    last = read.offsets[1:][rows] - 1
    times, values, stale = (
        column.tolist() for column in (read.times_ms[last], read.values[last], is_stale(read.values[last]))
    )
    which = [-1] * len(rows) if read.histograms is None else read.histograms.which[last].tolist()
    for row, time_ms, value, is_end, place in zip(rows.tolist(), times, values, stale, which, strict=True):
        if place >= 0 and read.histograms is not None:
            native = _classic(read.histograms.column, place, time_ms)
            if native is not None:
                yield read.labels[row], native
        elif not is_end:
            yield read.labels[row], Newest(time_ms, value)


def plain_labels(labels: Labels) -> Labels:
    """The labels with names that every reader of the text format takes: `_` for each strange character."""
    if all(map(_is_plain, labels)):
        return labels
    pairs = {_label(name, ESCAPED): value for name, value in labels}
    return Labels.of({**pairs, METRIC_NAME: _metric(labels.metric, ESCAPED)})


def _is_plain(pair: tuple[str, str]) -> bool:
    name, value = pair
    return bool(_PLAIN_METRIC.fullmatch(value) if name == METRIC_NAME else _PLAIN_LABEL.fullmatch(name))


def _classic(column: Histograms, place: int, time_ms: int) -> Newest | None:
    """A histogram with custom bounds; None for any other, and for a stale marker."""
    if column.bounds_of[place] < 0 or is_stale(column.sums[place : place + 1])[0]:
        return None
    bounds = column.bounds[int(column.bounds_of[place])]
    part = slice(int(column.offsets[place]), int(column.offsets[place + 1]))
    counts = np.zeros(len(bounds) + 1)
    counts[column.keys[part] - KEY_BIAS] = column.buckets[part]
    count = float(column.counts[place])
    upto = [*np.cumsum(counts)[:-1].tolist(), count]
    return Newest(time_ms, count, float(column.sums[place]), tuple(zip((*bounds, inf), upto, strict=True)))


def _lines(named: Sequence[tuple[str, Labels]], found: dict[Labels, Newest], escaping: str) -> Iterator[str]:
    last = ("", "")
    for metric, labels in named:
        newest = found[labels]
        kind = "untyped" if newest.buckets is None else "histogram"
        if (metric, kind) != last:
            last = (metric, kind)
            yield f"# TYPE {_metric(metric, escaping)} {kind}\n"
        if newest.buckets is None:
            yield _line(metric, labels, newest.value, newest.time_ms, escaping)
            continue
        for bound, upto in newest.buckets:
            yield _line(f"{metric}_bucket", labels, upto, newest.time_ms, escaping, format_scientific(bound))
        yield _line(f"{metric}_sum", labels, newest.sum, newest.time_ms, escaping)
        yield _line(f"{metric}_count", labels, newest.value, newest.time_ms, escaping)


def _line(metric: str, labels: Labels, value: float, time_ms: int, escaping: str, bound: str = "") -> str:
    return f"{_series(metric, labels, escaping, bound)} {format_scientific(value or 0.0)} {time_ms}\n"


def _series(metric: str, labels: Labels, escaping: str, bound: str) -> str:
    pairs = [(name, value) for name, value in labels if name != METRIC_NAME]
    if not labels.get(_INSTANCE):
        pairs.append((_INSTANCE, ""))
    if bound:
        pairs.append(("le", bound))
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
