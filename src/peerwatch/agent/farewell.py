"""Farewell: the last batch of an agent that is stopped in order, which brings the signature over what is still open."""

from __future__ import annotations

import numpy as np

from peerwatch.model import Batch, BatchBlock, Labels, MetricType, SampleMatrix, Series

STOP_TIME = "peerwatch_agent_stop_time_seconds"
_SERIES = (
    Series(
        Labels.of(__name__=STOP_TIME),
        MetricType.GAUGE,
        "When the agent was last stopped in order, Unix time: who falls silent without it was cut off.",
        "seconds",
    ),
)


def farewell(now_ms: int) -> Batch:
    """One sample: that the agent stops, and when. A hub of any version takes it, as it would no empty batch."""
    matrix = SampleMatrix(np.array([now_ms], np.int64), np.array([[now_ms / 1000]]))
    return Batch((BatchBlock(_SERIES, matrix),))
