"""The status endpoints: the shapes that Prometheus's clients look for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import anyio
import httpx
from starlette.applications import Starlette

from peerwatch.query.api import routes
from peerwatch.query.engine import Engine
from peerwatch.query.prometheus import PrometheusApi
from peerwatch.query.status import Holdings, Target
from tests.query.test_api import FixedClock, source


class Server:
    """A server with two machines, of which one is down."""

    def runtime(self) -> Mapping[str, object]:
        return {"storageRetention": "90d"}

    def flags(self) -> Mapping[str, str]:
        return {"hub.listen": "127.0.0.1:9480"}

    def configuration(self) -> str:
        return "global: {}\n"

    def holdings(self) -> Holdings:
        return Holdings(4, 1, 0, 105_000)

    def targets(self) -> Sequence[Target]:
        return [
            Target({"instance": "a", "job": "node"}, True, 100_000, 15.0),
            Target({"instance": "b", "job": "node"}, False, 5_000, 15.0, "nothing came from b for 45 s or more"),
            Target({"instance": "c", "job": "node"}, False, 0, 15.0, "nothing came from c for 45 s or more"),
        ]


def get(path: str, status: Server | None = None) -> tuple[int, Any]:
    """(status, JSON) of a GET."""

    async def run() -> tuple[int, Any]:
        memory = source()
        api = PrometheusApi(memory, Engine(memory, None, FixedClock()), FixedClock())
        transport = httpx.ASGITransport(Starlette(routes=routes(api, status or Server())))
        async with httpx.AsyncClient(transport=transport, base_url="http://hub/api/v1") as client:
            answer = await client.get(path)
            return answer.status_code, answer.json()

    return anyio.run(run)


def test_agents_are_targets() -> None:
    """Labels, health, since when; none that was dropped."""
    status, answer = get("/targets")
    active = answer["data"].pop("activeTargets")
    assert (status, answer["data"]) == (200, {"droppedTargets": [], "droppedTargetCounts": {}})
    assert [(one["labels"]["instance"], one["health"], one["lastScrape"]) for one in active] == [
        ("a", "up", "1970-01-01T00:01:40.000Z"),
        ("b", "down", "1970-01-01T00:00:05.000Z"),
        ("c", "unknown", "0001-01-01T00:00:00Z"),
    ]
    assert active[1] == {
        "discoveredLabels": {"__address__": "b", "__scheme__": "push", "instance": "b", "job": "node"},
        "labels": {"instance": "b", "job": "node"},
        "scrapePool": "node",
        "scrapeUrl": "push://b/",
        "globalUrl": "push://b/",
        "lastError": "nothing came from b for 45 s or more",
        "lastScrape": "1970-01-01T00:00:05.000Z",
        "lastScrapeDuration": 0,
        "health": "down",
        "scrapeInterval": "15s",
        "scrapeTimeout": "15s",
    }
    assert get("/targets?state=dropped")[1]["data"]["activeTargets"] == []


def test_the_server_tells_of_itself() -> None:
    """Runtime and flags as objects, the configuration as YAML in one."""
    assert get("/status/runtimeinfo") == (200, {"status": "success", "data": {"storageRetention": "90d"}})
    assert get("/status/flags") == (200, {"status": "success", "data": {"hub.listen": "127.0.0.1:9480"}})
    assert get("/status/config") == (200, {"status": "success", "data": {"yaml": "global: {}\n"}})


def test_what_there_is_most_of() -> None:
    """Metrics, label values, bytes and pairs, the heaviest first, equal ones by name."""
    status, answer = get("/status/tsdb?limit=2")
    assert (status, answer["data"]) == (
        200,
        {
            "headStats": {"numSeries": 4, "numLabelPairs": 6, "chunkCount": 1, "minTime": 0, "maxTime": 105_000},
            "seriesCountByMetricName": [{"name": "up_total", "value": 2}, {"name": "gone", "value": 1}],
            "labelValueCountByLabelName": [{"name": "__name__", "value": 3}, {"name": "job", "value": 2}],
            "memoryInBytesByLabelName": [{"name": "__name__", "value": 23}, {"name": "job", "value": 2}],
            "seriesCountByLabelValuePair": [
                {"name": "__name__=up_total", "value": 2},
                {"name": "__name__=gone", "value": 1},
            ],
        },
    )
    assert get("/status/tsdb?limit=0")[0] == 400
    assert get("/status/tsdb?limit=10001")[1]["error"] == "limit must not exceed 10000"


def test_a_query_tells_what_it_cost_when_asked() -> None:
    """`stats`: how many samples were read, and how long it took."""
    answer = get("/query?query=up_total&time=100&stats=all")[1]["data"]
    assert list(answer) == ["resultType", "result", "stats"]
    assert answer["stats"]["samples"] == {"totalQueryableSamples": 14, "peakSamples": 14}
    assert answer["stats"]["timings"] == {
        "evalTotalTime": 0.0,
        "resultSortTime": 0,
        "queryPreparationTime": 0,
        "innerEvalTime": 0.0,
        "execQueueTime": 0,
        "execTotalTime": 0.0,
    }
    assert "stats" not in get("/query?query=up_total&time=100")[1]["data"]
