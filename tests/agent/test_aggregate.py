"""Edge aggregation says what happened in a window, as plain Python would."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerwatch.agent.aggregate import Aggregate, AggregationRule, Aggregator, aggregate_window
from peerwatch.agent.tick import Tick
from peerwatch.errors import ConfigError
from peerwatch.model import STALE, SampleMatrix, is_stale
from tests.agent.shapes import counter, gauge, shown, tick

LOAD, CPU, OTHER = gauge("load"), counter("cpu_total"), gauge("other")
STALE_VALUE = float(STALE)

cell = st.one_of(st.none(), st.just("stale"), st.just(math.nan), st.floats(-1e6, 1e6))


@given(st.integers(1, 4).flatmap(lambda k: st.lists(st.lists(cell, min_size=k, max_size=k), min_size=1, max_size=4)))
def test_a_window_is_what_plain_python_says(rows: list[list[float | str | None]]) -> None:
    """Minimum, maximum, mean, last and count of the samples of each row; markers and gaps are no samples."""
    width = len(rows[0])
    values = np.array([[STALE_VALUE if c == "stale" else 0.0 if c is None else c for c in row] for row in rows])
    presence = np.array([[c is not None for c in row] for row in rows])
    found = aggregate_window(SampleMatrix(np.arange(width), values, None if presence.all() else presence))
    for at, row in enumerate(rows):
        samples = [c for c in row if isinstance(c, float)]
        numbers = [c for c in samples if not math.isnan(c)]
        seen = [c for c in row if c is not None]
        assert found.samples[at] == len(samples)
        assert bool(found.ended[at]) == bool(seen and seen[-1] == "stale")
        expected = {
            "last": samples[-1] if samples else math.nan,
            "min": min(numbers, default=math.nan),
            "max": max(numbers, default=math.nan),
            "mean": sum(numbers) / len(numbers) if numbers else math.nan,
        }
        for name, value in expected.items():
            assert float(getattr(found, name)[at]) == pytest.approx(value, nan_ok=True, abs=1e-6), name
            assert not is_stale(getattr(found, name)).any()


def run(aggregator: Aggregator, *ticks: Tick) -> list[tuple[int, int, dict[str, float | str]]]:
    return [(out.time_ms, out.interval_ms, shown(out)) for one in ticks for out in aggregator.feed(one)]


def test_less_important_metrics_come_less_often() -> None:
    """What a rule names comes once per window, with min, max and mean; a counter only with its last value."""
    aggregator = Aggregator([AggregationRule("load|cpu_total", 3)])
    out = run(
        aggregator,
        *(tick(t, {LOAD: v, OTHER: t, CPU: 10 * v}) for t, v in ((3000, 4), (4000, 1), (5000, 2.5), (6000, 9))),
    )
    assert out == [
        (3000, 1000, {"other": 3000}),
        (4000, 1000, {"other": 4000}),
        (5000, 1000, {"other": 5000}),
        (5000, 3000, {"load": 2.5, "load:min": 1, "load:max": 4, "load:mean": 2.5, "cpu_total": 25}),
        (6000, 1000, {"other": 6000}),
    ]


def test_without_rules_ticks_pass_untouched() -> None:
    """The default costs nothing: the very same object comes out."""
    one = tick(1000, {LOAD: 1})
    assert Aggregator([]).feed(one) == [one]
    assert Aggregator([AggregationRule("nothing", 60)]).feed(one) == [one]
    assert Aggregator([AggregationRule("load", 1)]).feed(one) == [one]  # the window is no longer than the interval


def test_the_first_rule_counts_and_keep_chooses() -> None:
    """Rules are tried in order; `keep` says which aggregates are sent."""
    rules = [AggregationRule("lo.*", 2, (Aggregate.MAX,)), AggregationRule(".*", 2, (Aggregate.LAST,))]
    out = run(Aggregator(rules), tick(2000, {LOAD: 5, OTHER: 1}), tick(3000, {LOAD: 4, OTHER: 2}))
    assert out == [(3000, 2000, {"load:max": 5, "other": 2})]


def test_a_series_that_ends_gives_its_window_then_its_marker() -> None:
    """The aggregates of the last window are not lost, and each of them gets exactly one marker."""
    aggregator = Aggregator([AggregationRule("load", 2, (Aggregate.LAST, Aggregate.MIN))])
    ticks = [
        tick(2000, {LOAD: 3}),
        tick(3000, {LOAD: STALE_VALUE}),
        tick(4000, {OTHER: 1}),
        tick(5000, {OTHER: 1}),
        tick(6000, {LOAD: 1}),
        tick(7000, {LOAD: 2}),
        tick(8000, {LOAD: STALE_VALUE}),
        tick(9000, {OTHER: 1}),
        tick(10_000, {LOAD: 1}),
        tick(11_000, {LOAD: STALE_VALUE}),
        *(tick(t, {OTHER: 1}) for t in range(12_000, 18_000, 1000)),
    ]
    windows = [(t, content) for t, interval, content in run(aggregator, *ticks) if interval == 2000]
    assert windows == [
        (3000, {"load": 3, "load:min": 3}),
        (5000, {"load": "stale", "load:min": "stale"}),
        (7000, {"load": 2, "load:min": 1}),
        (9000, {"load": "stale", "load:min": "stale"}),
        (11_000, {"load": 1, "load:min": 1}),
        (13_000, {"load": "stale", "load:min": "stale"}),
    ]


def test_a_gap_or_a_jump_closes_the_window() -> None:
    """Ticks of different windows are never mixed, forwards or backwards."""
    aggregator = Aggregator([AggregationRule("load", 60, (Aggregate.MAX,))])
    out = run(aggregator, tick(60_000, {LOAD: 1}), tick(200_000, {LOAD: 2}), tick(190_000, {LOAD: 3}))
    assert out == [(60_000, 60_000, {"load:max": 1}), (200_000, 60_000, {"load:max": 2})]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"pattern": "(", "window_s": 60}, "pattern"),
        ({"pattern": "a", "window_s": 0.5}, "window_s: 0.5, must be from 1 to 3600"),
        ({"pattern": "a", "window_s": 60, "keep": ()}, "keep is empty"),
    ],
)
def test_bad_rules_are_refused(settings: dict[str, object], reason: str) -> None:
    """A bad rule names its setting, its value and what is allowed."""
    with pytest.raises(ConfigError, match=reason):
        AggregationRule(**settings)  # type: ignore[arg-type]
