"""Timespan: one entry of the page's range selector, and what it means for a query."""

from __future__ import annotations

from dataclasses import dataclass

from peerwatch.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Timespan:
    """How far back a chart looks, and how densely.

    `fast` ones follow every sample: rates are those of the last two samples, gauges the last value. The others show
    for each step what happened in it: rates and means over `window`, which is never shorter than a step, so that no
    sample falls between two points.
    """

    id: str
    title: str
    length_ms: int
    step_ms: int
    window: str
    fast: bool

    def render(self, expr: str, *, instance: str = "", job: str = "") -> str:
        """`expr` with `$instance`, `$job`, `$window`, `$rate` and `$gauge` filled in; values are quoted for PromQL."""
        filled = expr.replace("$rate", "irate" if self.fast else "rate")
        filled = filled.replace("$gauge", "last_over_time" if self.fast else "avg_over_time")
        filled = filled.replace("$window", self.window)
        head, *rest = filled.split("$")  # by pieces: an instance that is called "$job" stays what it is
        return head + "".join(_fill(piece, instance, job) for piece in rest)

    def grid(self, now_ms: int) -> tuple[int, int]:
        """First and last point of a chart that is drawn now, both on multiples of the step."""
        end_ms = now_ms - now_ms % self.step_ms
        return end_ms - self.length_ms, end_ms

    def next_point_ms(self, now_ms: int, last_ms: int) -> int | None:
        """When to evaluate the next live point: now for a fast span, else on the grid; None while that is `last_ms`."""
        point_ms = now_ms if self.fast else now_ms - now_ms % self.step_ms
        return point_ms if point_ms > last_ms else None


_SECOND = 1000
_MINUTE = 60 * _SECOND
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR

# Fast windows are 1 m, so that targets scraped every 15 or 30 s have the two samples that a rate needs.
TIMESPANS = (
    Timespan("5m", "5 minutes", 5 * _MINUTE, 5 * _SECOND, "1m", fast=True),
    Timespan("15m", "15 minutes", 15 * _MINUTE, 5 * _SECOND, "1m", fast=True),
    Timespan("1h", "1 hour", _HOUR, 15 * _SECOND, "1m", fast=False),
    Timespan("6h", "6 hours", 6 * _HOUR, _MINUTE, "1m", fast=False),
    Timespan("24h", "24 hours", _DAY, 5 * _MINUTE, "5m", fast=False),
    Timespan("7d", "7 days", 7 * _DAY, 30 * _MINUTE, "30m", fast=False),
)
NOW = TIMESPANS[0]
"""What the tiles show: the present, whatever range the charts have."""


def timespan(span_id: str) -> Timespan:
    """The time span called `span_id`. Raises ConfigError with the names that there are."""
    for span in TIMESPANS:
        if span.id == span_id:
            return span
    raise ConfigError(f"range {span_id[:20]!r} is not one of {', '.join(span.id for span in TIMESPANS)}")


def _fill(piece: str, instance: str, job: str) -> str:
    for name, value in (("instance", instance), ("job", job)):
        if piece.startswith(name):
            return _escape(value) + piece[len(name) :]
    return "$" + piece


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
