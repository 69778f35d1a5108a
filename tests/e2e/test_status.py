"""What a hub tells of itself to Prometheus's clients."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.e2e.processes import Processes, eventually, value

pytestmark = pytest.mark.e2e


def test_a_hub_tells_of_itself_and_keeps_its_secrets(processes: Processes) -> None:
    """The agent is a target; settings are flags, but no credential is; the heaviest metrics are counted."""
    secret = "s3cr3t-of-the-agent"
    running = processes.up(extra={"PEERWATCH_AGENT_HTTP_CREDENTIAL": secret, "PEERWATCH_NAME": "web-1"})
    url = running.url()
    eventually(lambda: value(url, "node_load1") is not None, "samples come in", 30)

    def get(path: str) -> Any:
        answer = httpx.get(f"{url}/api/v1/{path}", trust_env=False)
        assert answer.status_code == 200, answer.text
        assert secret not in answer.text
        return answer.json()["data"]

    (target,) = get("targets")["activeTargets"]
    assert (target["labels"], target["health"]) == ({"instance": "web-1", "job": "node"}, "up")
    flags = get("status/flags")
    assert flags["store.retention_ms"] == str(90 * 86_400_000)
    assert not [name for name in flags if name.startswith("agent_http.")]
    assert "time: 90d" in get("status/config")["yaml"]
    runtime = get("status/runtimeinfo")
    assert (runtime["storageRetention"], runtime["corruptionCount"]) == ("90d", 0)
    head = get("status/tsdb?limit=3")
    assert head["headStats"]["numSeries"] > 100 and len(head["seriesCountByMetricName"]) == 3
    heaviest = head["seriesCountByMetricName"][0]
    assert value(url, f"count({heaviest['name']})") == heaviest["value"]
