"""Joins machines to a fleet, from whatever host it runs on: `python -m tests.fabric.joiner TOKEN FOLDER...`.

Each folder is named as its machine is. One process, since thirty of them would take a minute to start.
"""

from __future__ import annotations

import sys
from pathlib import Path

import anyio

from peerwatch.cli.joining import join
from peerwatch.model import SystemClock


async def _main(token: str, folders: list[str]) -> None:
    for folder in map(Path, folders):
        await join(token, folder.name, folder / "agent", SystemClock())


if __name__ == "__main__":
    anyio.run(_main, sys.argv[1], sys.argv[2:])
