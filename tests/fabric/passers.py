"""Members that come and go: `python -m tests.fabric.passers HUB_MULTIADDR SECONDS FOLDER...`, until it is killed.

Each folder is a joined machine's. Its member connects with a node of its own, asks the hub for its word on who the hubs
are, stays for some of the seconds, and leaves without a word; then it comes again.
"""

from __future__ import annotations

import random
import sys
from contextlib import suppress
from pathlib import Path

import anyio

from peerwatch.errors import PeerwatchError
from peerwatch.fleet.keys import load_key
from peerwatch.model import SystemClock
from peerwatch.node.config import NodeConfig, NodeLimits
from peerwatch.node.messages import Deliver, MemberRecord, OpenPeer, SetRoster
from peerwatch.node.node import Node
from peerwatch.telemetry import configure_logging
from peerwatch.wire.protocols import MEMBERSHIP


async def _pass(folder: Path, hub: str, stay_s: float) -> None:
    peer = hub.rpartition("/")[2]
    config = NodeConfig(listen=(), limits=NodeLimits.agent())
    node = Node(load_key(folder / "agent" / "peer.key"), config, folder, SystemClock())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(node.run, anyio.Event())
        await anyio.sleep(0.1)  # its own doors are open
        await node.answer(SetRoster(roster_version=1, members=[MemberRecord(peer, ["hub"], 0)]))
        with suppress(PeerwatchError):  # hubs' nodes are killed here too
            await node.answer(OpenPeer(peer=peer, addresses=[hub], wait_ms=5_000))
            await node.answer(Deliver(peer=peer, protocol=MEMBERSHIP, body=b"", wait_ms=5_000))
        await anyio.sleep(stay_s)
        tasks.cancel_scope.cancel()


async def _pass_for_ever(folder: Path, hub: str, stay_s: float) -> None:
    while True:
        await _pass(folder, hub, random.uniform(0.2, 1.0) * stay_s)
        await anyio.sleep(random.uniform(0.2, 1.0) * stay_s)


async def _main(hub: str, stay_s: float, folders: list[str]) -> None:
    async with anyio.create_task_group() as tasks:
        for folder in folders:
            tasks.start_soon(_pass_for_ever, Path(folder), hub, stay_s)


if __name__ == "__main__":
    configure_logging("error")
    anyio.run(_main, sys.argv[1], float(sys.argv[2]), sys.argv[3:], backend="trio")
