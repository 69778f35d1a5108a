"""The engine against a slow and simple model of itself, and at its limits."""

from __future__ import annotations

import math
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerwatch.errors import CancelledQueryError, LimitError, ParseError
from peerwatch.model import STALE, Labels
from peerwatch.query import Engine, EngineOptions, Limits, MatrixResult, QueryTimeoutError, ScalarResult, VectorResult
from peerwatch.query.window import SLICE_CELLS
from tests.promql.memory import MemoryQueryable
from tests.promql.runner.compare import points_of
from tests.query.naive import NAIVE, Point

LOOKBACK_MS = 300_000


def close(left: float, right: float) -> bool:
    return (math.isnan(left) and math.isnan(right)) or math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-9)


values = st.one_of(
    st.integers(0, 20).map(float),
    st.floats(-1e6, 1e6),
    st.sampled_from([math.nan, math.inf, 0.0, float(STALE)]),
)
columns = st.lists(st.tuples(st.integers(0, 600), values), max_size=25, unique_by=lambda point: point[0]).map(sorted)


def storage(series: list[list[tuple[int, float]]], *, shared: bool) -> tuple[MemoryQueryable, dict[str, list[Point]]]:
    """The series as samples, and their points without stale markers. `shared`: all with the times of the first."""
    memory, model = MemoryQueryable(), {}
    for at, column in enumerate(series):
        times = np.array([second * 1000 for second, _ in (series[0] if shared else column)], np.int64)
        numbers = np.array([value for _, value in column], np.float64)
        numbers = np.resize(numbers, len(times)) if len(numbers) else np.zeros(len(times))
        memory.add(Labels.of(__name__="m", n=str(at)), times, numbers)
        is_stale = numbers.view(np.uint64) == np.float64(STALE).view(np.uint64)
        model[str(at)] = list(zip(times[~is_stale].tolist(), numbers[~is_stale].tolist(), strict=True))
    return memory, model


@settings(max_examples=60, deadline=None)
@given(
    series=st.lists(columns, min_size=1, max_size=4),
    shared=st.booleans(),
    function=st.sampled_from(sorted(NAIVE)),
    range_s=st.integers(1, 400),
    start_s=st.integers(-100, 400),
    step_s=st.integers(1, 200),
    count=st.integers(1, 40),
    offset_s=st.integers(-50, 50),
)
def test_every_window_gives_what_its_samples_give(
    series: list[list[tuple[int, float]]],
    shared: bool,
    function: str,
    range_s: int,
    start_s: int,
    step_s: int,
    count: int,
    offset_s: int,
) -> None:
    """All windows of all series at once equal each window on its own, whatever the gaps, resets and NaN."""
    memory, model = storage(series, shared=shared)
    query = function.replace("{}[{}]", f"m[{range_s}s] offset {offset_s}s")
    end_s = start_s + (count - 1) * step_s
    result = Engine(memory).range(query, start_s * 1000, end_s * 1000, step_s * 1000)
    assert isinstance(result.value, MatrixResult)
    found = {labels.get("n"): points for labels, points in points_of(result.value.series).items()}
    for name, samples in model.items():
        expected = {}
        for step in range(start_s, end_s + 1, step_s):
            end_ms, width_ms = (step - offset_s) * 1000, range_s * 1000
            window = [(at, value) for at, value in samples if end_ms - width_ms < at <= end_ms]
            answer = NAIVE[function](window, end_ms, width_ms)
            if answer is not None:
                expected[step * 1000] = answer
        mine = found.get(name, {})
        assert mine.keys() == expected.keys()
        assert all(close(mine[at], expected[at]) for at in expected), (mine, expected)


@settings(max_examples=60, deadline=None)
@given(st.lists(columns, min_size=1, max_size=3), st.booleans(), st.integers(-60, 1000), st.integers(1, 120))
def test_an_instant_vector_is_the_newest_sample(
    series: list[list[tuple[int, float]]], shared: bool, start_s: int, step_s: int
) -> None:
    """For each step the last sample younger than the lookback, unless it is a stale marker."""
    memory, _ = storage(series, shared=shared)
    result = Engine(memory).range("m", start_s * 1000, (start_s + 10 * step_s) * 1000, step_s * 1000)
    assert isinstance(result.value, MatrixResult)
    found = points_of(result.value.series)
    everything = memory.select([], -(1 << 40), 1 << 40)
    for at, labels in enumerate(everything.labels):
        part = slice(int(everything.offsets[at]), int(everything.offsets[at + 1]))
        expected = {}
        for step in range(start_s * 1000, (start_s + 10 * step_s) * 1000 + 1, step_s * 1000):
            seen = [k for k in range(part.start, part.stop) if step - LOOKBACK_MS < everything.times_ms[k] <= step]
            if seen and everything.values[seen[-1]].view(np.uint64) != np.float64(STALE).view(np.uint64):
                expected[step] = float(everything.values[seen[-1]])
        mine = found.get(labels, {})
        assert mine.keys() == expected.keys()
        assert all(close(mine[step], expected[step]) for step in expected)


