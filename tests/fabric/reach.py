"""Reach a member: `reach.py KEY_FILE MULTIADDR` pings it and asks it who the hubs are; prints what came, as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import anyio

from peerwatch.errors import PeerwatchError
from peerwatch.fleet.keys import load_key
from peerwatch.node.address import parse_address
from peerwatch.node.carrier import Carrier
from peerwatch.node.config import NodeConfig
from peerwatch.node.metrics import NodeMetrics
from peerwatch.telemetry import CollectorRegistry
from peerwatch.wire.identity import public_key_of
from peerwatch.wire.protocols import MEMBERSHIP
from tests.node.host.kit import conduct, node


async def _nothing(member: bytes, protocol: str, body: bytes) -> bytes:
    return b""


async def _reach(key_file: str, multiaddr: str) -> dict[str, object]:
    target = public_key_of(parse_address(multiaddr).peer)
    one = node(listen=False, key=load_key(Path(key_file)))
    config = NodeConfig.agent()
    carrier = Carrier(
        one.host, _nothing, NodeMetrics(CollectorRegistry(), config.limits, config.max_bans), conduct(one.ear)
    )
    async with one.host:
        try:
            found = await one.host.dial(target, [multiaddr])
        except PeerwatchError as error:
            return {"refused": str(error)}
        rtt_s = await one.host.ping(target)
        try:
            answer = (await carrier.ask(target, MEMBERSHIP, b"", 10.0)).hex()
        except PeerwatchError as error:
            answer = str(error)
        return {"address": found.address, "rtt_s": rtt_s, "answer": answer}


if __name__ == "__main__":
    print(json.dumps(anyio.run(_reach, *sys.argv[1:], backend="trio")))  # noqa: T201
