"""`peerwatch up` shows this machine: what it answers is what the kernel says."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import httpx
import pytest

from tests.e2e.processes import Processes, ask, eventually, value

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(not Path("/proc/stat").exists(), reason="compares with /proc")]


def _meminfo(name: str) -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"/proc/meminfo has no {name}")


def _stat(name: str) -> int:
    return next(int(line.split()[1]) for line in Path("/proc/stat").read_text().splitlines() if line.startswith(name))


def test_a_query_about_this_host_answers_what_proc_shows(processes: Processes) -> None:
    """Constants are equal, moving values lie between two looks at /proc, and all of it bears this host's name."""
    before = _stat("ctxt")
    url = processes.up().url()
    memory = eventually(lambda: value(url, "node_memory_MemTotal_bytes"), "memory is shown", 30)
    assert memory == _meminfo("MemTotal")
    assert value(url, "node_boot_time_seconds") == _stat("btime")
    assert value(url, 'count(count by (cpu) (node_cpu_seconds_total{mode="idle"}))') == os.cpu_count()
    switches = value(url, "node_context_switches_total")
    assert switches is not None and before < switches < _stat("ctxt")
    (uname,) = ask(url, "node_uname_info")
    assert uname["metric"]["nodename"] == os.uname().nodename and uname["metric"]["release"] == os.uname().release
    assert uname["metric"]["job"] == "node" and uname["metric"]["instance"]


def test_the_load_is_the_one_of_proc_within_a_tick(processes: Processes) -> None:
    """node_load1 equals /proc/loadavg at some moment of the last tick."""
    url = processes.up(extra={"PEERWATCH_AGENT_SAMPLE_INTERVAL_S": "1", "PEERWATCH_AGENT_REPORT_INTERVAL_S": "1"}).url()
    seen: set[float] = set()

    def equal() -> bool:
        seen.add(float(Path("/proc/loadavg").read_text().split()[0]))
        return value(url, "node_load1") in seen

    eventually(equal, "node_load1 is a value that /proc/loadavg had", 30)


def test_connections_are_counted_by_state_and_family(processes: Processes) -> None:
    """A listening socket more is one more in tcp_connections{state="listen"}."""
    url = processes.up(extra={"PEERWATCH_AGENT_SAMPLE_INTERVAL_S": "1", "PEERWATCH_AGENT_REPORT_INTERVAL_S": "1"}).url()
    expr = 'tcp_connections{state="listen",family="ipv4"}'
    eventually(lambda: value(url, expr), "listening sockets are counted", 30)
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(50)]
    try:
        eventually(lambda: (value(url, f"{expr} - {expr} offset 5s") or 0) >= 40, "50 sockets more are seen", 30)
    finally:
        for one in sockets:
            one.close()


def test_the_agent_shows_the_same_host_metrics_to_a_prometheus_that_pulls(processes: Processes) -> None:
    """:9100 and the hub agree on what does not move, and both speak the text format."""
    running = processes.up()
    eventually(lambda: value(running.url(), "node_memory_MemTotal_bytes"), "memory is shown", 30)
    text = httpx.get(running.metrics_url(), trust_env=False).text
    assert f"node_memory_MemTotal_bytes {_meminfo('MemTotal'):.10g}" in text or str(_meminfo("MemTotal")) in text
    own = httpx.get(f"{running.url()}/metrics", trust_env=False).text
    assert "peerwatch_build_info" in own and "peerwatch_collector_samples_total" in own


def test_up_is_ready_in_seconds_and_says_who_reports(processes: Processes) -> None:
    """/health/ready is ok, `up` is 1, and `peerwatch agents` lists this machine as up."""
    url = processes.up().url()
    ready = httpx.get(f"{url}/health/ready", trust_env=False)
    assert (ready.status_code, ready.json()["status"]) == (200, "ok")
    assert eventually(lambda: value(url, "up"), "`up` is written", 40) == 1
