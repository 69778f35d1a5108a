"""How a time span turns a template into PromQL, and when it wants its points."""

from __future__ import annotations

import pytest

from peerwatch.dashboard.timespan import TIMESPANS, timespan
from peerwatch.errors import ConfigError


def test_fast_spans_follow_every_sample_and_slow_ones_average_a_step() -> None:
    """Short ranges use irate and the last value; longer ones rate and the mean."""
    expr = "$rate(a[$window]) + $gauge(b[$window])"
    assert timespan("5m").render(expr) == "irate(a[1m]) + last_over_time(b[1m])"
    assert timespan("24h").render(expr) == "rate(a[5m]) + avg_over_time(b[5m])"


def test_values_are_quoted_for_promql() -> None:
    """No instance can break out of its string, or be taken for another placeholder."""
    made = timespan("5m").render('a{instance="$instance",job="$job"}', instance='x"}\\\n$job $window', job="node")
    assert made == 'a{instance="x\\"}\\\\\\n$job $window",job="node"}'


@pytest.mark.parametrize("span", TIMESPANS, ids=lambda span: span.id)
def test_no_sample_falls_between_two_points(span: object) -> None:
    """The window of a span is never shorter than its step, and a chart has at most 361 points."""
    found = timespan(getattr(span, "id"))  # noqa: B009 (pytest gives an object)
    unit_ms = {"m": 60_000, "h": 3_600_000}[found.window[-1]]
    assert int(found.window[:-1]) * unit_ms >= found.step_ms
    assert found.length_ms % found.step_ms == 0
    assert found.length_ms // found.step_ms <= 360


def test_a_grid_ends_on_the_last_whole_step() -> None:
    """Start and end are multiples of the step, so that a repeated question has the same answer."""
    assert timespan("1h").grid(7_214_999) == (3_600_000, 7_200_000)


def test_live_points_of_a_slow_span_come_on_its_grid() -> None:
    """A fast span gets a point with every tick, a slow one once per step."""
    assert timespan("5m").next_point_ms(1_001, 1_000) == 1_001
    assert timespan("5m").next_point_ms(1_000, 1_000) is None
    assert timespan("1h").next_point_ms(44_999, 30_000) is None
    assert timespan("1h").next_point_ms(45_200, 30_000) == 45_000


def test_an_unknown_range_is_named_with_those_that_there_are() -> None:
    """The message tells what to write instead."""
    with pytest.raises(ConfigError) as caught:
        timespan("9d")
    assert str(caught.value) == "range '9d' is not one of 5m, 15m, 1h, 6h, 24h, 7d"
