"""What the collector's tests share: a hub over a store in memory, members that push, and a way to run both."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import anyio
import numpy as np

from peerwatch.agent.seal import Sealed, Sealer
from peerwatch.collector.collector import Collector, PushResult
from peerwatch.collector.config import CollectorConfig
from peerwatch.errors import SignatureError
from peerwatch.fleet.authority import Authority
from peerwatch.fleet.roster import AGENT
from peerwatch.model import Batch, BatchBlock, Labels, MetricType, SampleMatrix, Series
from peerwatch.spool import Position
from peerwatch.telemetry import CollectorRegistry
from peerwatch.testing.clock import ManualClock
from peerwatch.testing.sample_store import MemorySampleStore
from peerwatch.wire import schema_pb2 as pb
from peerwatch.wire.ack import Ack
from peerwatch.wire.compression import Compressor
from peerwatch.wire.envelope import Header, seal
from peerwatch.wire.identity import PrivateKey, Verifier
from peerwatch.wire.push import PushReply, Refusal, decode_reply, encode_request

T = TypeVar("T")
EPOCH = 1_700_000_000_000
BOX = Compressor()
NO_FLOOR = Position(1, 0)


def series(*labels: dict[str, str]) -> tuple[Series, ...]:
    """One gauge per set of labels; `m` where no name is given."""
    return tuple(Series(Labels.of({"__name__": "m", **one}), MetricType.GAUGE) for one in labels)


def batch(
    values: Sequence[Sequence[float]],
    *,
    of: tuple[Series, ...] | None = None,
    at_ms: int = EPOCH,
    job: str = "",
    target: str = "",
) -> Batch:
    """One block of these rows, a tick every 5 s from `at_ms`."""
    cells = np.array(values, np.float64)
    times = np.array([at_ms + 5000 * tick for tick in range(cells.shape[1])], np.int64)
    rows = of if of is not None else series(*({"row": str(row)} for row in range(len(cells))))
    return Batch((BatchBlock(rows, SampleMatrix(times, cells), job, target),))


class Agent:
    """A machine with a key, that seals what it is given."""

    def __init__(self, fleet: bytes, *, key: PrivateKey | None = None, epoch: int = EPOCH) -> None:
        self.fleet = fleet
        self.key = key or PrivateKey.generate()
        self.sender = self.key.public
        self.epoch = epoch
        self.sealer = Sealer(fleet, self.sender, self.key, epoch)

    def seal(self, what: Batch | None = None, floor: Position | None = NO_FLOOR) -> Sealed:
        """The next envelope; its floor promises nothing unless told."""
        sealed = self.sealer.seal(what or batch([[1.0]]), EPOCH, floor)
        self.sealer.sent()
        return sealed

    def request(self, *sealed: Sealed, schemas: bool = True) -> bytes:
        """A push of these."""
        records = {name: record for one in sealed for name, record in one.schemas.items()} if schemas else {}
        return encode_request([one.item.envelope for one in sealed], list(records.values()), BOX)

    def forged(self, body: bytes, *, run_root: bytes = b"", **changes: Any) -> bytes:
        """A push of one envelope with any body and header, rightly signed."""
        numbers: dict[str, Any] = {"epoch": self.epoch, "seq": 0, "floor_epoch": 1, "floor_seq": 0, **changes}
        header = Header(**{"fleet": self.fleet, "sender": self.sender, **numbers})
        return encode_request([seal(self.key, header, body, BOX, run_root)], [], BOX)


class Hub:
    """A collector with everything around it."""

    def __init__(self, folder: Path, store: MemorySampleStore | None = None, **config: Any) -> None:
        self.clock = ManualClock(EPOCH)
        self.authority = Authority.open(folder, "hub-1", self.clock)
        self.store = store or MemorySampleStore()
        self.config = CollectorConfig(**config)
        self.restart()

    def restart(self) -> None:
        """A new process over the same store."""
        self.registry = CollectorRegistry()
        self.collector = Collector(self.store, self.authority, self.config, self.clock, self.registry)

    def agent(self, name: str = "web-1") -> Agent:
        """A new member."""
        agent = Agent(self.authority.fleet)
        self.authority.admit(agent.sender, agent.sender, name, (AGENT,))
        return agent

    def run(self, story: Callable[[], Awaitable[T]]) -> T:
        """Tell a story while the collector runs; it is closed afterwards and drains."""

        async def main() -> T:
            with anyio.fail_after(20):
                async with anyio.create_task_group() as tasks:
                    await tasks.start(self.collector.run)
                    told = await story()
                    self.collector.close()
            return told

        return anyio.run(main)

    def push(self, *requests: bytes) -> list[PushReply]:
        """Push one after the other, the acks verified, and close the collector."""

        async def story() -> list[PushReply]:
            return [self.read(await self.collector.push(request)) for request in requests]

        return self.run(story)

    def read(self, result: PushResult) -> PushReply:
        """The reply, once every ack in it verifies with this hub's key."""
        reply = decode_reply(result.reply)
        verifier = Verifier(self.authority.keys.signing.public)
        for ack in reply.acks:
            assert reply.hub == self.authority.member
            assert any(self._is_for(ack, entry.member, verifier) for entry in self.authority.membership.roster)
        return reply

    def _is_for(self, ack: Ack, sender: bytes, verifier: Verifier) -> bool:
        with contextlib.suppress(SignatureError):
            ack.verify(verifier, self.authority.fleet, sender)
            return True
        return False

    def metric(self, name: str, **labels: str) -> float:
        """A metric of the collector's, without its prefix; 0 where nothing was counted."""
        return self.registry.get_sample_value(f"peerwatch_collector_{name}", labels) or 0.0


def acked(reply: PushReply) -> list[tuple[int, int]]:
    """(epoch, seq) of everything acknowledged, sorted."""
    numbers = [(ack.epoch, seq) for ack in reply.acks for first, last in ack.runs for seq in range(first, last + 1)]
    return sorted(numbers)


def only_refusal(reply: PushReply) -> Refusal:
    """The one refusal of a reply that holds nothing else."""
    assert (acked(reply), reply.need_schemas, len(reply.refusals)) == ([], (), 1), reply
    return reply.refusals[0]


def wrap(payload: bytes, signature: bytes = bytes(64), seq: int = 0) -> bytes:
    """A push of one SignedMessage with any content."""
    raw = pb.SignedMessage(payload=payload, signature=signature, seq_no=seq).SerializeToString()
    return encode_request([raw], [], BOX)
