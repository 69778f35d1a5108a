"""Envelope: a batch with its sender, its number and its signature. What travels is what goes into the hub's WAL."""

from __future__ import annotations

from dataclasses import dataclass, replace

from peerwatch.errors import DecodeError
from peerwatch.wire import schema_pb2 as pb
from peerwatch.wire.batch import BaselineOf, WireBlock, decode_batch
from peerwatch.wire.compression import Codec, Compressor, Purpose, choose_codec
from peerwatch.wire.identity import KEY_BYTES, PrivateKey, Verifier
from peerwatch.wire.limits import DEFAULT_LIMITS, WireLimits
from peerwatch.wire.signed import Domain, parse_message, sign_message, split_message

FLEET_BYTES = 16
_MAX_NUMBER = (1 << 63) - 1  # fits a signed 64-bit integer everywhere


@dataclass(frozen=True, slots=True)
class Header:
    """Who speaks, and which number this is. (floor_epoch, floor_seq) is the lowest number still to come.

    Epochs start at 1. A floor of (0, 0) promises nothing; it travels, and is read back, as (1, 0).
    """

    fleet: bytes
    sender: bytes
    epoch: int
    seq: int
    floor_epoch: int
    floor_seq: int


@dataclass(frozen=True, slots=True)
class Envelope:
    """A parsed envelope. Nothing in it may be believed before `verify` has returned."""

    header: Header
    codec: Codec
    body_bytes: int
    body: bytes
    run_root: bytes
    payload: bytes
    signature: bytes

    def verify(self, verifier: Verifier) -> None:
        """Raise SignatureError unless `verifier`'s key signed exactly these bytes as a batch."""
        verifier.verify(Domain.BATCH.value + self.payload, self.signature)

    def open(
        self,
        compressor: Compressor,
        limits: WireLimits = DEFAULT_LIMITS,
        baseline_of: BaselineOf = lambda _: None,
    ) -> list[WireBlock]:
        """The blocks inside, decompressed within bounds. Raises DecodeError, as `decode_batch` does."""
        if self.body_bytes > limits.max_body_bytes:
            raise DecodeError(f"batch body of {self.body_bytes} bytes, limit {limits.max_body_bytes}")
        return decode_batch(compressor.decompress(self.body, self.codec, self.body_bytes), limits, baseline_of)


def seal(key: PrivateKey, header: Header, body: bytes, compressor: Compressor, run_root: bytes = b"") -> bytes:
    """The signed bytes of a batch: compressed by rule B21, numbered, signed with the sender's signing key."""
    codec = choose_codec(len(body), Purpose.BULK)
    same_epoch = header.floor_epoch == header.epoch
    if not header.floor_epoch:  # "no promise"; on the wire 0 means the envelope's own epoch, so the lowest there is
        header = replace(header, floor_epoch=1, floor_seq=0)
    signed = pb.Signed(
        fleet=header.fleet,
        sender=header.sender,
        epoch=header.epoch,
        seq_no=header.seq,
        floor_epoch=0 if same_epoch else header.floor_epoch,
        floor_seq=header.floor_seq,
        codec=codec.value,  # type: ignore[arg-type]  # the enum's numbers are the wire's
        body_bytes=len(body),
        body=compressor.compress(body, codec),
        run=run_root,
    )
    return sign_message(key, Domain.BATCH, signed.SerializeToString(), header.seq)


def parse_envelope(raw: bytes, limits: WireLimits = DEFAULT_LIMITS) -> Envelope:
    """Split an envelope without believing it: length first, then shape. Raises DecodeError or SignatureError."""
    if len(raw) > limits.max_envelope_bytes:
        raise DecodeError(f"batch envelope: {len(raw)} bytes, limit {limits.max_envelope_bytes}")
    payload, signature, seq_no = split_message(raw)
    signed = parse_message(pb.Signed, payload)
    header = Header(
        fleet=signed.fleet,
        sender=signed.sender,
        epoch=signed.epoch,
        seq=signed.seq_no,
        floor_epoch=signed.floor_epoch or signed.epoch,
        floor_seq=signed.floor_seq,
    )
    _check_header(header, seq_no)
    try:
        codec = Codec(signed.codec)
    except ValueError as error:
        raise DecodeError(f"compression codec {signed.codec} is unknown") from error
    return Envelope(header, codec, signed.body_bytes, signed.body, signed.run, payload, signature)


def _check_header(header: Header, outer_seq: int) -> None:
    if len(header.fleet) != FLEET_BYTES or len(header.sender) != KEY_BYTES:
        raise DecodeError(
            f"fleet of {len(header.fleet)} and sender of {len(header.sender)} bytes, "
            f"expected {FLEET_BYTES} and {KEY_BYTES}"
        )
    if header.seq != outer_seq:
        raise DecodeError(f"envelope is numbered {outer_seq} outside and {header.seq} inside")
    if not (0 < header.epoch <= _MAX_NUMBER and 0 <= header.seq <= _MAX_NUMBER):
        raise DecodeError(f"epoch {header.epoch}, seq {header.seq}: outside 1 (0) to {_MAX_NUMBER}")
    if (header.floor_epoch, header.floor_seq) > (header.epoch, header.seq):
        raise DecodeError(
            f"floor {header.floor_epoch}/{header.floor_seq} lies above the envelope {header.epoch}/{header.seq}"
        )
