"""Status: what a server tells of itself, in the shapes that Prometheus's clients look for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from peerwatch.model import Labels
from peerwatch.query.render import success

_HEAVIEST = 10
MAX_HEAVIEST = 10_000
_NEVER = "0001-01-01T00:00:00Z"  # how Go spells a time that is not set


@dataclass(frozen=True, slots=True)
class Target:
    """One machine or endpoint that samples come from. Times are UTC milliseconds, 0 where there was none yet."""

    labels: Mapping[str, str]
    up: bool
    last_seen_ms: int
    interval_s: float
    error: str = ""


@dataclass(frozen=True, slots=True)
class Holdings:
    """How much is stored. Times are None in an empty store."""

    series: int
    chunks: int
    oldest_ms: int | None
    newest_ms: int | None


class ServerStatus(Protocol):
    """What the root tells of the server. Called from worker threads, but for `targets`: in the event loop."""

    def runtime(self) -> Mapping[str, object]:
        """`/status/runtimeinfo`."""
        ...

    def flags(self) -> Mapping[str, str]:
        """`/status/flags`: settings that somebody may see."""
        ...

    def configuration(self) -> str:
        """`/status/config`: YAML, without secrets."""
        ...

    def holdings(self) -> Holdings:
        """How much is stored."""
        ...

    def targets(self) -> Sequence[Target]:
        """Where samples come from, by name."""
        ...


def time_text(time_ms: int) -> str:
    """A time as Go's encoder writes it."""
    if time_ms <= 0:
        return _NEVER
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def render_targets(targets: Sequence[Target], state: str) -> bytes:
    """`/targets`. Agents push, so the pool is their job and there is no URL that was asked."""
    shown = [_target(one) for one in targets] if state in ("", "any", "active") else []
    return _success({"activeTargets": shown, "droppedTargets": [], "droppedTargetCounts": {}})


def _target(one: Target) -> dict[str, object]:
    interval = f"{one.interval_s:g}s"
    job, instance = one.labels.get("job", ""), one.labels.get("instance", "")
    return {
        "discoveredLabels": {"__address__": instance, "__scheme__": "push", **one.labels},
        "labels": dict(one.labels),
        "scrapePool": job,
        "scrapeUrl": f"push://{instance}/",
        "globalUrl": f"push://{instance}/",
        "lastError": one.error,
        "lastScrape": time_text(one.last_seen_ms),
        "lastScrapeDuration": 0,
        "health": "up" if one.up else ("down" if one.last_seen_ms else "unknown"),
        "scrapeInterval": interval,
        "scrapeTimeout": interval,
    }


def render_holdings(held: Holdings, series: Sequence[Labels], limit: int = _HEAVIEST) -> bytes:
    """`/status/tsdb`: how much there is, and which metrics and labels make most of it."""
    by_metric: Counter[str] = Counter()
    by_pair: Counter[tuple[str, str]] = Counter()
    for labels in series:
        by_metric[labels.metric] += 1
        by_pair.update(labels)
    values: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for (name, value), count in by_pair.items():
        values[name] += 1
        sizes[name] += len(value.encode()) * count
    head = {
        "numSeries": held.series,
        "numLabelPairs": len(by_pair),
        "chunkCount": held.chunks,
        "minTime": held.oldest_ms or 0,
        "maxTime": held.newest_ms or 0,
    }
    pairs = Counter({f"{name}={value}": count for (name, value), count in by_pair.items()})
    return _success(
        {
            "headStats": head,
            "seriesCountByMetricName": _heaviest(by_metric, limit),
            "labelValueCountByLabelName": _heaviest(values, limit),
            "memoryInBytesByLabelName": _heaviest(sizes, limit),
            "seriesCountByLabelValuePair": _heaviest(pairs, limit),
        }
    )


def _heaviest(counts: Counter[str], limit: int) -> list[dict[str, object]]:
    """By count, then by name, so that the same data give the same list."""
    rows = sorted(counts.items(), key=lambda row: (-row[1], row[0]))[:limit]
    return [{"name": name, "value": count} for name, count in rows]


def render_mapping(content: Mapping[str, object]) -> bytes:
    """`/status/runtimeinfo` and `/status/flags`."""
    return _success(dict(content))


def render_configuration(yaml: str) -> bytes:
    """`/status/config`."""
    return _success({"yaml": yaml})


def _success(content: object) -> bytes:
    return success(msgspec.json.encode(content))


NO_RULES = _success({"groups": []})
NO_ALERTS = _success({"alerts": []})
NO_ALERTMANAGERS = _success({"activeAlertmanagers": [], "droppedAlertmanagers": []})
