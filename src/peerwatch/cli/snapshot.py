"""`peerwatch snapshot`: a consistent copy of a running hub's store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from peerwatch.cli import options
from peerwatch.cli.hub_client import HubClient
from peerwatch.cli.parameters import Argument


def snapshot(
    target: Annotated[Path, Argument(help="A new folder on the hub's machine, on the same file system.")],
    data: options.Data = None,
    url: options.Url = "",
    token: options.Token = "",
    ca: options.CaFile = "",
    config: options.Config = None,
) -> None:
    """Back up the store while the hub runs: blocks are hard links, the WAL is copied."""
    settings = options.settings_from(config, data=data)
    with HubClient(url, settings.folder, token, ca) as hub:
        answer = hub.post("/api/v1/admin/snapshot", {"target": str(target.resolve())})
    print(f"snapshot written to {answer['target']}")
