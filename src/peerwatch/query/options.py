"""EngineOptions: what an engine takes for granted."""

from __future__ import annotations

from dataclasses import dataclass, field

from peerwatch.query.limits import Limits


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Defaults are those of a Prometheus 3.5 server."""

    lookback_ms: int = 300_000
    subquery_step_ms: int = 60_000  # of a subquery that names none: the usual evaluation interval
    delayed_name_removal: bool = False
    type_and_unit_labels: bool = False  # judge by __type__ whether a metric is a counter, not by its name
    start_timestamps: bool = False  # count a sample that says since when it counts as a reset, where it is one
    limits: Limits = field(default_factory=Limits)
