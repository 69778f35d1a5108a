"""What the shipping tests share: one agent with a real spool, one hub over a store in memory, and a link between."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import TaskStatus

from peerwatch.agent.ship import Link, ShipConfig, Shipper
from peerwatch.errors import LinkError, StoreError
from peerwatch.fleet.membership import Membership, new_membership
from peerwatch.links.local import LocalLink
from peerwatch.model import Batch
from peerwatch.spool import Position, Spool, SpoolConfig, SpooledEnvelope
from peerwatch.telemetry import CollectorRegistry
from peerwatch.wire import schema_pb2 as pb
from peerwatch.wire.envelope import parse_envelope
from peerwatch.wire.push import decode_request
from tests.collector.kit import BOX, EPOCH, Agent, Hub, batch

QUICK = ShipConfig(
    retry_first_s=0.001,
    retry_most_s=0.005,
    retry_jitter_s=0.001,
    idle_s=0.002,
    wait_most_s=0.005,
    membership_gap_s=0.001,
)


class Recorder:
    """A link that remembers what was pushed."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.requests: list[bytes] = []
        self.looks = 0

    async def push(self, request: bytes) -> bytes:
        self.requests.append(request)
        return await self.link.push(request)

    async def membership(self) -> bytes:
        self.looks += 1
        return await self.link.membership()

    @property
    def sent(self) -> list[list[Position]]:
        """The positions in each request."""
        return [positions(request) for request in self.requests]

    @property
    def schemas(self) -> list[list[str]]:
        """Per request, whether each schema came whole or as a delta."""
        told = []
        for request in self.requests:
            records = decode_request(request).schemas.unpack(BOX)
            told.append([pb.SchemaRecord.FromString(one).WhichOneof("content") or "" for one in records])
        return told


def positions(request: bytes) -> list[Position]:
    """What a push request carries."""
    headers = [parse_envelope(raw).header for raw in pb.PushRequest.FromString(request).envelopes]
    return [Position(header.epoch, header.seq) for header in headers]


