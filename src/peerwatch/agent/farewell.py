"""Farewell: the last batch of an agent that is stopped in order: it says so, and signs what is open."""

from __future__ import annotations

import numpy as np

from peerwatch.model import Batch, BatchBlock, Labels, MetricType, SampleMatrix, Series
from peerwatch.wire.self_report import STOP_TIME

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