def many_series(series_count: int, sample_count: int) -> MemoryQueryable:
    times = np.arange(sample_count, dtype=np.int64) * 1000
    columns = ((Labels.of(__name__="m", n=f"{at:05d}"), (times, times * (at + 0.5))) for at in range(series_count))
    return MemoryQueryable(columns)


def test_slices_of_series_fit_together() -> None:
    """More cells than one slice holds: every series still has its own numbers."""
    engine = Engine(many_series(300, 400))
    assert SLICE_CELLS < 300 * 400
    result = engine.range("max_over_time(m[10s])", 0, 399_000, 1000).value
    assert isinstance(result, MatrixResult)
    expected = np.concatenate([np.arange(400) * 1000 * (at + 0.5) for at in range(300)])
    np.testing.assert_array_equal(result.series.values, expected)


def test_many_series_at_one_instant() -> None:
    """The other way of searching: many series, few steps, times of their own."""
    memory = MemoryQueryable()
    for at in range(200):
        times = np.arange(50, dtype=np.int64) * 1000 + at
        memory.add(Labels.of(__name__="m", n=f"{at:03d}"), times, np.arange(50) * 1.0 + at)
    result = Engine(memory).instant("max_over_time(m[5s])", 20_100).value
    assert isinstance(result, VectorResult)
    expected = [(20 if at <= 100 else 19) + at for at in range(200)]
    assert result.values.tolist() == expected


def test_a_long_chain_of_operators_evaluates() -> None:
    """Generated queries join thousands of terms."""
    result = Engine(MemoryQueryable()).instant("+".join(["1"] * 5000), 0).value
    assert result == ScalarResult(0, 5000.0)


def test_too_many_samples_are_refused() -> None:
    """Reading stops at the limit, and so does the making of large results."""
    engine = Engine(many_series(10, 100), EngineOptions(limits=Limits(max_samples=999)))
    with pytest.raises(LimitError):
        engine.instant("sum_over_time(m[1h])", 100_000)
    with pytest.raises(LimitError, match="10 series x 101 steps, limit 999"):
        engine.range("m", 0, 100, 1)
    engine.instant('sum_over_time(m{n!="00000"}[1h])', 100_000)


@pytest.mark.parametrize(
    "query",
    [
        "vector(time())[10000d:1ms]",
        "max_over_time(max_over_time(vector(1)[1000d:1s])[1000d:1s])",
        "label_replace(" * 30 + 'vector(1), "a", "x", "", "")' + ', "a", "$1$1$1$1", "a", "(.*)")' * 29,
    ],
)
def test_explosions_end_at_a_limit(query: str) -> None:
    """Nested subqueries and doubling labels are refused before they take the memory."""
    with pytest.raises(LimitError):
        Engine(MemoryQueryable()).instant(query, 0)


def test_too_many_points_are_refused() -> None:
    """A series has at most 11,000 steps."""
    with pytest.raises(LimitError, match="11001 steps per series, limit 11000"):
        Engine(MemoryQueryable()).range("1", 0, 11_001, 1)


def test_a_query_whose_client_is_gone_stops() -> None:
    """The next check ends it."""
    gone = threading.Event()
    gone.set()
    with pytest.raises(CancelledQueryError):
        Engine(many_series(1, 10)).instant("m", 0, cancelled=gone)


def test_a_query_past_its_deadline_stops() -> None:
    """A timeout of the request may only shorten the engine's."""
    with pytest.raises(QueryTimeoutError):
        Engine(many_series(1, 10)).instant("m", 0, timeout_s=-1)


def test_patterns_that_explode_elsewhere_run_in_linear_time() -> None:
    """RE2 has no backtracking."""
    memory = MemoryQueryable([(Labels.of(__name__="m", a="a" * 5000 + "!"), (np.array([0]), np.array([1.0])))])
    began = time.process_time()
    result = Engine(memory).instant('m{a=~"(a+)+$"}', 0).value
    assert isinstance(result, VectorResult)
    assert list(result.labels) == []
    assert time.process_time() - began < 2


@pytest.mark.parametrize("query", ["sum(m)", "avg(m)", "sum_over_time(m[5m])", "avg_over_time(m[5m])"])
def test_no_sum_is_minus_zero(query: str) -> None:
    """Not even that of one number alone which is: Prometheus adds the compensation, which is 0."""
    memory = MemoryQueryable()
    memory.add(Labels.of(__name__="m"), np.array([0]), np.array([-0.0]))
    result = Engine(memory).instant(query, 0).value
    assert isinstance(result, VectorResult)
    assert math.copysign(1.0, result.values[0]) == 1.0


def test_numbers_are_not_trimmed() -> None:
    """Never a wrong number: they are left out, and that is said."""
    result = Engine(many_series(1, 1)).instant("m </ 1", 0)
    assert isinstance(result.value, VectorResult) and list(result.value.labels) == []
    text = 'PromQL info: incompatible sample types encountered for binary operator "</": float </ float (1:1)'
    assert result.infos == [text]


def test_only_scalars_and_vectors_have_a_range() -> None:
    """A range vector has no graph."""
    with pytest.raises(ParseError, match='invalid expression type "range vector" for range query'):
        Engine(MemoryQueryable()).range("m[5m]", 0, 1, 1)