class World:
    """An agent and a hub. Time stands still unless `run` is told to let it flow."""

    def __init__(self, folder: Path, *, config: ShipConfig = QUICK, **hub: Any) -> None:
        self.folder = folder
        self.config = config
        self.hub = Hub(folder / "hub", **hub)
        self.clock = self.hub.clock
        self.agent: Agent = self.hub.agent()
        self.membership = self.trusting()
        self.sealed: dict[Position, Batch] = {}
        self.open_spool()

    def trusting(self) -> Membership:
        """What an agent knows that has just joined."""
        root = self.hub.authority.membership.trust.root
        membership = new_membership(self.folder / "agent" / "membership.bin", root)
        membership.absorb(self.hub.authority.membership.welcome(self.agent.sender), self.clock.now_ms())
        return membership

    def open_spool(self) -> None:
        """(Re)open the agent's spool, as at a start."""
        self.registry = CollectorRegistry()
        config = SpoolConfig(sync=False, segment_bytes=1 << 16, max_bytes=1 << 24)
        self.spool = Spool.open(self.folder / "spool", config, clock=self.clock, registry=self.registry)
        self.reader = self.spool.reader("hub")

    def restart_agent(self) -> None:
        """A new process: the spool is opened again, numbers go on in a new epoch."""
        self.spool.close()
        self.open_spool()
        self.agent = Agent(self.agent.fleet, key=self.agent.key, epoch=self.agent.epoch + 1)

    def produce(self, count: int = 1, make: Callable[[int], Batch] | None = None) -> list[Position]:
        """Seal and spool `count` batches, each with a time of its own."""
        made = []
        for _ in range(count):
            number = len(self.sealed)
            what = make(number) if make else batch([[float(number)]], at_ms=EPOCH - 10**7 + 1000 * number)
            one = self.agent.seal(what, self.spool.floor())
            self.spool.append(one.item, one.schemas)
            self.sealed[one.item.position] = what
            made.append(one.item.position)
        return made

    def put_raw(self, raw: bytes, seq: int) -> Position:
        """Something else than a sealed batch in the spool."""
        position = Position(self.agent.epoch, seq)
        self.spool.append(SpooledEnvelope(position, EPOCH, raw, ()), {})
        return position

    def link(self) -> LocalLink:
        """Straight to whatever collector runs now."""

        async def push(request: bytes) -> tuple[bytes, float | None]:
            result = await self.hub.collector.push(request)
            return result.reply, result.wait_s

        return LocalLink(push, lambda: self.hub.authority.membership.welcome(b""))

    def shipper(self, link: Link | None = None, *, membership: Membership | None = None, **more: Any) -> Shipper:
        """A new shipper over the present spool."""
        return Shipper(
            self.spool,
            "hub",
            link or self.link(),
            membership or self.membership,
            self.agent.sender,
            self.agent.sealer.delta,
            self.config,
            self.clock,
            CollectorRegistry() if "registry" not in more else more.pop("registry"),
            **more,
        )

    def tell(self, story: Callable[[], Awaitable[None]], *, time_flows: bool = False) -> None:
        """A story with the hub running beside it; with `time_flows`, half a second passes per turn of the loop."""

        async def main() -> None:
            with anyio.fail_after(20):
                async with anyio.create_task_group() as tasks:
                    await tasks.start(self._run_hub)
                    if time_flows:
                        tasks.start_soon(self._flow)
                    await story()
                    tasks.cancel_scope.cancel()

        anyio.run(main)

    async def _run_hub(self, *, task_status: TaskStatus[None]) -> None:
        """The hub's process: whenever its collector ends, a new one starts over the same store."""
        task_status.started()
        while True:
            with anyio.CancelScope() as self._hub_scope:
                await self.hub.collector.run()
            self.hub.restart()

    async def kill_hub(self) -> None:
        """The hub's process ends at once: what it had accepted and not written is gone, and a new one starts."""
        old = self.hub.collector
        self.hub.store.fail(StoreError("killed"), times=1000)
        self._hub_scope.cancel()
        await until(lambda: self.hub.collector is not old)
        self.hub.store.mend()

    async def _flow(self) -> None:
        while True:
            self.clock.advance(0.5)
            await anyio.sleep(0.001)

    @asynccontextmanager
    async def shipping(self, shipper: Shipper) -> AsyncIterator[None]:
        """While a shipper runs."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(shipper.run)
            yield
            tasks.cancel_scope.cancel()

    def handed_out(self) -> int:
        """How many batches the spool would not offer now, though they are pending."""
        offered = self.reader.fresh(1 << 30) + self.reader.backfill(1 << 30)
        self.reader.release([item.position for item in offered])
        return self.reader.pending().count - len(offered)

    def assert_all_stored_once(self) -> None:
        """Every sealed batch is in the store, bit for bit, and was stored exactly once."""
        sender = self.agent.sender
        assert self.hub.store.envelopes == {(sender, one.epoch, one.seq): 1 for one in self.sealed}
        wanted: dict[str, dict[int, int]] = {}
        for what in self.sealed.values():
            block = what.blocks[0]
            times = block.matrix.times_ms.tolist()
            for row, values in zip(block.series, block.matrix.values, strict=True):
                cells = wanted.setdefault(row.labels.get("row") or "", {})
                cells.update(zip(times, values.view("u8").tolist(), strict=True))
        assert {labels.get("row"): cells for labels, cells in self.hub.store.cells.items()} == wanted


async def until(true: Callable[[], bool]) -> None:
    """Let the other tasks run until something holds."""
    while not true():  # noqa: ASYNC110 - what is waited for are counters, which set no event
        await anyio.sleep(0.0005)


class Broken:
    """A link to nowhere, with a wait where it is told."""

    def __init__(self, wait_s: float | None = None) -> None:
        self.wait_s = wait_s

    async def push(self, request: bytes) -> bytes:
        raise LinkError("nobody answers", self.wait_s)

    async def membership(self) -> bytes:
        raise LinkError("nobody answers", self.wait_s)
