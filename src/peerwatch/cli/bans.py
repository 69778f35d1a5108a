"""`peerwatch bans`: who is kept out, why, and until when."""

from __future__ import annotations

import json as jsonlib
import time
from typing import Annotated, Any

from peerwatch.cli import options
from peerwatch.cli.agents import age
from peerwatch.cli.asked_hub import AskedHub
from peerwatch.cli.parameters import Argument, Option
from peerwatch.cli.query import duration_s

ABOUT = "List, add and remove bans; every hub of the fleet and its node obey them."
_Subject = Annotated[str, Argument(help="A member's name or peer id, an address, or a network such as 192.0.2.0/24.")]


def list_(hub: AskedHub, json: options.Json = False) -> None:
    """List who is kept out, by whom, why and for how much longer."""
    with hub.open() as client:
        rows = client.get("/api/v1/admin/bans")["data"]
    if json:
        print(jsonlib.dumps(rows))
        return
    from rich.console import Console  # tables for people; a lean agent does without
    from rich.table import Table

    now_ms = time.time_ns() // 1_000_000
    table = Table("banned", "name", "reason", "by", "since", "ends in", box=None)
    for row in rows:
        since, ends = age(row["since_ms"], now_ms, " ago"), _left(row, now_ms)
        table.add_row(row["subject"], row["name"] or "–", row["reason"] or "–", row["by"], since, ends)
    Console().print(table)


def add(
    hub: AskedHub,
    subject: _Subject,
    for_: Annotated[str, Option("--for", metavar="1h", help="For how long. [default: until it is removed]")] = "",
    reason: Annotated[str, Option("--reason", help="What others read in the list and in logs.")] = "",
    json: options.Json = False,
) -> None:
    """Keep a member or a network out, on every hub; connections that are open end at once. Hubs: peerwatch revoke."""
    asked = {"subject": subject, "life_s": duration_s("--for", for_) if for_ else 0.0, "reason": reason}
    with hub.open() as client:
        row = client.post("/api/v1/admin/bans", asked)
    until = f"for {for_}" if row["expires_ms"] else "until it is removed"
    print(jsonlib.dumps(row) if json else f"banned {_called(row)} {until}")


def remove(
    hub: AskedHub,
    subject: _Subject,
    reason: Annotated[str, Option("--reason", help="What others read in logs.")] = "",
    json: options.Json = False,
) -> None:
    """Let it in again, on every hub; what it did before is forgotten."""
    with hub.open() as client:
        row = client.post("/api/v1/admin/bans/lift", {"subject": subject, "reason": reason})
    print(jsonlib.dumps(row) if json else f"no longer banned: {_called(row)}")


def _called(row: dict[str, Any]) -> str:
    return f"{row['name']} ({row['subject']})" if row["name"] else str(row["subject"])


def _left(row: dict[str, Any], now_ms: int) -> str:
    return age(now_ms, row["expires_ms"]) if row["expires_ms"] else "never"


commands = {"list": list_, "add": add, "remove": remove}
