"""History: what the charts show before the first live point."""

from __future__ import annotations

import anyio

from peerwatch.dashboard.config import Config
from peerwatch.dashboard.evaluation import Evaluator, PanelHistory, panel_history
from peerwatch.dashboard.panels import PANELS, TILES, Panel
from peerwatch.dashboard.timespan import Timespan
from peerwatch.errors import QuotaError


class History:
    """Answers history requests, at most `max_history_requests` at once; one more raises QuotaError."""

    def __init__(self, config: Config, evaluator: Evaluator) -> None:
        self._config = config
        self._evaluator = evaluator
        self._running = 0

    async def read(self, instance: str, span: Timespan, now_ms: int) -> dict[str, object]:
        """All panels of `instance` over `span` up to `now_ms`, on one grid given by start, step and count."""
        if self._running >= self._config.max_history_requests:
            raise QuotaError(
                f"{self._running} history requests running, limit {self._config.max_history_requests}", wait_s=2.0
            )
        self._running += 1
        try:
            return await self._read(instance, span, now_ms)
        finally:
            self._running -= 1

    async def _read(self, instance: str, span: Timespan, now_ms: int) -> dict[str, object]:
        start_ms, end_ms = span.grid(now_ms)
        found: dict[str, PanelHistory] = {}

        async def fill(panel: Panel) -> None:
            found[panel.id] = await panel_history(self._evaluator, panel, span, instance, start_ms, end_ms)

        async with anyio.create_task_group() as tasks:
            for panel in (TILES, *PANELS):
                tasks.start_soon(fill, panel)
        return {
            "start": start_ms,
            "step": span.step_ms,
            "count": (end_ms - start_ms) // span.step_ms + 1,
            "panels": {name: panel.lines for name, panel in found.items() if not panel.error},
            "hidden": {name: panel.hidden for name, panel in found.items() if panel.hidden},
            "errors": {name: panel.error for name, panel in found.items() if panel.error},
        }
