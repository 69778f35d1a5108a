"""Agents of the fabric benchmark, many in one process: `python -m bench.fabric_client PLAN ENVELOPES RESULTS`.

Each has what a real one has towards its hub: over libp2p a node of its own (key, host, gate, held connection, waits),
over HTTPS a link of its own; and it waits after failures as the shipper does. Left out are sampling, spool and the
socket between agent and node. One line of RESULTS per envelope: agent, number, when it was due, when it was
acknowledged, tries; times are of the system's monotonic clock.
"""

from __future__ import annotations

import gc
import json
import random
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

import anyio
import msgspec

from peerwatch.agent.ship import ShipConfig
from peerwatch.errors import LinkError, PeerwatchError
from peerwatch.links.https import HttpsLink
from peerwatch.model import SystemClock
from peerwatch.node.config import NodeConfig, NodeLimits
from peerwatch.node.descriptors import raise_descriptor_limit
from peerwatch.node.messages import Deliver, Delivered, MemberRecord, OpenPeer, SetRoster
from peerwatch.node.node import Node
from peerwatch.telemetry import configure_logging
from peerwatch.wire.compression import Compressor
from peerwatch.wire.identity import PrivateKey
from peerwatch.wire.protocols import PUSH
from peerwatch.wire.push import decode_reply, encode_request

_DELIVER_MS = 20_000
Push = Callable[[bytes], Awaitable[bytes]]


class Plan(msgspec.Struct):
    """What one process does. `link`: "p2p" or "https"."""

    link: str
    folder: str
    hub_url: str
    certificate_pem: str
    hub_peer: str
    hub_multiaddr: str
    interval_s: float
    ramp_s: float
    """Over which the agents start: that all come at once is measured apart."""
    names: list[str]


class Load(msgspec.Struct):
    """What one agent sends: envelopes, and the records of schemas and baselines that they use."""

    peer_key: bytes
    records: list[bytes]
    envelopes: list[bytes]


async def _deliver_all(name: str, plan: Plan, load: Load, push: Push, results: IO[str]) -> None:
    """An envelope is due at every interval; what cannot be delivered waits, as in a spool."""
    first_s = time.monotonic() + plan.interval_s * random.random()
    told: list[bytes] = load.records
    for seq, envelope in enumerate(load.envelopes):
        due_s = first_s + seq * plan.interval_s
        await anyio.sleep(max(0.0, due_s - time.monotonic()))
        tries, ships = 0, ShipConfig()
        while True:
            tries += 1
            try:
                reply = decode_reply(await push(encode_request([envelope], told, Compressor())))
            except PeerwatchError:
                wait_s = ships.retry_first_s * 2 ** min(tries - 1, 10) + random.uniform(0, ships.retry_jitter_s)
                await anyio.sleep(min(ships.retry_most_s, wait_s))
                continue
            told = load.records if reply.need_schemas else []
            if any(a <= seq <= b for ack in reply.acks for a, b in ack.runs):
                break
        results.write(json.dumps([name, seq, due_s, time.monotonic(), tries]) + "\n")


async def _over_https(name: str, plan: Plan, load: Load, results: IO[str]) -> None:
    async with HttpsLink(plan.hub_url, plan.certificate_pem) as link:
        await _deliver_all(name, plan, load, link.push, results)
        await anyio.sleep_forever()  # stays connected, as an agent does


async def _over_p2p(name: str, plan: Plan, load: Load, results: IO[str]) -> None:
    folder = Path(plan.folder) / name
    folder.mkdir(parents=True)
    config = NodeConfig(listen=(), limits=NodeLimits.agent())
    node = Node(PrivateKey(load.peer_key), config, folder, SystemClock())

    async def push(request: bytes) -> bytes:
        reply = await node.answer(Deliver(peer=plan.hub_peer, protocol=PUSH, body=request, wait_ms=_DELIVER_MS))
        assert isinstance(reply, Delivered)
        return reply.body

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(node.run, anyio.Event())
        await anyio.sleep(0.05)  # its own doors are open
        await node.answer(SetRoster(roster_version=1, members=[MemberRecord(plan.hub_peer, ["hub"], 0)]))
        with suppress(LinkError):  # it goes on trying
            await node.answer(OpenPeer(peer=plan.hub_peer, addresses=[plan.hub_multiaddr], wait_ms=10_000))
        await _deliver_all(name, plan, load, push, results)
        await anyio.sleep_forever()  # stays connected, as an agent does


async def _main(plan: Plan, loads: list[Load], results: IO[str]) -> None:
    run = _over_p2p if plan.link == "p2p" else _over_https
    async with anyio.create_task_group() as tasks:
        for name, load in zip(plan.names, loads, strict=True):
            tasks.start_soon(run, name, plan, load, results)
            await anyio.sleep(plan.ramp_s / len(loads))


if __name__ == "__main__":
    configure_logging("error")
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)  # a process holds hundreds of agents: its collector must not stop them all at once
    raise_descriptor_limit()
    chosen = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Plan)
    given = msgspec.msgpack.decode(Path(sys.argv[2]).read_bytes(), type=list[Load])
    with Path(sys.argv[3]).open("w", buffering=1) as opened:
        anyio.run(_main, chosen, given, opened, backend="trio" if chosen.link == "p2p" else "asyncio")
