"""PrometheusApi: requests to answers, without HTTP. Everything here blocks; call it in worker threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar, runtime_checkable

import msgspec
import numpy as np

from peerwatch.errors import CancelledQueryError, LimitError, ParseError, PeerwatchError, QueryError, StoreError
from peerwatch.model import Clock, Labels, Matcher, MetricType, SeriesSet, SystemClock
from peerwatch.query.engine import Engine
from peerwatch.query.federate import federate, newest_of
from peerwatch.query.functions.label import valid_label_name
from peerwatch.query.gotext import quote
from peerwatch.query.limits import Budget, Cancellation, QueryTimeoutError
from peerwatch.query.parameters import (
    MAX_TIME_MS,
    MIN_TIME_MS,
    BadParameterError,
    Form,
    InstantRequest,
    QueryOptions,
    RangeRequest,
    SeriesRequest,
    first,
    invalid_query,
)
from peerwatch.query.parser import parse
from peerwatch.query.pretty import prettify
from peerwatch.query.queryable import Queryable
from peerwatch.query.render import render_labels, render_result, success, with_stats
from peerwatch.query.result import MatrixResult, Result, ResultValue, VectorResult
from peerwatch.query.status import MAX_HEAVIEST, Holdings, render_holdings
from peerwatch.query.target_page import PageRequest, target_page
from peerwatch.query.tree import tree_of
from peerwatch.wire.remote_read import ReadQuery, encode_read_response

_Item = TypeVar("_Item")

READ_SAMPLES = 5_000_000
"""Samples of one remote read: 90 MB before compression."""

TRUNCATED = "results truncated due to limit"
COMPATIBLE_VERSION = "3.5.0"
"""The Prometheus whose answers these are; clients choose their features by it."""


@runtime_checkable
class SeriesLister(Protocol):
    """A source that can name series without reading their samples."""

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Sequence[Labels]:
        """Sorted label sets of the series that match and may have samples in the range."""
        ...


@runtime_checkable
class MetadataSource(Protocol):
    """A source that knows what metrics mean."""

    def metadata(self) -> Mapping[str, tuple[MetricType, str, str]]:
        """Type, help and unit by metric name."""
        ...


def _meaning(kind: MetricType, help_: str, unit: str) -> dict[str, str]:
    return {"type": kind.name.lower().replace("_", ""), "help": help_, "unit": unit}


class PrometheusApi:
    """The read side of Prometheus's HTTP API over one source."""

    def __init__(
        self,
        source: Queryable,
        engine: Engine | None = None,
        clock: Clock | None = None,
        *,
        version: str = "",
    ) -> None:
        self._source = source
        self._clock = clock or SystemClock()
        self.engine = engine or Engine(source, clock=self._clock)
        self._version = version

    @property
    def now_ms(self) -> int:
        """The time that a query without one is about."""
        return self._clock.now_ms()

    def query(self, request: InstantRequest, cancelled: Cancellation | None = None) -> bytes:
        """The answer to an instant query. Raises PeerwatchError."""
        options = request.options

        def run() -> Result:
            return self.engine.instant(
                request.query,
                request.time_ms,
                timeout_s=options.timeout_s,
                lookback_ms=options.lookback_ms,
                cancelled=cancelled,
            )

        return self._answer(run, options)

    def query_range(self, request: RangeRequest, cancelled: Cancellation | None = None) -> bytes:
        """The answer to a range query. Raises PeerwatchError."""
        options = request.options

        def run() -> Result:
            return self.engine.range(
                request.query,
                request.start_ms,
                request.end_ms,
                request.step_ms,
                timeout_s=options.timeout_s,
                lookback_ms=options.lookback_ms,
                cancelled=cancelled,
            )

        return self._answer(run, options)

    def _answer(self, run: Callable[[], Result], options: QueryOptions) -> bytes:
        began_s = self._clock.monotonic_s()
        try:
            result = run()
        except ParseError as error:
            raise invalid_query(error) from error
        value, is_truncated = truncate(result.value, options.limit)
        warnings = [*result.warnings, TRUNCATED] if is_truncated else result.warnings
        data = render_result(value)
        if options.stats:
            data = with_stats(data, result.samples, self._clock.monotonic_s() - began_s)
        return success(data, warnings, result.infos)

    def labels(self, request: SeriesRequest) -> bytes:
        """All label names. Raises PeerwatchError."""
        start_ms, end_ms = request.start_ms, request.end_ms
        return _names(request, lambda matchers: self._source.label_names(matchers, start_ms, end_ms))

    def label_values(self, name: str, request: SeriesRequest) -> bytes:
        """All values of a label. Raises PeerwatchError."""
        label = unescape_label(name)
        if not valid_label_name(label):
            raise BadParameterError(f"invalid label name: {quote(label)}")
        start_ms, end_ms = request.start_ms, request.end_ms
        return _names(request, lambda matchers: self._source.label_values(label, matchers, start_ms, end_ms))

    def series(self, request: SeriesRequest) -> bytes:
        """The label sets of all series that match one of the selectors. Raises PeerwatchError."""
        found: set[Labels] = set()
        for matchers in request.selectors:
            found.update(self._series(matchers, request.start_ms, request.end_ms))
        listed, warnings = _limited(sorted(found), request.limit)
        return success(b"[%s]" % b",".join(render_labels(one) for one in listed), warnings)

    def _series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Sequence[Labels]:
        if isinstance(self._source, SeriesLister):
            return self._source.series(matchers, start_ms, end_ms)
        limit = self.engine.options.limits.max_samples
        found = self._source.select(matchers, start_ms, end_ms, max_samples=limit)
        has_samples = np.diff(found.offsets) > 0
        return [labels for labels, has in zip(found.labels, has_samples.tolist(), strict=True) if has]

    def metadata(self, form: Form) -> bytes:
        """What metrics mean, as far as the source knows."""
        if not isinstance(self._source, MetadataSource):
            return success(b"{}")
        wanted = first(form, "metric")
        known = {name: [_meaning(*row)] for name, row in self._source.metadata().items() if wanted in ("", name)}
        try:
            limit = int(first(form, "limit") or -1)
        except ValueError as error:
            raise BadParameterError("limit must be a number") from error
        return success(msgspec.json.encode(dict(list(known.items())[: limit if limit >= 0 else None])))

    def format_query(self, form: Form) -> bytes:
        """The query, well laid out. Raises BadParameterError."""
        try:
            return success(msgspec.json.encode(prettify(parse(first(form, "query")))))
        except ParseError as error:
            raise invalid_query(error) from error

    def parse_query(self, form: Form) -> bytes:
        """The query's syntax tree. Raises BadParameterError."""
        try:
            return success(msgspec.json.encode(tree_of(parse(first(form, "query")))))
        except ParseError as error:
            raise invalid_query(error) from error

    def federate(
        self, selectors: Sequence[Sequence[Matcher]], escaping: str, cancelled: Cancellation | None = None
    ) -> bytes:
        """The page of `/federate`: the newest sample of what matches one of the selectors. Raises PeerwatchError."""
        options = self.engine.options
        budget = Budget.start(options.limits, self._clock, cancelled)
        return federate(self._source, budget, selectors, self.now_ms, options.lookback_ms, escaping)

    def target_page(
        self, instance: str, own_job: str, timestamps: bool, cancelled: Cancellation | None = None
    ) -> bytes:
        """The newest samples of one machine, as if its own `/metrics` had been asked. Raises PeerwatchError."""
        options = self.engine.options
        meanings = self._source.metadata() if isinstance(self._source, MetadataSource) else {}
        asked = PageRequest(instance, own_job, self.now_ms, options.lookback_ms, timestamps)
        return target_page(self._source, meanings, Budget.start(options.limits, self._clock, cancelled), asked)

    def newest(self, matchers: Sequence[Matcher], cancelled: Cancellation | None = None) -> list[tuple[Labels, int]]:
        """The series that have not ended, each with the time of its newest sample. Raises PeerwatchError."""
        options, now_ms = self.engine.options, self.now_ms
        Budget.start(options.limits, self._clock, cancelled).check()
        start_ms = now_ms - options.lookback_ms + 1
        read = self._source.select(matchers, start_ms, now_ms, max_samples=options.limits.max_samples)
        return [(labels, newest.time_ms) for labels, newest in newest_of(read)]

    def remote_read(self, queries: Sequence[ReadQuery], cancelled: Cancellation | None = None) -> bytes:
        """The answer to a remote read: samples as they are stored. Raises LimitError past `READ_SAMPLES`."""
        budget = Budget.start(self.engine.options.limits, self._clock, cancelled)
        results: list[SeriesSet] = []
        left = READ_SAMPLES
        for query in queries:
            budget.check()
            try:
                found = self._source.select(query.matchers, query.start_ms, query.end_ms, max_samples=left)
            except LimitError as error:
                raise LimitError(f"exceeded sample limit ({READ_SAMPLES})") from error
            left -= len(found.values) + (0 if found.histograms is None else len(found.histograms.column.buckets))
            results.append(found)
        return encode_read_response(results)

    def tsdb(self, held: Holdings, form: Form) -> bytes:
        """What there is most of. Raises BadParameterError."""
        text = first(form, "limit")
        limit = int(text) if text.isascii() and text.isdigit() else (0 if text else 10)
        if not 0 < limit <= MAX_HEAVIEST:
            raise BadParameterError(
                "limit must be a positive number" if limit <= 0 else f"limit must not exceed {MAX_HEAVIEST}"
            )
        return render_holdings(held, self._series((), MIN_TIME_MS, MAX_TIME_MS), limit)

    def build_info(self) -> bytes:
        """Which Prometheus to take us for."""
        info = {
            "version": COMPATIBLE_VERSION,
            "revision": f"peerwatch {self._version}".strip(),
            "branch": "",
            "buildUser": "",
            "buildDate": "",
            "goVersion": "",
        }
        return success(msgspec.json.encode(info))


