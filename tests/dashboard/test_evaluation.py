"""From PromQL answers to what the page gets."""

from __future__ import annotations

import anyio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerwatch.dashboard.config import Config
from peerwatch.dashboard.evaluation import (
    Evaluator,
    PanelHistory,
    PanelPoint,
    TickEvaluation,
    line_of,
    panel_history,
    plain,
    point_of,
)
from peerwatch.dashboard.panels import PANELS, Query
from peerwatch.dashboard.query_client import Matrix, Vector
from peerwatch.dashboard.timespan import timespan
from peerwatch.model import Labels
from peerwatch.telemetry import CollectorRegistry
from tests.dashboard.fakes import FakeQueryClient
from tests.dashboard.signals import START_MS

MEMORY = next(panel for panel in PANELS if panel.id == "memory")
DISK = next(panel for panel in PANELS if panel.id == "disk")
pytestmark = pytest.mark.anyio


def labelled(count: int) -> list[Labels]:
    return [Labels.of(mode=f"m{i}") for i in range(count)]


def test_six_digits_are_kept_and_what_json_cannot_hold_is_null() -> None:
    """NaN and infinities become None, zero stays zero, large numbers lose no more than their fraction."""
    values = np.array([0.0, 1 / 3, -12.3456789, 123456789.6, np.nan, np.inf, 1e-9])
    assert plain(values) == [0.0, 0.333333, -12.3457, 123456790.0, None, None, 1e-9]


@settings(max_examples=200)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e15, max_value=1e15), max_size=8))
def test_rounding_stays_within_six_digits(values: list[float]) -> None:
    """No value moves by more than half of its sixth digit, or 5e-13 near zero."""
    rounded = plain(np.array(values, dtype=np.float64))
    for value, shown in zip(values, rounded, strict=True):
        assert shown is not None
        assert abs(shown - value) <= max(abs(value) * 5.001e-6, 5.001e-13)


def test_beyond_the_limit_the_highest_series_stay() -> None:
    """Which series are shown is decided by their values, how many by the config; the rest is counted."""
    query = Query("{mode}", "x")
    vector = Vector(labelled(4), np.array([1.0, 9.0, np.nan, 5.0]))
    assert point_of(query, vector, 2) == {"m1": 9.0, "m3": 5.0}
    matrix = Matrix(labelled(3), np.array([0, 1]), np.array([[1.0, 2.0], [np.nan, 7.0], [np.nan, np.nan]]))
    assert line_of(query, matrix, 2) == ({"m0": [1.0, 2.0], "m1": [None, 7.0]}, 1)


def test_no_series_is_an_empty_line() -> None:
    """An empty answer is no error."""
    matrix = Matrix([], np.array([0, 1]), np.zeros((0, 2)))
    assert line_of(Query("{mode}", "x"), matrix, 2) == ({}, 0)


async def test_an_expression_is_evaluated_once_per_tick() -> None:
    """Two charts that need the same numbers at the same time cost one query."""
    client = FakeQueryClient()
    tick = TickEvaluation(Evaluator(Config(), client, CollectorRegistry()), START_MS)
    first = await tick.panel(DISK, timespan("5m"), "atlas", START_MS)
    again = await tick.panel(DISK, timespan("15m"), "atlas", START_MS)
    assert first == again == PanelPoint([{"/": 61.5, "/home": 38.2, "/var/lib/data": 82.9}])
    assert len(client.asked) == 1


async def test_a_failing_query_is_a_message_and_not_an_exception() -> None:
    """The reason goes to the panel, the failure is counted, and the next panel is not concerned."""
    client, registry = FakeQueryClient(), CollectorRegistry()
    client.fail = "node_memory_MemFree_bytes"
    evaluator = Evaluator(Config(), client, registry)
    found = await panel_history(evaluator, MEMORY, timespan("1h"), "atlas", START_MS, START_MS)
    assert found == PanelHistory([], 0, "node_memory_MemFree_bytes is out of order")
    assert registry.get_sample_value("peerwatch_dashboard_query_failures_total") == 1.0
    assert (await panel_history(evaluator, DISK, timespan("1h"), "atlas", START_MS, START_MS)).error == ""


async def test_our_own_bug_in_one_panel_does_not_stop_the_others() -> None:
    """An unexpected exception is a message with its type; its text stays in the log."""

    class Broken(FakeQueryClient):
        async def instant(self, expr: str, time_ms: int) -> Vector:
            raise KeyError("secret detail")

    tick = TickEvaluation(Evaluator(Config(), Broken(), CollectorRegistry()), START_MS)
    assert await tick.panel(DISK, timespan("5m"), "atlas", START_MS) == PanelPoint([], "internal error: KeyError")


async def test_long_histories_do_not_hold_up_the_live_stream() -> None:
    """With every place for requests taken, a tick is still evaluated."""

    class SlowHistory(FakeQueryClient):
        async def range(self, expr: str, start_ms: int, end_ms: int, step_ms: int) -> Matrix:
            await anyio.sleep_forever()
            raise AssertionError

    live = Evaluator(Config(parallel_queries=1), SlowHistory(), CollectorRegistry())
    requests = live.beside()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(panel_history, requests, DISK, timespan("7d"), "atlas", START_MS, START_MS)
        await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(5):
            found = await TickEvaluation(live, START_MS).panel(DISK, timespan("5m"), "atlas", START_MS)
        tasks.cancel_scope.cancel()
    assert found.error == ""


async def test_a_query_that_hangs_is_given_up() -> None:
    """After the deadline the panel says so."""

    class Hanging(FakeQueryClient):
        async def instant(self, expr: str, time_ms: int) -> Vector:
            await anyio.sleep_forever()
            raise AssertionError

    config = Config(query_deadline_s=0.01)
    tick = TickEvaluation(Evaluator(config, Hanging(), CollectorRegistry()), START_MS)
    found = await tick.panel(DISK, timespan("5m"), "atlas", START_MS)
    assert found == PanelPoint([], "no answer within 0.01 s; try a shorter range")
