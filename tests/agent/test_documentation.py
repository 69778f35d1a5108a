"""What the agent has is written down."""

from __future__ import annotations

from pathlib import Path

from peerwatch.agent.agent import Agent
from peerwatch.agent.config import AgentConfig
from peerwatch.agent.metrics_http import MetricsHttpConfig, MetricsServer, Readiness
from peerwatch.agent.sources.kinds import KINDS
from peerwatch.agent.sources.self import FAMILIES
from peerwatch.telemetry import CollectorRegistry

PAGE = (Path(__file__).parents[2] / "docs" / "agent.md").read_text()


def test_every_source_and_own_metric_is_documented() -> None:
    """docs/agent.md names each row of the table and each metric of the registry."""
    registry = CollectorRegistry()
    Agent(AgentConfig(), lambda batch: None, registry)
    MetricsServer(MetricsHttpConfig(), bytes, lambda: Readiness(True), registry)
    ours = {metric.name + ("_total" if metric.type == "counter" else "") for metric in registry.collect()}
    ours |= {family.name for family in FAMILIES if family.name.startswith("peerwatch_")}
    assert [name for name in ours if f"`{name}`" not in PAGE] == []
    assert [kind.name for kind in KINDS if f"| `{kind.name}`" not in PAGE] == []
