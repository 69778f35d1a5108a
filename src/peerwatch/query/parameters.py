"""Parameters of the HTTP API: texts to values, with Prometheus's messages for what they are not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from peerwatch.errors import ParseError, QueryError
from peerwatch.model import Matcher
from peerwatch.query.gotext import parse_duration_ms, quote
from peerwatch.query.parser import parse_selector

Form = Mapping[str, Sequence[str]]
"""All values of each parameter, from the URL and the form together."""

MIN_TIME_MS = -(1 << 53)
MAX_TIME_MS = 1 << 53
"""What an absent start and end mean: all of it, and still exact as a float."""

MAX_STEPS = 11_000
_MAX_INT64 = (1 << 63) - 1


class BadParameterError(QueryError):
    """The client's: a parameter is missing or not what it must be."""


@dataclass(frozen=True, slots=True)
class QueryOptions:
    """What may accompany a query. `limit` 0 means no limit on the series returned; `stats`: tell what it cost."""

    limit: int = 0
    timeout_s: float | None = None
    lookback_ms: int | None = None
    stats: bool = False


@dataclass(frozen=True, slots=True)
class InstantRequest:
    """`/query`."""

    query: str
    time_ms: int
    options: QueryOptions


@dataclass(frozen=True, slots=True)
class RangeRequest:
    """`/query_range`."""

    query: str
    start_ms: int
    end_ms: int
    step_ms: int
    options: QueryOptions


@dataclass(frozen=True, slots=True)
class SeriesRequest:
    """`/series`, `/labels`, `/label/<name>/values`: one set of matchers per match[]."""

    selectors: tuple[tuple[Matcher, ...], ...]
    start_ms: int
    end_ms: int
    limit: int


def first(form: Form, name: str) -> str:
    """The first value of a parameter, or the empty string."""
    values = form.get(name)
    return values[0] if values else ""


def _invalid(name: str, reason: object) -> BadParameterError:
    return BadParameterError(f"invalid parameter {quote(name)}: {reason}")


def invalid_query(error: QueryError) -> BadParameterError:
    """What is said about a query that does not parse."""
    return _invalid("query", error)


def parse_time_ms(text: str) -> int:
    """Unix seconds, or RFC 3339. Raises ValueError."""
    try:
        seconds = _number(text)
    except ValueError:
        return _parse_date_ms(text)
    if not math.isfinite(seconds) or abs(seconds) > MAX_TIME_MS / 1000:
        raise ValueError(f"cannot parse {quote(text)} to a valid timestamp")
    return round(seconds * 1000)


def _number(text: str) -> float:
    """Python would pass over spaces. Raises ValueError."""
    if text != text.strip():
        raise ValueError("spaces around a number")
    return float(text)


def _parse_date_ms(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"cannot parse {quote(text)} to a valid timestamp") from error
    if moment.tzinfo is None or "T" not in text.upper():
        raise ValueError(f"cannot parse {quote(text)} to a valid timestamp")
    return round(moment.timestamp() * 1000)


def parse_seconds(text: str) -> float:
    """Plain seconds, or a duration such as 5m. Raises ValueError."""
    try:
        seconds = _number(text)
    except ValueError:
        try:
            return parse_duration_ms(text) / 1000
        except ValueError as error:
            raise ValueError(f"cannot parse {quote(text)} to a valid duration") from error
    if not abs(seconds) <= (1 << 63) / 1e9:
        raise ValueError(f"cannot parse {quote(text)} to a valid duration. It overflows int64")
    return seconds


def _time(form: Form, name: str, default_ms: int | None) -> int:
    text = first(form, name)
    if not text and default_ms is not None:
        return default_ms
    try:
        return parse_time_ms(text)
    except ValueError as error:
        reason = f"invalid time value for '{name}': {error}" if default_ms is not None else str(error)
        raise _invalid(name, reason) from error


def _seconds(form: Form, name: str) -> float | None:
    text = first(form, name)
    if not text:
        return None
    try:
        return parse_seconds(text)
    except ValueError as error:
        raise _invalid(name, error) from error


def _limit(form: Form) -> int:
    text = first(form, "limit")
    if not text:
        return 0
    try:
        limit = int(text if text == text.strip() else "")
    except ValueError as error:
        raise _invalid("limit", f"strconv.Atoi: parsing {quote(text)}: invalid syntax") from error
    if limit < 0:
        raise _invalid("limit", "limit must be non-negative")
    if limit > _MAX_INT64:
        raise _invalid("limit", f"strconv.Atoi: parsing {quote(text)}: value out of range")
    return limit


def _options(form: Form, limit: int) -> QueryOptions:
    timeout_s = _seconds(form, "timeout")
    try:
        lookback = first(form, "lookback_delta")
        lookback_s = parse_seconds(lookback) if lookback else 0.0
    except ValueError as error:
        raise BadParameterError(f"error parsing lookback delta duration: {error}") from error
    lookback_ms = int(lookback_s * 1000) if lookback_s > 0 else None
    return QueryOptions(limit, timeout_s, lookback_ms, stats=bool(first(form, "stats")))


def instant_request(form: Form, now_ms: int) -> InstantRequest:
    """Raises BadParameterError."""
    limit = _limit(form)
    time_ms = _time(form, "time", now_ms)
    return InstantRequest(first(form, "query"), time_ms, _options(form, limit))


def range_request(form: Form) -> RangeRequest:
    """Raises BadParameterError, also for more steps than a graph has pixels."""
    limit = _limit(form)
    start_ms, end_ms = _time(form, "start", None), _time(form, "end", None)
    if end_ms < start_ms:
        raise _invalid("end", "end timestamp must not be before start time")
    try:
        step_ms = int(parse_seconds(first(form, "step")) * 1000)
    except ValueError as error:
        raise _invalid("step", error) from error
    if step_ms <= 0:
        reason = "zero or negative query resolution step widths are not accepted. Try a positive integer"
        raise _invalid("step", reason)
    if (end_ms - start_ms) // step_ms > MAX_STEPS:
        raise BadParameterError(
            "exceeded maximum resolution of 11,000 points per timeseries. "
            "Try decreasing the query resolution (?step=XX)"
        )
    return RangeRequest(first(form, "query"), start_ms, end_ms, step_ms, _options(form, limit))


def federate_request(form: Form) -> tuple[tuple[Matcher, ...], ...]:
    """The selectors of `/federate`. Raises BadParameterError."""
    try:
        return tuple(parse_selector(text) for text in form.get("match[]", ()))
    except ParseError as error:
        raise BadParameterError(str(error)) from error


def series_request(form: Form, *, needs_match: bool = False) -> SeriesRequest:
    """Raises BadParameterError."""
    texts = form.get("match[]", ())
    if needs_match and not texts:
        raise BadParameterError("no match[] parameter provided")
    limit = _limit(form)
    start_ms, end_ms = _time(form, "start", MIN_TIME_MS), _time(form, "end", MAX_TIME_MS)
    try:
        selectors = tuple(parse_selector(text) for text in texts)
    except ParseError as error:
        raise (_invalid("match[]", error) if needs_match else BadParameterError(str(error))) from error
    return SeriesRequest(selectors, start_ms, end_ms, limit)
