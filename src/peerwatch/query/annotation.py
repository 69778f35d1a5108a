"""Annotations: what a query's answer should be read with, warnings and infos, each with its place in the query."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum

from peerwatch.query.ast import Span
from peerwatch.query.gotext import format_general, line_and_column, quote

MAX_ANNOTATIONS = 1000
"""Distinct messages kept per query; later ones are dropped, because nobody reads that many."""

_MONOTONICITY = (
    "input to histogram_quantile needed to be fixed for monotonicity "
    "(see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)"
)


class Severity(Enum):
    """How bad it is; the value starts the message."""

    WARNING = "PromQL warning"
    INFO = "PromQL info"


@dataclass(frozen=True, slots=True)
class Correction:
    """How much classic histograms had to be bent to be monotonic."""

    first_ms: int
    last_ms: int
    low_bound: float
    high_bound: float
    largest: float
    count: int = 1

    def merge(self, other: Correction) -> Correction:
        """Both together."""
        return Correction(
            min(self.first_ms, other.first_ms),
            max(self.last_ms, other.last_ms),
            min(self.low_bound, other.low_bound),
            max(self.high_bound, other.high_bound),
            max(self.largest, other.largest),
            self.count + other.count,
        )

    def __str__(self) -> str:
        first, last = (_rfc3339(at_ms) for at_ms in (self.first_ms, self.last_ms))
        bounds = f"from buckets {format_general(self.low_bound)} to {format_general(self.high_bound)}"
        return f", {bounds}, with a max diff of {self.largest:.2g}, over {self.count} samples from {first} to {last}"


def _rfc3339(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class Annotation:
    """One remark. Two with the same severity and message are one."""

    severity: Severity
    message: str
    span: Span
    correction: Correction | None = None

    def render(self, query: str) -> str:
        """The text that clients see."""
        detail = "" if self.correction is None else str(self.correction)
        return f"{self.severity.value}: {self.message}{detail} ({line_and_column(query, self.span.start)})"


class Annotations:
    """The remarks of one query, in order of first appearance. Owned by its evaluation; full at `MAX_ANNOTATIONS`."""

    def __init__(self) -> None:
        self._kept: dict[tuple[Severity, str], Annotation] = {}

    def __iter__(self) -> Iterable[Annotation]:
        return iter(self._kept.values())

    def add(self, annotation: Annotation) -> None:
        """Note it. The same message again takes the later place; with a correction it stays at the first."""
        key = (annotation.severity, annotation.message)
        known = self._kept.get(key)
        if known is None and len(self._kept) >= MAX_ANNOTATIONS:
            return
        if known is not None and known.correction and annotation.correction:
            annotation = replace(known, correction=known.correction.merge(annotation.correction))
        self._kept[key] = annotation

    def warn(self, message: str, span: Span) -> None:
        """Note a warning."""
        self.add(Annotation(Severity.WARNING, message, span))

    def inform(self, message: str, span: Span) -> None:
        """Note an info."""
        self.add(Annotation(Severity.INFO, message, span))

    def render(self, query: str) -> tuple[list[str], list[str]]:
        """(warnings, infos) as texts."""
        kept = self._kept.values()
        return (
            [one.render(query) for one in kept if one.severity is Severity.WARNING],
            [one.render(query) for one in kept if one.severity is Severity.INFO],
        )

    # the remarks that several places make

    def invalid_quantile(self, value: float, span: Span) -> None:
        """A quantile outside 0 to 1."""
        self.warn(f"quantile value should be between 0 and 1, got {format_general(value)}", span)

    def invalid_ratio(self, value: float, capped: float, span: Span) -> None:
        """A ratio outside -1 to 1."""
        shown = f"{format_general(value)}, capping to {format_general(capped)}"
        self.warn(f"ratio value should be between -1 and 1, got {shown}", span)

    def bad_bucket_label(self, metric: str, label: str, span: Span) -> None:
        """A series among classic histogram buckets without a usable bound."""
        message = f'bucket label "le" is missing or has a malformed value of {quote(label)}'
        self.warn(message + _for_metric(metric), span)

    # about native histograms

    def mixed_range(self, metric: str, span: Span) -> None:
        """Numbers and histograms in one window."""
        self.warn(f"encountered a mix of histograms and floats for metric name {quote(metric)}", span)

    def mixed_aggregation(self, span: Span) -> None:
        """Numbers and histograms in one group."""
        self.warn("encountered a mix of histograms and floats for aggregation", span)

    def mixed_kinds(self, metric: str, span: Span) -> None:
        """A classic and a native histogram with the same labels."""
        self.warn("vector contains a mix of classic and native histograms" + _for_metric(metric), span)

    def mixed_schemas(self, metric: str, span: Span) -> None:
        """Exponential and custom buckets that would have to be combined."""
        message = "vector contains a mix of histograms with exponential and custom buckets schemas for metric name "
        self.warn(message + quote(metric), span)

    def not_a_counter(self, metric: str, span: Span) -> None:
        """A histogram that says it is a gauge, where a counter is needed."""
        self.warn(f"this native histogram metric is not a counter: {quote(metric)}", span)

    def not_a_gauge(self, metric: str, span: Span) -> None:
        """A histogram that does not say it is a gauge, where one is needed."""
        self.warn(f"this native histogram metric is not a gauge: {quote(metric)}", span)

    def incompatible_buckets(self, op: str, span: Span) -> None:
        """Exponential and custom buckets on the sides of an operator."""
        self.warn(f"incompatible bucket layout encountered for binary operator {op}", span)

    def incompatible_types(self, left: str, op: str, right: str, span: Span) -> None:
        """An operator that is not defined between these."""
        message = f"incompatible sample types encountered for binary operator {quote(op)}: {left} {op} {right}"
        self.inform(message, span)

    def ignored_in_aggregation(self, op: str, span: Span) -> None:
        """Histograms among the numbers that are aggregated."""
        self.inform(f"ignored histogram in {op} aggregation", span)

    def ignored_in_mixed_range(self, metric: str, span: Span) -> None:
        """Histograms among the numbers of a window."""
        message = "ignored histograms in a range containing both floats and histograms for metric name "
        self.inform(message + quote(metric), span)

    def colliding_resets(self, operation: str, span: Span) -> None:
        """Histograms that contradict each other about a counter reset."""
        self.warn(f"conflicting counter resets during histogram {operation}", span)

    def reconciled_bounds(self, operation: str, span: Span) -> None:
        """Custom buckets that differ and were made the same."""
        self.inform(f"mismatched custom buckets were reconciled during {operation}", span)

    def nan_quantile(self, metric: str, span: Span) -> None:
        """A quantile that lies among NaN observations."""
        message = "input to histogram_quantile has NaN observations, result is NaN"
        self.inform(message + _for_metric(metric), span)

    def skewed_quantile(self, metric: str, span: Span) -> None:
        """A quantile below NaN observations."""
        message = "input to histogram_quantile has NaN observations, result is skewed higher"
        self.inform(message + _for_metric(metric), span)

    def nan_fraction(self, metric: str, span: Span) -> None:
        """Fractions of a histogram with NaN observations."""
        message = "input to histogram_fraction has NaN observations, which are excluded from all fractions"
        self.inform(message + _for_metric(metric), span)

    def overlapping_start(self, metric: str, span: Span) -> None:
        """A sample that says to count from before the one before it."""
        message = f"sample has start time that overlaps with previous sample timestamp for metric {quote(metric)}"
        self.warn(message, span)

    def forced_monotonicity(self, metric: str, span: Span, correction: Correction) -> None:
        """Bucket counts that decrease."""
        self.add(Annotation(Severity.INFO, _MONOTONICITY + _for_metric(metric), span, correction))


def _for_metric(metric: str) -> str:
    return f" for metric name {quote(metric)}" if metric else ""
