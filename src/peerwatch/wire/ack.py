"""Ack: a hub's signed word that numbers of a sender are on disk. Nobody else can make an agent forget."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from peerwatch.errors import DecodeError, SignatureError
from peerwatch.wire import merkle
from peerwatch.wire import schema_pb2 as pb
from peerwatch.wire.envelope import FLEET_BYTES
from peerwatch.wire.identity import KEY_BYTES, PrivateKey, Verifier
from peerwatch.wire.signed import Domain

_MAX_RUNS = 4096
_GROUP = 8  # acks under one signature: 4 us each, and three steps of 34 bytes to the root
_LEAF = struct.Struct(f"<{FLEET_BYTES}s{KEY_BYTES}sQQI")
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


@dataclass(frozen=True, slots=True)
class Ack:
    """A parsed ack. Believe it only after `verify`."""

    epoch: int
    runs: tuple[tuple[int, int], ...]
    roster_version: int
    path: tuple[bytes, ...]
    index: int
    signature: bytes

    def verify(self, verifier: Verifier, fleet: bytes, sender: bytes) -> None:
        """Raise SignatureError unless the hub's key signed the group that this ack, to this sender, belongs to."""
        leaf = _leaf(AckBody(fleet, sender, self.epoch, self.runs, self.roster_version))
        try:
            root = merkle.climb(leaf, self.index, self.path)
        except DecodeError as error:
            raise SignatureError(f"ack: {error}") from error
        verifier.verify(Domain.ACK.value + root, self.signature)


def sign_acks(key: PrivateKey, bodies: Sequence[AckBody]) -> list[SignedAck]:
    """Acks for one group commit, eight under one signature, which takes 33 us."""
    signed: list[SignedAck] = []
    for start in range(0, len(bodies), _GROUP):
        signed += _sign_group(key, bodies[start : start + _GROUP])
    return signed


def _sign_group(key: PrivateKey, bodies: Sequence[AckBody]) -> list[SignedAck]:
    rows = merkle.levels([_leaf(body) for body in bodies])
    signature = key.sign(Domain.ACK.value + rows[-1][0])
    return [
        pb.Ack(
            epoch=body.epoch,
            runs=[pb.SeqRun(first=first, last=last) for first, last in body.runs],
            roster_version=body.roster_version,
            path=merkle.path(rows, index),
            index=index,
            signature=signature,
        )
        for index, body in enumerate(bodies)
    ]


def _leaf(body: AckBody) -> bytes:
    """The hash of what is signed; docs/formats/envelope.md has the layout."""
    head = _LEAF.pack(body.fleet, body.sender, body.epoch, body.roster_version, len(body.runs))
    return merkle.leaf_hash(head + struct.pack(f"<{2 * len(body.runs)}Q", *chain.from_iterable(body.runs)))


def parse_ack(message: pb.Ack) -> Ack:
    """The ack in a push reply, checked for shape only."""
    if len(message.runs) > _MAX_RUNS:
        raise DecodeError(f"ack of {len(message.runs)} runs, limit {_MAX_RUNS}")
    runs = tuple((run.first, run.last) for run in message.runs)
    if any(first > last for first, last in runs):
        raise DecodeError("ack holds a run that ends before it starts")
    return Ack(message.epoch, runs, message.roster_version, tuple(message.path), message.index, message.signature)
