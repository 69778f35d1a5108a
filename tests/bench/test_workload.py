"""Rules of the data that all systems are given."""

from __future__ import annotations

import numpy as np
from bench.workload import SERIES_PER_AGENT, Workload

_WORKLOAD = Workload(agents=2, ticks=100, end_ms=1_790_000_000_000)


def test_equal_arguments_give_equal_data() -> None:
    """Every system and every run gets the same samples."""
    first, second = _WORKLOAD.matrix(1), Workload(2, 100, 1_790_000_000_000).matrix(1)
    assert np.array_equal(first.times_ms, second.times_ms)
    assert np.array_equal(first.values, second.values)


def test_an_agent_has_300_distinct_series_and_finite_values() -> None:
    """No label set comes twice, no value is missing."""
    assert len({one.labels for one in _WORKLOAD.series}) == SERIES_PER_AGENT == 300
    assert np.isfinite(_WORKLOAD.matrix(0).values).all()


def test_times_rise_and_end_where_they_should() -> None:
    """Ticks jitter but never overtake each other, and stay within the asked range."""
    times = _WORKLOAD.matrix(0).times_ms
    assert (np.diff(times) > 4_900).all()
    assert _WORKLOAD.start_ms <= times[0]
    assert times[-1] < _WORKLOAD.end_ms


def test_counters_never_fall() -> None:
    """What is called a total only grows."""
    totals = [row for row, one in enumerate(_WORKLOAD.series) if one.labels.metric.endswith("_total")]
    assert (np.diff(_WORKLOAD.matrix(0).values[totals]) >= 0).all()


def test_agents_differ() -> None:
    """Nothing can be saved by noticing that two hosts are one."""
    assert not np.array_equal(_WORKLOAD.matrix(0).values, _WORKLOAD.matrix(1).values)
