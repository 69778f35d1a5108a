"""Presence: `up`, made by the hub, since a member that is gone cannot say so."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from peerwatch.model import METRIC_NAME, STALE, Labels, MetricType, SampleMatrix, Series
from peerwatch.wire.identity_labels import INSTANCE, JOB, UP

_HELP = "1 while the agent reports, 0 once nothing has come for the time that the hub allows."


class Presence:
    """Makes the rows of `up`. Mutable: it knows who was in the last ones. Owned by the collector.

    A member that left the fleet gets one stale marker, so that its series ends at once.
    """

    def __init__(self, job: str) -> None:
        self._job = job
        self._series: dict[str, Series] = {}

    def rows(self, members: Mapping[str, bool], now_ms: int) -> tuple[tuple[Series, ...], SampleMatrix] | None:
        """One `up` series per member (name -> whether it is up); None when there is nothing to say."""
        values = {name: float(is_up) for name, is_up in members.items()}
        gone = {name: STALE for name in self._series if name not in members}
        if not values and not gone:
            return None
        names = sorted(values | gone)
        series = tuple(self._series.get(name) or self._make(name) for name in names)
        self._series = {name: one for name, one in zip(names, series, strict=True) if name in members}
        column = np.array([[(values | gone)[name]] for name in names], np.float64)
        return series, SampleMatrix(np.array([now_ms], np.int64), column)

    def _make(self, name: str) -> Series:
        labels = Labels.of({METRIC_NAME: UP, INSTANCE: name, JOB: self._job})
        return Series(labels, MetricType.GAUGE, _HELP)
