"""A real Prometheus scrapes agent and hub without a warning, and its linter finds nothing new in either page."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.e2e.processes import Processes, eventually, value

PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")
HISTORICAL = Path(__file__).parents[1] / "agent" / "historical_names.txt"
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.servers,
    pytest.mark.skipif(not (PROMETHEUS and PROMTOOL), reason="needs prometheus and promtool (Debian: prometheus)"),
]
CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
- job_name: agent
  static_configs: [{{targets: ['{agent}']}}]
- job_name: hub
  static_configs: [{{targets: ['{hub}']}}]
"""
SCRAPES = 8


def test_a_real_prometheus_scrapes_agent_and_hub_without_a_warning(processes: Processes) -> None:
    """Both targets stay up for several scrapes, nothing is dropped, the log has no warning, the values are the same."""
    running = processes.up()
    hub, agent = running.url(), running.metrics_url()
    eventually(lambda: value(hub, "node_memory_MemTotal_bytes"), "the agent samples", 30)
    config = processes.folder / "prometheus.yml"
    config.write_text(CONFIG.format(agent=agent.split("/")[2], hub=hub.split("/")[2]))
    assert PROMETHEUS
    port = _free_port()
    arguments = [f"--config.file={config}", f"--storage.tsdb.path={processes.folder / 'tsdb'}"]
    prometheus = processes.program([PROMETHEUS, *arguments, f"--web.listen-address=127.0.0.1:{port}"], "prometheus")
    url = f"http://127.0.0.1:{port}"
    eventually(lambda: "Server is ready" in prometheus.log, "Prometheus is up", 30)
    for job in ("agent", "hub"):
        expr = f'count_over_time(up{{job="{job}"}}[1m])'
        eventually(lambda expr=expr: (value(url, expr) or 0) >= SCRAPES, f"{SCRAPES} scrapes of {job}", 40)
        assert value(url, f'min_over_time(up{{job="{job}"}}[1m])') == 1
        assert value(url, f'scrape_samples_scraped{{job="{job}"}} - scrape_samples_post_metric_relabeling') == 0
    assert value(url, "node_memory_MemTotal_bytes") == value(hub, "node_memory_MemTotal_bytes")
    assert (value(url, 'scrape_samples_scraped{job="agent"}') or 0) > 200
    complaints = [
        line for line in prometheus.log.splitlines() if "level=info" not in line and "level=debug" not in line
    ]
    assert complaints == []


def test_promtool_finds_nothing_but_the_historical_names(processes: Processes) -> None:
    """In the agent's page only names that node_exporter has always had; in the hub's page nothing."""
    running = processes.up()
    eventually(lambda: value(running.url(), "node_memory_MemTotal_bytes"), "the agent samples", 30)
    historical = {line for line in HISTORICAL.read_text().splitlines() if line and not line.startswith("#")}
    found = _complaints(httpx.get(running.metrics_url(), trust_env=False).content)
    assert [line for line in found if line.split(" ")[0] not in historical] == []
    assert _complaints(httpx.get(f"{running.url()}/metrics", trust_env=False).content) == []


def _complaints(page: bytes) -> list[str]:
    assert PROMTOOL
    done = subprocess.run([PROMTOOL, "check", "metrics"], input=page, capture_output=True, check=False, timeout=60)
    lines = (done.stdout + done.stderr).decode().splitlines()
    assert done.returncode in (0, 3), lines  # 3 is lint, 1 a page that does not parse
    return lines


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
