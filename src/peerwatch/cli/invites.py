"""`peerwatch invites`: the ways in that are open."""

from __future__ import annotations

import json as jsonlib
import time

from peerwatch.cli import options
from peerwatch.cli.agents import age
from peerwatch.cli.hub_client import HubClient


def invites(
    data: options.Data = None,
    url: options.Url = "",
    token: options.Token = "",
    ca: options.CaFile = "",
    config: options.Config = None,
    json: options.Json = False,
) -> None:
    """List the invites that still let a machine in, what is left of each and how long; tokens are stored nowhere."""
    settings = options.settings_from(config, data=data)
    with HubClient(url, settings.folder, token, ca) as hub:
        rows = hub.get("/api/v1/admin/invites")["data"]
    if json:
        print(jsonlib.dumps(rows))
        return
    from rich.console import Console  # tables for people; a lean agent does without
    from rich.table import Table

    now_ms = time.time_ns() // 1_000_000
    table = Table("invite", "roles", "uses left", "expires in", box=None)
    for row in rows:
        left = f"{row['uses_left']} of {row['uses']}"
        table.add_row(row["name"], ",".join(row["roles"]), left, age(now_ms, row["expires_ms"]))
    Console().print(table)
