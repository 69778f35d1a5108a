"""Prometheus's own linter finds nothing in our pages beyond what node_exporter has always been called."""

from __future__ import annotations

import shutil
import subprocess

import anyio
import pytest

from peerwatch.agent.agent import Agent
from peerwatch.agent.config import AgentConfig
from peerwatch.agent.metrics_http import MetricsHttpConfig, MetricsServer, Readiness
from peerwatch.model import Batch
from peerwatch.telemetry import CollectorRegistry
from tests.agent.trees import HERE

pytestmark = pytest.mark.servers

PROMTOOL = shutil.which("promtool")
HISTORICAL = {line for line in (HERE / "historical_names.txt").read_text().splitlines() if not line.startswith("#")}


def complaints(page: bytes) -> list[str]:
    if PROMTOOL is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    found = subprocess.run([PROMTOOL, "check", "metrics"], input=page, capture_output=True, check=False, timeout=60)
    lines = (found.stdout + found.stderr).decode().splitlines()
    assert found.returncode in (0, 3), lines  # 1 is a page that does not parse, 3 is lint
    return [line for line in lines if line.split(" ")[0] not in HISTORICAL]


@pytest.mark.parametrize("name", ["captured.prom", "large.prom"])
def test_the_golden_pages_are_clean(name: str) -> None:
    """What the two trees give."""
    assert complaints((HERE / "golden" / name).read_bytes()) == []


def test_the_linter_would_complain() -> None:
    """The check can fail: a counter without _total is found."""
    assert complaints(b"# HELP requests Requests.\n# TYPE requests counter\nrequests 1\n") != []


def test_the_page_of_this_machine_is_clean() -> None:
    """What a Prometheus would pull from a running agent, its own metrics included."""
    page = b""

    async def main() -> None:
        nonlocal page
        registry = CollectorRegistry()
        reported = anyio.Event()

        def deliver(batch: Batch) -> None:
            reported.set()

        agent = Agent(AgentConfig(sample_interval_s=0.2, report_interval_s=0.4), deliver, registry)
        server = MetricsServer(MetricsHttpConfig(port=0), agent.exposition, lambda: Readiness(True), registry)
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                port = await tasks.start(server.serve)
                tasks.start_soon(agent.run)
                await reported.wait()
                async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                    await stream.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    async for piece in stream:
                        page += piece
                tasks.cancel_scope.cancel()

    anyio.run(main)
    head, _, body = page.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert b"\nnode_load1 " in body and b"\npeerwatch_agent_tasks " in body
    assert complaints(body) == []
