"""`peerwatch snapshot`: a consistent copy of a running hub's store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from peerwatch.cli.asked_hub import AskedHub
from peerwatch.cli.parameters import Argument


def snapshot(
    hub: AskedHub,
    target: Annotated[Path, Argument(help="A new folder on the hub's machine, on the same file system.")],
) -> None:
    """Back up the store while the hub runs: blocks are hard links, the WAL is copied."""
    with hub.open() as client:
        answer = client.post("/api/v1/admin/snapshot", {"target": str(target.resolve())})
    print(f"snapshot written to {answer['target']}")
