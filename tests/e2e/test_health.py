"""Health tells the truth, to people, to programs and to a container's HEALTHCHECK; logs are JSON, line by line."""

from __future__ import annotations

import json
from urllib.parse import urljoin

import httpx
import pytest

from tests.e2e.processes import Processes, eventually, value

pytestmark = pytest.mark.e2e
NO_ROOM = {"PEERWATCH_STORE_MIN_FREE_BYTES": str(1 << 60)}  # more than any disk has: the low-disk guard is closed


def _get(url: str) -> httpx.Response:
    return httpx.get(url, trust_env=False)


def test_a_hub_that_cannot_store_is_alive_and_not_ready(processes: Processes) -> None:
    """/health/live 200, /health/ready and /-/ready 503 with the limit; `health` exits with 1; the agent: 503."""
    running = processes.up(extra=NO_ROOM)
    url = running.url()
    assert _get(f"{url}/health/live").json() == {"status": "ok"}
    assert _get(f"{url}/-/healthy").status_code == 200
    ready = _get(f"{url}/health/ready")
    assert ready.status_code == 503 and "store.min_free_bytes" in ready.json()["status"]
    assert _get(f"{url}/-/ready").status_code == 503
    done = processes.run("health", "--json", "--data", str(processes.folder / "hub"))
    assert done.returncode == 1 and "store.min_free_bytes" in json.loads(done.stdout)["status"]
    agent = urljoin(running.metrics_url(), "/health/")
    assert _get(agent + "live").status_code == 200
    assert _get(agent + "ready").status_code == 503, "no hub has acknowledged anything"


def test_a_hub_that_works_is_ready_and_counts_who_reports(processes: Processes) -> None:
    """The four fields of B82; `peerwatch health` exits with 0; the agent is ready once a batch was acknowledged."""
    running = processes.up()
    url = running.url()
    reporting = eventually(
        lambda: found if (found := _get(f"{url}/health/ready").json())["connected_peers"] else None, "one reports", 30
    )
    assert set(reporting) == {"status", "connected_peers", "routing_table_size", "uptime_seconds"}
    assert (reporting["status"], reporting["connected_peers"]) == ("ok", 1)
    done = processes.run("health", "--data", str(processes.folder / "hub"))
    assert done.returncode == 0 and "ok" in done.stdout
    agent = _get(urljoin(running.metrics_url(), "/health/ready"))
    assert (agent.status_code, agent.json()["status"]) == (200, "ok")


def test_health_without_a_hub_says_what_to_do(processes: Processes) -> None:
    """Nobody answers: exit 1 and a message with the command."""
    done = processes.run("health", "--data", str(processes.folder / "none"))
    assert done.returncode == 1 and "no hub answers" in done.stderr and "peerwatch up" in done.stderr


def test_every_log_line_is_a_json_object(processes: Processes) -> None:
    """Also with junk pushed, a refused store and a stop; each has event, level and timestamp."""
    running = processes.up(extra={"PEERWATCH_LOG_LEVEL": "debug"})
    url = running.url()
    eventually(lambda: value(url, "node_load1") is not None, "samples come in", 30)
    assert httpx.post(f"{url}/api/v1/push", content=b"\xff" * 99, trust_env=False).status_code == 400
    assert _get(f"{url}/api/v1/query?query=)").status_code == 400
    assert running.stop() == 0
    lines = [json.loads(line) for line in running.log.splitlines()]
    assert {"hub ready", "stopping", "agent stopped"} <= {line["event"] for line in lines}
    assert all({"event", "level", "timestamp"} <= set(line) for line in lines)


def test_people_at_a_terminal_may_ask_for_text(processes: Processes) -> None:
    """log.format=text: readable lines, no JSON."""
    running = processes.up(extra={"PEERWATCH_LOG_FORMAT": "text"})
    assert "hub ready" in running.log and not running.log.startswith("{")
