"""UpRole: hub and agent of one machine in one process, joined by a local link; to other hubs as any agent."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio

from peerwatch.agent.config import AgentConfig
from peerwatch.agent.ship import Link
from peerwatch.cli.agent_role import AgentIdentity, AgentRole
from peerwatch.cli.hub_role import HubRole
from peerwatch.cli.hub_ways import HubWays
from peerwatch.cli.known_hub import KnownHub
from peerwatch.cli.roster_sync import learn_at_start
from peerwatch.links.local import LocalLink
from peerwatch.model import SystemClock
from peerwatch.settings import Settings
from peerwatch.telemetry import CollectorRegistry, process_registry


async def run_up(settings: Settings, stop: anyio.Event) -> None:
    """Run both until `stop`: the agent ends first, so that its last samples still reach the hub."""
    clock = SystemClock()
    registry = process_registry()
    await learn_at_start(settings.folder / "fleet", clock)
    hub = HubRole(settings, clock, registry, samples_itself=True)
    agent = _local_agent(settings, hub, clock)
    hub_stop = anyio.Event()
    async with anyio.create_task_group() as tasks:
        await tasks.start(hub.run, hub_stop)
        await tasks.start(agent.run, stop)
        _greet(hub, agent)
        await stop.wait()
        await agent.stopped.wait()
        hub_stop.set()
    agent.close()
    hub.close()


def _local_agent(settings: Settings, hub: HubRole, clock: SystemClock) -> AgentRole:
    authority = hub.authority
    identity = AgentIdentity(
        authority.member, authority.keys.signing, authority.membership, settings.folder / "fleet" / "epoch.json"
    )
    ways = HubWays(KnownHub(()), authority.membership, hub.node, hub.other_hubs, https_too=True)

    async def push(request: bytes) -> tuple[bytes, float | None]:
        result = await hub.collector.push(request)
        return result.reply, result.wait_s

    def word() -> bytes:
        return authority.membership.welcome(authority.member)

    @asynccontextmanager
    async def open_link(member: bytes) -> AsyncIterator[Link]:
        if member == authority.member:
            yield LocalLink(push, word)
            return
        async with ways.open(member) as other:
            yield _OwnWord(other, word)

    return AgentRole(settings, every_tick(settings), identity, open_link, clock, CollectorRegistry())


class _OwnWord:
    """A link to another hub. Who belongs says this machine's own hub, which merges what the others know itself."""

    def __init__(self, link: Link, word: Callable[[], bytes]) -> None:
        self._link = link
        self._word = word

    async def push(self, request: bytes) -> bytes:
        return await self._link.push(request)

    async def membership(self) -> bytes:
        return self._word()


def every_tick(settings: Settings) -> AgentConfig:
    """The agent's config with each tick shipped at once, so that the page lives, unless the interval was set."""
    if "agent.report_interval_s" in settings.configured:
        return settings.agent
    return dataclasses.replace(settings.agent, report_interval_s=settings.agent.sample_interval_s)


def _greet(hub: HubRole, agent: AgentRole) -> None:
    print(f"peerwatch is watching this machine: {hub.url}", flush=True)
    if agent.metrics_url:
        print(f"metrics for a Prometheus that pulls: {agent.metrics_url}", flush=True)
    if hub.first_token:
        print(f"credential (scope admin, shown only this once): {hub.first_token}", flush=True)
    print("add a machine: peerwatch invite · ask: peerwatch query 'up' · stop: Ctrl-C", flush=True)
