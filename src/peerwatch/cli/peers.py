"""`peerwatch peers`: who is connected to a hub over libp2p."""

from __future__ import annotations

import json as jsonlib
import time
from typing import TYPE_CHECKING, Any

from peerwatch.cli import options
from peerwatch.cli.agents import age
from peerwatch.cli.asked_hub import AskedHub

if TYPE_CHECKING:
    from rich.table import Table


def peers(hub: AskedHub, json: options.Json = False) -> None:
    """List who is connected over libp2p: from where, since when, the round trip, and the score of its conduct."""
    with hub.open() as client:
        rows = client.get("/api/v1/admin/peers")["data"]
    if json:
        print(jsonlib.dumps(rows))
        return
    from rich.console import Console  # tables for people; a lean agent does without

    Console().print(_table(rows, time.time_ns() // 1_000_000))


def _table(rows: list[dict[str, Any]], now_ms: int) -> Table:
    from rich.table import Table

    table = Table("peer", "address", "direction", "connected", "round trip", "score", "peer id", box=None)
    for row in sorted(rows, key=lambda row: row["name"]):
        rtt = f"{row['rtt_us'] / 1000:.1f} ms" if row["rtt_us"] else "–"
        since = age(row["since_ms"], now_ms)
        table.add_row(
            row["name"] or "–", row["address"], row["direction"], since, rtt, f"{row['score']:.0f}", row["peer_id"]
        )
    return table
