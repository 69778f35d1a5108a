"""A process of light agents: real keys, spool, sealer, shipper and link; it notes all it sealed and all that was acked.

Run as `python -m tests.e2e.pushers PLAN.json`. SIGTERM ends the sampling; the process goes on delivering until nothing
is left or `drain_s` is over, prints a summary and ends.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

import anyio
import anyio.to_thread
import msgspec
import numpy as np

from peerwatch.agent.seal import Sealer
from peerwatch.agent.ship import ShipConfig, Shipper
from peerwatch.cli.joining import join
from peerwatch.cli.known_hub import load_known_hub
from peerwatch.fleet.epoch import next_epoch, read_machine_id
from peerwatch.fleet.keys import load_or_create_keys
from peerwatch.fleet.membership import Membership
from peerwatch.links.https import HttpsLink
from peerwatch.model import Batch, BatchBlock, Labels, SampleMatrix, Series, SystemClock
from peerwatch.settings import Settings
from peerwatch.spool import Spool, SpoolConfig
from peerwatch.telemetry import CollectorRegistry, configure_logging
from peerwatch.wire.push import decode_reply
from tests.e2e.ledger import LedgerWriter

METRIC = "chaos_value"
SERIES = 33  # enough for a baseline, so that recovery has to find it


class Plan(msgspec.Struct):
    """What one process does. `tokens` is name to invite token."""

    folder: str
    tokens: dict[str, str]
    interval_s: float = 0.25
    drain_s: float = 120.0
    fresh_s: float = 60.0
    backfill_bytes: int = 2 << 20


class _NotingLink:
    """HttpsLink that notes every ack that comes back."""

    def __init__(self, link: HttpsLink, notes: LedgerWriter) -> None:
        self._link = link
        self._notes = notes

    async def push(self, request: bytes) -> bytes:
        reply = await self._link.push(request)
        for ack in decode_reply(reply).acks:
            for first, last in ack.runs:
                for seq in range(first, last + 1):
                    self._notes.acked(ack.epoch, seq)
        return reply

    async def membership(self) -> bytes:
        return await self._link.membership()


async def _agent(name: str, plan: Plan, stop: anyio.Event, summary: dict[str, Any]) -> None:
    folder = Path(plan.folder) / name
    clock, registry = SystemClock(), CollectorRegistry()
    await join(plan.tokens[name], Settings(name=name), folder, clock)
    keys, hub = load_or_create_keys(folder), load_known_hub(folder)
    membership = Membership.load(folder / "membership.bin", clock.now_ms())
    epoch = next_epoch(folder / "epoch.json", read_machine_id(), clock.now_ms())
    sealer = Sealer(membership.fleet, keys.peer.public, keys.signing, epoch, run_file=folder / "open_run")
    spool = Spool.open(folder / "spool", SpoolConfig(fresh_s=plan.fresh_s), clock=clock, registry=registry)
    config = ShipConfig(
        retry_first_s=0.1, retry_most_s=1.0, retry_jitter_s=0.1, hold_s=1.0, backfill_bytes=plan.backfill_bytes
    )
    with LedgerWriter(folder) as notes:
        async with HttpsLink(hub.addresses[0], hub.certificate_pem) as https, anyio.create_task_group() as tasks:
            shipper = Shipper(
                spool,
                "hub",
                _NotingLink(https, notes),
                membership,
                keys.peer.public,
                sealer.delta,
                config,
                clock,
                registry,
            )
            tasks.start_soon(shipper.run)
            count = await _sample(name, plan, sealer, spool, shipper, notes, stop)
            with anyio.move_on_after(plan.drain_s):
                while shipper.pending:
                    shipper.wake()
                    await anyio.sleep(0.1)
            summary[name] = {"sealed": count, "pending": shipper.pending}
            tasks.cancel_scope.cancel()
    spool.close()


async def _sample(
    name: str, plan: Plan, sealer: Sealer, spool: Spool, shipper: Shipper, notes: LedgerWriter, stop: anyio.Event
) -> int:
    """Seal a batch of one or two ticks at every interval until told to stop; how many."""
    random = Random(name)
    series = tuple(Series(Labels.of({"__name__": METRIC, "number": str(number)})) for number in range(SERIES))
    last_ms = count = 0
    while not stop.is_set():
        now_ms = max(time.time_ns() // 1_000_000, last_ms + 2)
        times_ms = [now_ms - 1, now_ms] if random.random() < 0.5 else [now_ms]
        last_ms = now_ms
        values = [[random.gauss(0, 1e6) for _ in times_ms] for _ in range(SERIES)]
        matrix = SampleMatrix(np.array(times_ms, dtype=np.int64), np.array(values))
        batch = Batch((BatchBlock(series, matrix),))
        sealed = sealer.seal(batch, now_ms, spool.floor())
        notes.sealed(sealed.item.position, batch)
        await anyio.to_thread.run_sync(spool.append, sealed.item, sealed.schemas)
        sealer.sent()
        shipper.wake()
        count += 1
        with anyio.move_on_after(plan.interval_s * random.uniform(0.7, 1.3)):
            await stop.wait()
    return count


async def _main(plan: Plan) -> None:
    stop = anyio.Event()
    summary: dict[str, Any] = {}
    async with anyio.create_task_group() as watching:
        watching.start_soon(_watch, stop)
        async with anyio.create_task_group() as agents:
            for name in plan.tokens:
                agents.start_soon(_agent, name, plan, stop, summary)
        watching.cancel_scope.cancel()
    sys.stdout.write(json.dumps(summary) + "\n")


async def _watch(stop: anyio.Event) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            stop.set()


if __name__ == "__main__":
    configure_logging("error")
    anyio.run(_main, msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Plan))
