"""`peerwatch join`: make this machine a member, and report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import anyio

from peerwatch.cli import joining, options, systemd
from peerwatch.cli.agent import run_agent
from peerwatch.cli.lone_node import FOLDER
from peerwatch.cli.node import run_node
from peerwatch.cli.parameters import Argument, Option
from peerwatch.errors import ConfigError
from peerwatch.fleet.invite import decode_token
from peerwatch.fleet.roster import HUB, RELAY
from peerwatch.model import SystemClock
from peerwatch.settings import Settings


def join(
    token: Annotated[str, Argument(help="What `peerwatch invite` printed.")],
    name: Annotated[str | None, Option("--name", help="What to call it. [default: its host name]")] = None,
    install: Annotated[bool, Option("--install", help="Write and enable a systemd unit.")] = False,
    run: Annotated[bool, Option("--run", help="Report from now on, or only enrol.")] = True,
    data: options.Data = None,
    metrics_port: options.MetricsPort = None,
    config: options.Config = None,
) -> None:
    """Join the fleet of the hub that made TOKEN, as what it says: an agent, which reports, one more hub, or a relay."""
    settings = options.settings_from(config, data=data, name=name, agent_http__port=metrics_port)
    roles = decode_token(token).roles
    is_hub, is_relay = HUB in roles, RELAY in roles
    folder = settings.folder / ("fleet" if is_hub else FOLDER if is_relay else "agent")
    if is_hub and install:
        raise ConfigError("--install writes the unit of an agent; a hub's is yours to write, with `peerwatch hub`")
    joined = anyio.run(joining.join, token, settings, folder, SystemClock())
    if is_hub:
        print(f"joined as hub {joined.entry.name}, by {joined.address}; start it with: peerwatch hub", flush=True)
        print(
            "its roster follows within seconds, and agents deliver to it too; so that it has what another hub has,",
            flush=True,
        )
        print(
            f"before its first start move a `peerwatch snapshot` of that one to {settings.folder / 'store'}", flush=True
        )
        return
    if is_relay:
        print(f"joined as relay {joined.entry.name}, by {joined.address}", flush=True)
        _be_relay(settings, config, install=install, run=run)
        return
    print(f"joined as {joined.entry.name}, reporting to {joined.address}", flush=True)
    if install:
        print(systemd.install(settings.folder, config))
    elif run:
        run_agent(settings)
    else:
        print("start reporting with: peerwatch agent")


def _be_relay(settings: Settings, config: Path | None, *, install: bool, run: bool) -> None:
    if install:
        print(systemd.install(settings.folder, config, role="node", more=["--bootstrap"]))
    elif run:
        run_node(replace(settings, p2p=replace(settings.p2p, bootstrap=True)))
    else:
        print("start it with: peerwatch node --bootstrap")
