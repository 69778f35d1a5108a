"""Ack: a hub's signed word that numbers of a sender are on disk. Nobody else can make an agent forget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from peerwatch.errors import DecodeError, SignatureError
from peerwatch.wire import merkle
from peerwatch.wire import schema_pb2 as pb
from peerwatch.wire.identity import PrivateKey, Verifier
from peerwatch.wire.signed import Domain, parse_message

_MAX_RUNS = 4096
SignedAck = pb.Ack
"""An ack ready for a reply."""


@dataclass(frozen=True, slots=True)
class AckBody:
    """`runs` are inclusive (first, last) sequence numbers of (sender, epoch) that are durable at the hub."""

    fleet: bytes
    sender: bytes
    epoch: int
    runs: tuple[tuple[int, int], ...]
    roster_version: int
    hub_time_ms: int


@dataclass(frozen=True, slots=True)
class Ack:
    """A parsed ack. Believe `body` only after `verify`."""

    body: AckBody
    hub: bytes
    raw_body: bytes
    path: tuple[bytes, ...]
    index: int
    signature: bytes

    def verify(self, verifier: Verifier) -> None:
        """Raise SignatureError unless the hub's key signed the group that this ack belongs to."""
        try:
            root = merkle.climb(merkle.leaf_hash(self.raw_body), self.index, self.path)
        except DecodeError as error:
            raise SignatureError(f"ack: {error}") from error
        verifier.verify(Domain.ACK.value + root, self.signature)


def sign_acks(key: PrivateKey, hub: bytes, bodies: Sequence[AckBody]) -> list[pb.Ack]:
    """Acks for one group commit under one signature: 33 us once instead of per ack, plus a short Merkle path each."""
    raws = [_encode_body(body) for body in bodies]
    rows = merkle.levels([merkle.leaf_hash(raw) for raw in raws])
    signature = key.sign(Domain.ACK.value + rows[-1][0])
    return [
        pb.Ack(body=raw, hub=hub, path=merkle.path(rows, index), index=index, signature=signature)
        for index, raw in enumerate(raws)
    ]


def _encode_body(body: AckBody) -> bytes:
    return pb.AckBody(
        fleet=body.fleet,
        sender=body.sender,
        epoch=body.epoch,
        runs=[pb.SeqRun(first=first, last=last) for first, last in body.runs],
        roster_version=body.roster_version,
        hub_time_ms=body.hub_time_ms,
    ).SerializeToString()


def parse_ack(message: pb.Ack) -> Ack:
    """The ack in a push reply, checked for shape only."""
    raw = parse_message(pb.AckBody, message.body)
    if len(raw.runs) > _MAX_RUNS:
        raise DecodeError(f"ack of {len(raw.runs)} runs, limit {_MAX_RUNS}")
    runs = tuple((run.first, run.last) for run in raw.runs)
    if any(first > last for first, last in runs):
        raise DecodeError("ack holds a run that ends before it starts")
    body = AckBody(raw.fleet, raw.sender, raw.epoch, runs, raw.roster_version, raw.hub_time_ms)
    return Ack(body, message.hub, message.body, tuple(message.path), message.index, message.signature)
