"""Which sources run where, and what psutil gives in place of /proc."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest

from peerwatch.agent.config import AgentConfig, ScrapeConfig, SourceSetting
from peerwatch.agent.proc_root import ProcRoot
from peerwatch.agent.sources.kinds import KINDS, SourceContext, select_sources
from peerwatch.errors import ConfigError
from peerwatch.telemetry import CollectorRegistry


def names(platform: str, config: AgentConfig) -> dict[str, float]:
    return {kind.name: interval_s for kind, interval_s in select_sources(platform, config).chosen}


def test_on_linux_every_source_runs() -> None:
    """All rows of the table, save textfile without a folder; rarely changing ones once a minute."""
    chosen = names("linux", AgentConfig())
    assert list(chosen) == [kind.name for kind in KINDS if kind.name != "textfile"]
    assert {name for name, interval_s in chosen.items() if interval_s != 5} == {"uname", "netclass"}
    assert names("linux", AgentConfig(textfile_folder="/x"))["textfile"] == 15


def test_on_macos_the_rest_is_said_to_be_absent() -> None:
    """What psutil knows runs; everything else is named."""
    selection = select_sources("darwin", AgentConfig())
    assert {kind.name for kind, _ in selection.chosen} == {
        *("cpu", "meminfo", "loadavg", "stat", "time", "diskstats", "filesystem", "netdev", "self"),
    }
    assert selection.absent == (*("vmstat", "pressure", "filefd", "uname", "netclass", "netstat", "sockstat", "tcp"),)


def test_sources_can_be_switched_off_and_slowed_down() -> None:
    """Per source: off, or its own interval; a name that is no source is an error that lists the names."""
    config = AgentConfig(sources={"tcp": SourceSetting(enabled=False), "cpu": SourceSetting(interval_s=1)})
    chosen = names("linux", config)
    assert "tcp" not in chosen and chosen["cpu"] == 1
    with pytest.raises(ConfigError, match=r"agent\.sources\.cpus: no such source, must be one of cpu, diskstats"):
        select_sources("linux", AgentConfig(sources={"cpus": SourceSetting()}))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"sample_interval_s": 0.01}, "agent.sample_interval_s: 0.01, must be from 0.1"),
        ({"report_interval_s": 1.0}, "agent.report_interval_s: 1.0, must be at least"),
        ({"phase": 1.0}, "agent.phase: 1.0"),
        ({"source_deadline_s": 0}, "agent.source_deadline_s: 0"),
        ({"max_batch_samples": 1}, "agent.max_batch_samples: 1"),
        ({"sources": {"cpu": SourceSetting(interval_s=0.0)}}, "agent.sources.cpu.interval_s: 0.0"),
        ({"scrape": (ScrapeConfig("http://a", "j"), ScrapeConfig("http://a:80/x", "j"))}, "'a:80' twice"),
    ],
)
def test_bad_settings_are_named(settings: dict[str, object], reason: str) -> None:
    """Path, value and what is allowed."""
    with pytest.raises(ConfigError, match=reason):
        AgentConfig(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"url": "file:///etc/passwd"}, "must be http"),
        ({"url": "http://"}, "must be http"),
        ({"url": "http://[bad"}, "must be http"),
        ({"job": ""}, "job is empty"),
        ({"timeout_s": 20.0}, "timeout_s: 20.0, must be from 0.001 to 15"),
        ({"interval_s": 0.0}, "interval_s: 0.0"),
        ({"sample_limit": 0}, "sample_limit: 0"),
        ({"body_limit_bytes": 1 << 40}, "body_limit_bytes"),
    ],
)
def test_bad_targets_are_named(settings: dict[str, object], reason: str) -> None:
    """A target that cannot work is refused when the configuration is read."""
    with pytest.raises(ConfigError, match=reason):
        ScrapeConfig(**{"url": "http://a", "job": "j", **settings})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "target"), [("http://a/metrics", "a:80"), ("https://a", "a:443"), ("http://[::1]:9/x", "[::1]:9")]
)
def test_a_target_is_named_by_host_and_port(url: str, target: str) -> None:
    """As Prometheus's instance, unless a name is given."""
    assert ScrapeConfig(url, "j").target_name == target
    assert ScrapeConfig(url, "j", target="mine").target_name == "mine"


def test_psutil_sources_work_here_too() -> None:
    """Each gives finite numbers for unique series under node_exporter's names, and reuses its tuple."""
    context = SourceContext(AgentConfig(), ProcRoot(), CollectorRegistry(), lambda: 1)
    seen: set[str] = set()
    for kind, _ in select_sources("darwin", AgentConfig()).chosen:
        source = kind.make(context)
        found = source.collect(1000)
        assert len({s.labels for s in found.series}) == len(found.series), kind.name
        assert all(math.isfinite(value) for value in found.values), kind.name
        assert source.collect(2000).series is found.series, kind.name
        seen |= {s.labels.metric for s in found.series}
    assert {"node_cpu_seconds_total", "node_memory_total_bytes", "node_load1", "node_boot_time_seconds"} <= seen
    assert {"node_network_receive_bytes_total", "process_resident_memory_bytes", "node_time_seconds"} <= seen


def test_the_agent_imports_nothing_heavy() -> None:
    """No web framework, no HTTP client, no cryptography, no psutil, no netlink library in an agent without targets."""
    code = (
        "import sys, peerwatch.agent.agent, peerwatch.agent.metrics_http\n"
        "heavy = {'starlette', 'uvicorn', 'httpx', 'cryptography', 'psutil', 'pyroute2', 'libp2p', 'google'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.strip() == "[]"
