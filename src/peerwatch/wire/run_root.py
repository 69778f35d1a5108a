"""RunRoot: an agent's signature over a run of its batches, kept so that any one can be proved later."""

from __future__ import annotations

from dataclasses import dataclass

from peerwatch.errors import DecodeError
from peerwatch.wire import schema_pb2 as pb
from peerwatch.wire.identity import PrivateKey, Verifier
from peerwatch.wire.merkle import HASH_BYTES
from peerwatch.wire.signed import Domain, open_message, parse_message, sign_message


@dataclass(frozen=True, slots=True)
class RunRoot:
    """The Merkle root over the leaves of first_seq..last_seq (inclusive) of one epoch of `sender`."""

    fleet: bytes
    sender: bytes
    epoch: int
    first_seq: int
    last_seq: int
    root: bytes


def sign_run_root(key: PrivateKey, run: RunRoot) -> bytes:
    """The signed bytes that travel in a later envelope and stay beside the data."""
    payload = pb.RunRoot(
        fleet=run.fleet,
        sender=run.sender,
        epoch=run.epoch,
        first_seq=run.first_seq,
        last_seq=run.last_seq,
        root=run.root,
    ).SerializeToString()
    return sign_message(key, Domain.RUN_ROOT, payload)


def open_run_root(raw: bytes, verifier: Verifier) -> RunRoot:
    """The run root, once `verifier`'s signature holds. Raises DecodeError or SignatureError."""
    payload = open_message(raw, Domain.RUN_ROOT, verifier)
    run = parse_message(pb.RunRoot, payload)
    if len(run.root) != HASH_BYTES or run.first_seq > run.last_seq:
        raise DecodeError(f"run root over {run.first_seq}..{run.last_seq} with {len(run.root)} bytes of hash")
    return RunRoot(run.fleet, run.sender, run.epoch, run.first_seq, run.last_seq, run.root)