def truncate(value: ResultValue, limit: int) -> tuple[ResultValue, bool]:
    """(at most `limit` series of the answer, whether something is missing); 0 means all."""
    if limit <= 0:
        return value, False
    match value:
        case VectorResult() if len(value.labels) > limit:
            return VectorResult(value.time_ms, value.labels[:limit], value.values[:limit]), True
        case MatrixResult(series=series) if len(series.labels) > limit:
            end = int(series.offsets[limit])
            offsets = series.offsets[: limit + 1]
            shorter = SeriesSet(series.labels[:limit], series.times_ms[:end], series.values[:end], offsets)
            return MatrixResult(shorter), True
        case _:
            return value, False


def _names(request: SeriesRequest, read: Callable[[Sequence[Matcher]], list[str]]) -> bytes:
    found: set[str] = set()
    for matchers in request.selectors or ((),):
        found.update(read(matchers))
    listed, warnings = _limited(sorted(found), request.limit)
    return success(msgspec.json.encode(listed), warnings)


def _limited(items: list[_Item], limit: int) -> tuple[list[_Item], list[str]]:
    return (items[:limit], [TRUNCATED]) if 0 < limit < len(items) else (items, [])


def unescape_label(name: str) -> str:
    """The label that a name in a URL means: U__ introduces Prometheus's escaping of what is no plain name."""
    if not name.startswith("U__"):
        return name
    parts = name[3:].split("_")
    text, at = parts[0], 1
    while at < len(parts):
        if parts[at] == "" and at + 1 < len(parts):  # "__" is an underscore
            text += "_" + parts[at + 1]
            at += 2
            continue
        try:
            text += chr(int(parts[at], 16))
        except ValueError:
            return name
        text += parts[at + 1] if at + 1 < len(parts) else ""
        at += 2
    return text


def error_of(error: PeerwatchError) -> tuple[int, str]:
    """(HTTP status, Prometheus's error type) of what went wrong."""
    match error:
        case BadParameterError() | ParseError():
            return 400, "bad_data"
        case CancelledQueryError():
            return 499, "canceled"
        case QueryTimeoutError():
            return 503, "timeout"
        case StoreError():
            return 500, "internal"
        case QueryError():
            return 422, "execution"
        case _:
            return 500, "internal"
