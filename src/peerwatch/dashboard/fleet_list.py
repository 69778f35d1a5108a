"""FleetList: who reports, how it is, and since when it has been silent."""

from __future__ import annotations

import msgspec

from peerwatch.dashboard.evaluation import TickEvaluation, plain
from peerwatch.dashboard.panels import FLEET
from peerwatch.dashboard.query_client import Vector
from peerwatch.dashboard.timespan import NOW


class FleetRow(msgspec.Struct, frozen=True, array_like=True):
    """One instance. `up` is the hub's judgement; None where nothing is known. `seen_s` is Unix time in seconds."""

    instance: str
    up: float | None
    seen_s: float | None
    cpu_percent: float | None
    memory_percent: float | None
    disk_percent: float | None


class FleetList(msgspec.Struct, frozen=True):
    """The fleet at `t` (ms). `total` counts all; `rows` holds the first of them by name, up to the limit."""

    t: int
    total: int
    rows: list[FleetRow]
    error: str = ""


async def fleet_list(evaluation: TickEvaluation) -> FleetList:
    """The fleet as it is at the tick's time. A failing column is empty, and its reason is in `error`."""
    columns: dict[str, dict[str, float | None]] = {}
    error = ""
    for query in FLEET:
        answer = await evaluation.vector(query, NOW, "", evaluation.now_ms)
        if isinstance(answer, str):
            error, columns[query.legend] = answer, {}
        else:
            columns[query.legend] = _by_instance(answer, exact=query.legend == "seen")
    names = sorted(columns["up"].keys() | columns["seen"].keys())
    limit = evaluation.evaluator.config.max_fleet_rows
    rows = [
        FleetRow(name, *(columns[column].get(name) for column in ("up", "seen", "cpu", "memory", "disk")))
        for name in names[:limit]
    ]
    return FleetList(evaluation.now_ms, len(names), rows, error)


def _by_instance(vector: Vector, *, exact: bool) -> dict[str, float | None]:
    values: list[float | None] = vector.values.tolist() if exact else plain(vector.values)
    named = zip(vector.labels, values, strict=True)
    return {labels.get("instance"): value for labels, value in named if labels.get("instance")}
