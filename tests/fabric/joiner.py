"""Joins machines to a fleet, from whatever host it runs on: `python -m tests.fabric.joiner TOKEN FOLDER...`.

Each folder is named as its machine is. The token is one for HTTPS, and the machines will deliver over libp2p: thirty
processes, each with a node to join with, would take minutes to start.
"""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import msgspec

from peerwatch.cli.joining import join
from peerwatch.cli.known_hub import load_known_hub, save_known_hub
from peerwatch.model import SystemClock
from peerwatch.settings import Settings


async def _main(token: str, folders: list[str]) -> None:
    for folder in map(Path, folders):
        agent = folder / "agent"
        await join(token, Settings(name=folder.name), agent, SystemClock())
        save_known_hub(agent, msgspec.structs.replace(load_known_hub(agent), link="p2p"))


if __name__ == "__main__":
    anyio.run(_main, sys.argv[1], sys.argv[2:])
