"""Honest agents: `python -m tests.hostile.honest PLAN`. Each pushes a small batch eight times a second, and notes how
long the ack took: a line of JSON each, [when, seconds], with null for what failed."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import anyio
import msgspec

from peerwatch.node.carrier import Carrier
from peerwatch.node.config import NodeLimits
from peerwatch.node.metrics import NodeMetrics
from peerwatch.telemetry import CollectorRegistry, configure_logging
from peerwatch.wire.identity import PrivateKey
from peerwatch.wire.protocols import PUSH
from peerwatch.wire.push import decode_reply
from tests.collector.kit import Agent, batch
from tests.hostile.plan import Plan
from tests.node.host.kit import conduct, node

_EVERY_S = 0.125


async def _nobody(member: bytes, protocol: str, body: bytes) -> bytes:
    raise AssertionError("an agent is not asked")


async def _agent(plan: Plan, key: PrivateKey) -> None:
    one = node(listen=False, key=key)
    agent = Agent(plan.fleet, key=key, epoch=time.time_ns() // 1_000_000)
    async with one.host:
        carrier = Carrier(one.host, _nobody, NodeMetrics(CollectorRegistry(), NodeLimits(), 10), conduct(one.ear))
        await one.host.dial(plan.member, [plan.address])
        while True:
            began_s = time.time()
            sealed = agent.seal(batch([[1.0], [2.0]], at_ms=round(began_s * 1000)))
            took_s: float | None = None
            try:
                reply = decode_reply(await carrier.ask(plan.member, PUSH, agent.request(sealed), 10.0))
                if reply.acks:
                    took_s = time.time() - began_s
            except Exception as error:
                print(json.dumps(str(error)), file=sys.stderr, flush=True)  # noqa: T201
            print(json.dumps([began_s, took_s]), flush=True)  # noqa: T201
            await anyio.sleep(max(0.0, began_s + _EVERY_S - time.time()))


async def _main(plan: Plan) -> None:
    async with anyio.create_task_group() as tasks:
        for key in plan.keys:
            tasks.start_soon(_agent, plan, key)


if __name__ == "__main__":
    configure_logging("error")
    anyio.run(_main, msgspec.msgpack.decode(Path(sys.argv[1]).read_bytes(), type=Plan), backend="trio")
