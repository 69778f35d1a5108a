"""Target page: the newest samples of one machine, as if its own `/metrics` had been asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from peerwatch.model import METRIC_NAME, Labels, Matcher, MatchOp, MetricType, Series
from peerwatch.query.federate import Newest, newest_of, plain_labels
from peerwatch.query.gotext import format_scientific
from peerwatch.query.limits import Budget
from peerwatch.query.queryable import Queryable
from peerwatch.wire.exposition import write_exposition

INSTANCE, JOB, UP = "instance", "job", "up"
Meaning = tuple[MetricType, str, str]
_UNKNOWN: Meaning = (MetricType.UNKNOWN, "", "")


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Whose samples, and how. A series of `own_job` is the machine's own and is shown without the label `job`."""

    instance: str
    own_job: str
    now_ms: int
    lookback_ms: int
    timestamps: bool = False


def target_page(source: Queryable, meanings: Mapping[str, Meaning], budget: Budget, asked: PageRequest) -> bytes:
    """The page, with HELP and TYPE. A series whose newest sample is older than the lookback, or a marker, is not in it.

    The label `instance` is left to the scraper, and so is `up`, which it makes itself. Names that the format does not
    have are spelled with `_`; histograms with custom bounds become classic ones, exponential ones are left out, as in
    federation. Raises LimitError and CancelledQueryError.
    """
    budget.check()
    matchers = (Matcher(INSTANCE, MatchOp.EQUAL, asked.instance), Matcher(METRIC_NAME, MatchOp.NOT_EQUAL, UP))
    start_ms = asked.now_ms - asked.lookback_ms + 1
    read = source.select(matchers, start_ms, asked.now_ms, max_samples=budget.limits.max_samples)
    named = [(_shown(labels, asked), newest) for labels, newest in newest_of(read) if labels.metric]
    rows = [row for labels, newest in named for row in _rows(labels, newest, meanings)]
    times_ms = [time_ms for _, _, time_ms in rows] if asked.timestamps else None
    return write_exposition([(series, value) for series, value, _ in rows], times_ms)


def _shown(labels: Labels, asked: PageRequest) -> Labels:
    hidden = [INSTANCE, JOB] if labels.get(JOB) == asked.own_job else [INSTANCE]
    return labels.without(hidden)


def _rows(labels: Labels, newest: Newest, meanings: Mapping[str, Meaning]) -> Iterator[tuple[Series, float, int]]:
    metric = labels.metric
    kind, help_, unit = meanings.get(metric, _UNKNOWN)
    plain = plain_labels(labels)
    if newest.buckets is None:
        yield Series(plain, kind, help_, unit), newest.value, newest.time_ms
        return
    name = plain.metric
    parts = [({METRIC_NAME: f"{name}_bucket", "le": format_scientific(bound)}, upto) for bound, upto in newest.buckets]
    parts += [({METRIC_NAME: f"{name}_sum"}, newest.sum), ({METRIC_NAME: f"{name}_count"}, newest.value)]
    for changes, value in parts:
        yield Series(plain.with_(changes), MetricType.HISTOGRAM, help_, unit), value, newest.time_ms
