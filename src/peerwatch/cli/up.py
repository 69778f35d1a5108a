"""`peerwatch up`: agent and hub in one process, for this machine and whoever joins."""

from __future__ import annotations

import dataclasses

import anyio
import typer

from peerwatch.agent.config import AgentConfig
from peerwatch.cli import options
from peerwatch.cli.agent_role import AgentIdentity, AgentRole
from peerwatch.cli.hub_role import HubRole, check_writable
from peerwatch.cli.running import run_role
from peerwatch.links.local import LocalLink
from peerwatch.model import SystemClock
from peerwatch.settings import Settings
from peerwatch.telemetry import CollectorRegistry


def up(
    data: options.Data = None,
    listen: options.Listen = None,
    metrics_port: options.MetricsPort = None,
    config: options.Config = None,
) -> None:
    """Monitor this machine, live: starts hub and agent and prints the URL of the page."""
    settings = options.settings_from(config, data=data, hub__listen=listen, agent_http__port=metrics_port)
    check_writable(settings.folder)
    run_role(settings.log, lambda stop: _run(settings, stop))


async def _run(settings: Settings, stop: anyio.Event) -> None:
    clock = SystemClock()
    registry = CollectorRegistry()
    hub = HubRole(settings, clock, registry)
    agent = _local_agent(settings, hub, clock)
    hub_stop = anyio.Event()
    async with anyio.create_task_group() as tasks:
        await tasks.start(hub.run, hub_stop)
        await tasks.start(agent.run, stop)
        _greet(hub, agent)
        await stop.wait()
        await agent.stopped.wait()  # its last samples still reach the hub
        hub_stop.set()
    agent.close()
    hub.close()


def _local_agent(settings: Settings, hub: HubRole, clock: SystemClock) -> AgentRole:
    async def push(request: bytes) -> tuple[bytes, float | None]:
        result = await hub.collector.push(request)
        return result.reply, result.wait_s

    authority = hub.authority
    identity = AgentIdentity(
        authority.member, authority.keys.signing, authority.membership, settings.folder / "fleet" / "epoch.json"
    )
    link = LocalLink(push, lambda: authority.membership.welcome(authority.member))
    return AgentRole(settings, every_tick(settings), identity, link, "local", clock, registry=CollectorRegistry())


def every_tick(settings: Settings) -> AgentConfig:
    """The agent's config with each tick shipped at once, so that the page lives, unless the interval was set."""
    if "agent.report_interval_s" in settings.configured:
        return settings.agent
    return dataclasses.replace(settings.agent, report_interval_s=settings.agent.sample_interval_s)


def _greet(hub: HubRole, agent: AgentRole) -> None:
    typer.echo(f"peerwatch is watching this machine: {hub.url}")
    if agent.metrics_url:
        typer.echo(f"metrics for a Prometheus that pulls: {agent.metrics_url}")
    if hub.first_token:
        typer.echo(f"credential (scope admin, shown only this once): {hub.first_token}")
    typer.echo("add a machine: peerwatch invite · ask: peerwatch query 'up' · stop: Ctrl-C")
