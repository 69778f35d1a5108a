"""Run: an agent's signature over a row of its batches, kept beside the data so that any one can be proved later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from peerwatch.errors import DecodeError, PeerError, SignatureError
from peerwatch.model import Dropped
from peerwatch.wire import merkle
from peerwatch.wire import schema_pb2 as pb
from peerwatch.wire.identity import KEY_BYTES, PrivateKey, Verifier
from peerwatch.wire.leaf import LEAF_BYTES
from peerwatch.wire.signed import Domain, open_message, parse_message, sign_message

MAX_RUN_BATCHES = 256  # an agent signs after 64; more in one run is an attack on a reader's time
MAX_DROPPED = 64  # stretches that one run tells of; an agent with more tells them in several
_MAX_RECEIVERS = 16  # as many as a spool serves
_MAX_RECEIVER_BYTES = 200
NEVER_SENT = bytes(LEAF_BYTES)
"""The leaf of a number that was used up and not sent: the batch was lost before the spool."""
_MAX_NUMBER = (1 << 63) - 1

Place = tuple[int, int]
"""(epoch, seq)."""


@dataclass(frozen=True, slots=True)
class RunRoot:
    """What is signed: the Merkle root over the leaves of first_seq..last_seq (inclusive) of one epoch of `sender`.

    `before` is the place of the last batch of the sender's run before this one; (0, 0) when it knows of none. So a run
    that was taken out leaves a gap. `dropped` is what the sender gave up and had not told of for sure.
    """

    fleet: bytes
    sender: bytes
    epoch: int
    first_seq: int
    last_seq: int
    root: bytes
    before: Place = (0, 0)
    dropped: tuple[Dropped, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """A signed root and the leaves below it, which hash to it."""

    root: RunRoot
    leaves: tuple[bytes, ...]


def sign_run(
    key: PrivateKey,
    fleet: bytes,
    sender: bytes,
    first: Place,
    leaves: Sequence[bytes],
    before: Place,
    dropped: Sequence[Dropped] = (),
) -> bytes:
    """The bytes that travel in an envelope and stay beside the data: a run that begins at `first`.

    Of `dropped` a reader takes MAX_DROPPED at most.
    """
    epoch, first_seq = first
    payload = pb.RunRoot(
        fleet=fleet,
        sender=sender,
        epoch=epoch,
        first_seq=first_seq,
        last_seq=first_seq + len(leaves) - 1,
        root=_root_over(leaves),
        before_epoch=before[0],
        before_seq=before[1],
        dropped=[
            pb.Dropped(epoch=one.epoch, first_seq=one.first, last_seq=one.last, receivers=one.receivers)
            for one in dropped
        ],
    ).SerializeToString()
    signed = sign_message(key, Domain.RUN_ROOT, payload)
    return pb.Run(signed=signed, leaves=b"".join(leaves)).SerializeToString()


def open_run(raw: bytes, verifier: Verifier) -> Run:
    """The run, once its signature holds and the leaves hash to its root. Raises DecodeError or SignatureError."""
    run = parse_message(pb.Run, raw)
    if not 0 < len(run.leaves) <= LEAF_BYTES * MAX_RUN_BATCHES or len(run.leaves) % LEAF_BYTES:
        raise DecodeError(
            f"run with {len(run.leaves)} bytes of leaves, must be {LEAF_BYTES} each, 1 to {MAX_RUN_BATCHES} of them"
        )
    told = parse_message(pb.RunRoot, open_message(run.signed, Domain.RUN_ROOT, verifier))
    before = (told.before_epoch, told.before_seq)
    dropped = _dropped(told)
    root = RunRoot(told.fleet, told.sender, told.epoch, told.first_seq, told.last_seq, told.root, before, dropped)
    leaves = tuple(run.leaves[at : at + LEAF_BYTES] for at in range(0, len(run.leaves), LEAF_BYTES))
    _check(root, leaves)
    return Run(root, leaves)


def is_first_format(raw: bytes, verifier: Verifier) -> bool:
    """Whether it is a root that `verifier`'s key signed before leaves could be made again: true, and of no use."""
    try:
        open_message(raw, Domain.RUN_ROOT_1, verifier)
    except PeerError:
        return False
    return True


def _dropped(told: pb.RunRoot) -> tuple[Dropped, ...]:
    if len(told.dropped) > MAX_DROPPED:
        raise DecodeError(f"run tells of {len(told.dropped)} dropped stretches, limit {MAX_DROPPED}")
    found = []
    for one in told.dropped:
        numbers = f"dropped {one.epoch}/{one.first_seq}..{one.last_seq}"
        if not 0 < one.epoch <= _MAX_NUMBER or not one.first_seq <= one.last_seq <= _MAX_NUMBER:
            raise DecodeError(f"{numbers}: outside what numbers may be")
        receivers = tuple(one.receivers)
        if len(receivers) > _MAX_RECEIVERS or any(len(name.encode()) > _MAX_RECEIVER_BYTES for name in receivers):
            raise DecodeError(
                f"{numbers}: {len(receivers)} receivers, limit {_MAX_RECEIVERS} of {_MAX_RECEIVER_BYTES} bytes"
            )
        found.append(Dropped(one.epoch, one.first_seq, one.last_seq, receivers))
    return tuple(found)


def _check(root: RunRoot, leaves: Sequence[bytes]) -> None:
    numbers = f"run {root.epoch}/{root.first_seq}..{root.last_seq}"
    if len(root.sender) != KEY_BYTES or not 0 < root.epoch <= _MAX_NUMBER or root.last_seq > _MAX_NUMBER:
        raise DecodeError(f"{numbers} of a sender of {len(root.sender)} bytes: outside what numbers and names may be")
    if root.last_seq - root.first_seq + 1 != len(leaves):
        raise DecodeError(f"{numbers} has {len(leaves)} leaves")
    if root.before >= (root.epoch, root.first_seq):
        raise DecodeError(f"{numbers} follows {root.before[0]}/{root.before[1]}, which is no earlier number")
    if root.root != _root_over(leaves):
        raise SignatureError(f"{numbers}: its leaves do not hash to the signed root")


def _root_over(leaves: Sequence[bytes]) -> bytes:
    return merkle.root([merkle.leaf_hash(leaf) for leaf in leaves])
