"""`peerwatch invites`: the ways in that are open."""

from __future__ import annotations

import json as jsonlib
import time

from peerwatch.cli import options
from peerwatch.cli.agents import age
from peerwatch.cli.asked_hub import AskedHub


def invites(
    hub: AskedHub,
    json: options.Json = False,
) -> None:
    """List the invites that still let a machine in, what is left of each and how long; tokens are stored nowhere."""
    with hub.open() as client:
        rows = client.get("/api/v1/admin/invites")["data"]
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
