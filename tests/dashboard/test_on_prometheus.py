"""The panels' expressions on a real Prometheus with a real node_exporter."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from peerwatch.dashboard.config import Config
from peerwatch.dashboard.evaluation import Evaluator, TickEvaluation, panel_history
from peerwatch.dashboard.fleet_list import fleet_list
from peerwatch.dashboard.panels import PANELS, TILES
from peerwatch.dashboard.timespan import TIMESPANS
from peerwatch.telemetry import CollectorRegistry
from tests.dashboard.prometheus_server import NODE_EXPORTER, PROMETHEUS, prometheus

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.servers,
    pytest.mark.skipif(PROMETHEUS is None or NODE_EXPORTER is None, reason="needs prometheus and node_exporter"),
]
OPTIONAL = {"disk_io", "network"}  # a container may have no disk of its own and no interface but lo


async def test_every_expression_is_understood_and_answers(tmp_path: Path) -> None:
    """No panel fails for any range; on this machine each has data, and each tile has its number."""
    async with prometheus(tmp_path) as client:
        evaluator = Evaluator(Config(), client, CollectorRegistry())
        now_ms = time.time_ns() // 1_000_000
        for span in TIMESPANS:
            start_ms, end_ms = span.grid(now_ms + span.step_ms)
            for panel in (*PANELS, TILES):
                found = await panel_history(evaluator, panel, span, "this", start_ms, end_ms)
                assert (panel.id, found.error) == (panel.id, "")
        tick = TickEvaluation(evaluator, now_ms)
        for panel in PANELS:
            points = (await tick.panel(panel, TIMESPANS[0], "this", now_ms)).points
            assert panel.id in OPTIONAL or all(points), (panel.id, points)
        tiles = await tick.panel(TILES, TIMESPANS[0], "this", now_ms)
        named = {name: value for point in tiles.points for name, value in point.items()}
        assert named["established"] == 7.0 and named["tcp"] == 12.0
        assert set(named) >= {query.legend for query in TILES.queries} - {"rx", "tx", "disk"}
        assert 0 <= (named["cpu"] or 0) <= 100 and 0 <= (named["age"] or 0) < 5
        fleet = await fleet_list(tick)
        assert [(row.instance, row.up) for row in fleet.rows] == [("this", 1.0)]
        assert fleet.error == ""


async def test_modes_and_memory_add_up(tmp_path: Path) -> None:
    """CPU modes make what is not idle; used, cache and free make the whole memory."""
    async with prometheus(tmp_path) as client:
        now_ms = time.time_ns() // 1_000_000
        tick = TickEvaluation(Evaluator(Config(), client, CollectorRegistry()), now_ms)
        shown = {panel.id: (await tick.panel(panel, TIMESPANS[0], "this", now_ms)).points for panel in (*PANELS, TILES)}
    tiles = {name: value for point in shown["tiles"] for name, value in point.items()}
    assert sum(value or 0 for value in shown["cpu"][0].values()) == pytest.approx(tiles["cpu"], abs=3)
    memory = sum(value or 0 for point in shown["memory"] for value in point.values())
    assert memory == pytest.approx(tiles["memory_total"], rel=1e-4)
