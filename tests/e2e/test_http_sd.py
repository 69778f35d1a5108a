"""A real Prometheus scrapes the whole fleet by `http_sd`, and an agent that stops leaves it within seconds."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.e2e.processes import QUICK, Processes, Running, ask, eventually, value
from tests.e2e.test_remote import PROMETHEUS, SERVERS, start_prometheus

GONE_LATE = {"PEERWATCH_HTTP_SD_GONE_AFTER_S": "12"}
GONE = {"PEERWATCH_HTTP_SD_GONE_AFTER_S": "4"}
CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
- job_name: fleet
  http_sd_configs: [{{url: '{hub}/api/v1/sd/targets', refresh_interval: 1s}}]
  relabel_configs:
  - {{source_labels: [__meta_peerwatch_roles], target_label: roles}}
  - {{source_labels: [__meta_peerwatch_os], target_label: system}}
"""
pytestmark = pytest.mark.e2e


def _targets(hub: str) -> dict[str, dict[str, Any]]:
    """The groups by the agent's name."""
    answer = httpx.get(f"{hub}/api/v1/sd/targets", trust_env=False, timeout=10)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json"), answer.text
    return {group["labels"]["instance"]: group for group in answer.json()}


def _second(processes: Processes, **extra: str) -> Running:
    """An agent called second, that has joined and reports."""
    done = processes.run("invite", "--data", str(processes.folder / "hub"), "--json", "--name", "second")
    token = json.loads(done.stdout)["token"]
    data = ["--data", str(processes.folder / "second"), "--metrics-port", "0"]
    return processes.start("join", token, *data, name="second", extra={**QUICK, **extra})


def _page(hub: str, name: str, **parameters: str) -> httpx.Response:
    return httpx.get(f"{hub}/api/v1/agents/{name}/metrics", params=parameters, trust_env=False, timeout=10)


def test_live_agents_are_listed_and_their_samples_shown(processes: Processes) -> None:
    """At the hub's address; who is stopped says so and is gone at once, who is killed is gone when it stays silent."""
    hub = processes.up(extra=GONE_LATE).url()
    second = _second(processes)
    listed = eventually(lambda: (found := _targets(hub)) and len(found) == 2 and found, "both are listed", 40)
    group = listed["second"]
    assert group["targets"] == [hub.removeprefix("http://")]
    assert group["labels"]["__metrics_path__"] == "/api/v1/agents/second/metrics"
    eventually(lambda: _targets(hub)["second"]["labels"].get("__meta_peerwatch_os"), "it said what it is", 20)
    page = _page(hub, "second")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert "# TYPE node_load1 gauge\nnode_load1 " in page.text and "instance=" not in page.text
    assert _page(hub, "second", timestamps="1").text.count(" 1") > page.text.count(" 1")
    assert _page(hub, "nobody").status_code == 404
    second.stop()
    eventually(lambda: "second" not in _targets(hub), "it has left", 10)
    gone = _page(hub, "second")
    assert gone.status_code == 503 and "was stopped, and has said so" in gone.text
    again = processes.start("agent", "--data", str(processes.folder / "second"), "--metrics-port", "0", extra=QUICK)
    eventually(lambda: "second" in _targets(hub), "it is back", 40)
    again.kill()
    eventually(lambda: "second" not in _targets(hub), "it is silent", 25)
    gone = _page(hub, "second")
    assert gone.status_code == 503 and "nothing came from second" in gone.text


def test_an_announced_port_is_listed_where_the_hub_is_told_to(processes: Processes) -> None:
    """`agent_http.announce` on the agent and `http_sd.direct` on the hub; without the latter the hub shows it."""
    hub = processes.up(extra={**GONE, "PEERWATCH_HTTP_SD_DIRECT": "true"}).url()
    _second(processes, PEERWATCH_AGENT_HTTP_ANNOUNCE="web.example.org:9100")
    direct = eventually(lambda: _targets(hub).get("second", {}).get("targets") == ["web.example.org:9100"], "it is", 40)
    assert direct and _targets(hub)["second"]["labels"]["__meta_peerwatch_via"] == "direct"


def test_a_hub_with_tls_is_listed_so(processes: Processes) -> None:
    """The scheme is that of the question, or of hub.addresses where a proxy stands before the hub."""
    hub = processes.up(extra={"PEERWATCH_HUB_TLS": "always"}).url()
    asked = f"{hub}/api/v1/sd/targets"

    def listed() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = httpx.get(asked, verify=False, trust_env=False).json()  # its own
        return found

    (group,) = eventually(listed, "the hub's own agent is listed", 30)
    assert (group["labels"]["__scheme__"], group["targets"]) == ("https", [hub.removeprefix("https://")])


@pytest.mark.servers
@pytest.mark.skipif(not PROMETHEUS, reason="needs prometheus (Debian: prometheus)")
@pytest.mark.parametrize("binary", SERVERS)
def test_a_real_prometheus_scrapes_the_fleet(processes: Processes, binary: str) -> None:
    """All series of every agent arrive under its name, as the hub has them; who stops is no target any more."""
    hub = processes.up(extra=GONE).url()
    second = _second(processes)
    eventually(lambda: value(hub, 'node_boot_time_seconds{instance="second"}'), "the second machine reports", 40)
    server, url = start_prometheus(processes, binary, CONFIG, hub=hub)
    eventually(lambda: value(url, 'count(up{job="fleet"} == 1)') == 2, "both are scraped", 40)
    assert {one["metric"]["roles"] for one in ask(url, 'up{job="fleet"}')} == {",hub,agent,", ",agent,"}
    for name in {one["metric"]["instance"] for one in ask(url, 'up{job="fleet"}')}:
        ours = eventually(lambda name=name: _alike(url, hub, name), f"all series of {name} arrive", 20)
        assert len(ours) > 200
    assert value(url, 'node_boot_time_seconds{instance="second"}') == value(
        hub, 'node_boot_time_seconds{instance="second"}'
    )
    second.stop()
    eventually(lambda: value(url, 'count(up{job="fleet"})') == 1, "Prometheus has let it go", 20)
    assert ask(url, 'node_load1{instance="second"}') == []
    assert [line for line in server.log.splitlines() if "level=info" not in line.lower()] == []


def _alike(url: str, hub: str, name: str) -> set[str] | None:
    """The metrics of one agent, when Prometheus has exactly those that the hub has; no sample was refused."""
    theirs = _metrics(url, f'{{instance="{name}",__name__!~"up|scrape_.*"}}')
    ours = _metrics(hub, f'{{instance="{name}",__name__!="up"}}')
    return ours if ours and ours == theirs else None


def _metrics(url: str, expr: str) -> set[str]:
    """What is there, each series with its labels but for those that each side gives."""
    found = [{**one["metric"], "job": "", "roles": "", "system": ""} for one in ask(url, expr)]
    return {json.dumps(one, sort_keys=True) for one in found}
