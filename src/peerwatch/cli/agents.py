"""`peerwatch agents`: who reports, since when, how far behind."""

from __future__ import annotations

import json as jsonlib
import time
from typing import TYPE_CHECKING, Annotated, Any

from peerwatch.cli import options
from peerwatch.cli.asked_hub import AskedHub
from peerwatch.cli.parameters import Option

if TYPE_CHECKING:
    from rich.table import Table


def agents(
    hub: AskedHub,
    everybody: Annotated[bool, Option("--all", help="List those that were revoked, too.")] = False,
    json: options.Json = False,
) -> None:
    """List the members: up or not, since when, the age of the newest sample, batches still to come."""
    with hub.open() as client:
        rows = client.get("/api/v1/agents", revoked="1" if everybody else "")["data"]
    if json:
        print(jsonlib.dumps(rows))
        return
    from rich.console import Console  # tables for people; a lean agent does without

    Console().print(_table(rows, time.time_ns() // 1_000_000))


def _table(rows: list[dict[str, Any]], now_ms: int) -> Table:
    from rich.table import Table

    table = Table("agent", "state", "running", "last report", "newest sample", "to come", "series", box=None)
    for row in rows:
        table.add_row(
            row["name"],
            _state(row),
            age(row["since_ms"], now_ms),
            age(row["last_seen_ms"], now_ms, " ago"),
            age(row["newest_sample_ms"], now_ms, " ago"),
            str(row["behind_batches"]),
            str(row["active_series"]),
        )
    return table


def _state(row: dict[str, Any]) -> str:
    if row["revoked"]:
        return "[red]revoked[/]"
    return "[green]up[/]" if row["up"] else "[red]silent[/]" if row["last_seen_ms"] else "[dim]not seen[/]"


def age(then_ms: int, now_ms: int, suffix: str = "") -> str:
    """How long ago, in the two largest units; a dash for never."""
    if not then_ms:
        return "–"
    seconds = max(0, (now_ms - then_ms) // 1000)
    for size, unit, smaller_size, smaller in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            return f"{seconds // size} {unit} {seconds % size // smaller_size} {smaller}{suffix}"
    return f"{seconds} s{suffix}"
