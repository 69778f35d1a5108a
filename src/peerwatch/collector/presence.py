"""Presence: `up`, made by the hub, since a member that is gone cannot say so."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from peerwatch.collector.identity_labels import INSTANCE, JOB
from peerwatch.model import METRIC_NAME, Labels, MetricType, SampleMatrix, Series

_HELP = "1 while the agent reports, 0 once nothing fresh has come for the time that the hub allows."


def presence_rows(
    members: Iterable[tuple[str, int]], job: str, now_ms: int, silent_after_ms: int
) -> tuple[tuple[Series, ...], SampleMatrix] | None:
    """One `up` series per (name, time of the last batch in ms) and its value now; None when there is no member."""
    rows = sorted(members)
    if not rows:
        return None
    series = tuple(
        Series(Labels.of({METRIC_NAME: "up", INSTANCE: name, JOB: job}), MetricType.GAUGE, _HELP) for name, _ in rows
    )
    values = np.array([[float(now_ms - last_ms <= silent_after_ms)] for _, last_ms in rows])
    return series, SampleMatrix(np.array([now_ms], np.int64), values)
