"""Series: labels plus what the metric means."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from peerwatch.model.labels import Labels


class MetricType(IntEnum):
    """OpenMetrics' types; the numbers are those of the wire and of remote write 2.0."""

    UNKNOWN = 0
    COUNTER = 1
    GAUGE = 2
    HISTOGRAM = 3
    GAUGE_HISTOGRAM = 4
    SUMMARY = 5
    INFO = 6
    STATESET = 7


@dataclass(frozen=True, slots=True)
class Series:
    """One time series. `type`, `help` and `unit` describe the metric family it belongs to."""

    labels: Labels
    type: MetricType = MetricType.UNKNOWN
    help: str = ""
    unit: str = ""
