"""Samples in memory, of the last two hours and of the coming ones, with which the expression browser is tried out."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

import numpy as np

from peerwatch.model import Float64Array, Labels, Matcher, MetricType, SeriesSet
from tests.promql.memory import MemoryQueryable
from tests.promql.runner.histogram import parse_literal

PAST_MS = 7_200_000
COMING_MS = 4 * PAST_MS  # a server that runs for a while must not run dry
STEP_MS = 15_000
MANY = 300
"""More series than a graph draws."""

STALL_S = 4.0
"""How long a query of `stalled` takes."""


class QuerySource(MemoryQueryable):
    """Knows what its metrics mean, and is slow when asked for `stalled`."""

    def __init__(self, now_ms: int) -> None:
        super().__init__()
        times_ms = np.arange(now_ms - PAST_MS, now_ms + COMING_MS, STEP_MS, dtype=np.int64)
        turns = np.arange(len(times_ms)) * STEP_MS / PAST_MS

        def add(values: Float64Array, **labels: str) -> None:
            self.add(Labels.of(labels), times_ms, values)

        for i, name in enumerate(("atlas", "borealis", "cygnus")):
            up = np.where((turns > 0.6) & (turns < 0.7), 0.0, 1.0) if name == "cygnus" else np.ones(len(turns))
            add(up, __name__="up", instance=f"{name}:9100", job="node")
            load = 1.5 + i + np.sin(6.3 * (turns * (i + 2) + i / 3)) + 0.1 * np.sin(400 * turns)
            add(load, __name__="node_load1", instance=f"{name}:9100", job="node")
            for code in ("200", "404", "500"):
                rate = {"200": 30.0, "404": 2.0, "500": 0.3}[code] * (1 + 0.5 * np.sin(6.3 * turns + i))
                add(np.cumsum(np.round(rate)), __name__="http_requests_total", code=code, instance=f"{name}:8080")
        add(2e9 + 4e8 * turns, __name__="node_memory_MemAvailable_bytes", instance="atlas:9100", job="node")
        self.add(Labels.of({"__name__": "app.latency", "http.route": "/"}), times_ms, 0.02 + 0.01 * turns)
        latencies = [
            parse_literal(f"schema:0 sum:{5 * n} count:{4 * n} offset:-2 buckets:[{n} {2 * n} {n}]") for n in turns
        ]
        self.add_mixed(Labels.of(__name__="request_seconds"), times_ms, latencies, np.zeros(len(times_ms), np.int64))
        for i in range(MANY):
            add(i + turns, __name__="many", number=f"{i:03d}")

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, *, max_samples: int | None = None
    ) -> SeriesSet:
        if any(matcher.value == "stalled" for matcher in matchers):
            threading.Event().wait(STALL_S)
        return super().select(matchers, start_ms, end_ms, max_samples=max_samples)

    def metadata(self) -> Mapping[str, tuple[MetricType, str, str]]:
        return {
            "node_load1": (MetricType.GAUGE, "1m load average.", ""),
            "http_requests_total": (MetricType.COUNTER, "Requests answered, by status.", ""),
        }
