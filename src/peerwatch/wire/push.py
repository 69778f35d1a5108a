"""Push: the request and the reply of delivering envelopes, the same over every link."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from math import ceil

from peerwatch.errors import DecodeError
from peerwatch.wire import schema_pb2 as pb
from peerwatch.wire.ack import Ack, parse_ack
from peerwatch.wire.compression import Codec, Compressor, Purpose, choose_codec
from peerwatch.wire.limits import DEFAULT_LIMITS, WireLimits
from peerwatch.wire.signed import parse_message

_MAX_REPLY_ITEMS = 4096
_MAX_WAIT_MS = (1 << 32) - 1


class RefusalReason(IntEnum):
    """Why a hub did not take an envelope; the numbers are those of the wire."""

    UNSPECIFIED = 0
    MALFORMED = 1
    SIGNATURE = 2
    NOT_A_MEMBER = 3
    WRONG_FLEET = 4
    CLONED = 5
    QUOTA = 6
    FUTURE = 7
    TOO_OLD = 8
    STORE = 9
    SERIES_LIMIT = 10

    @property
    def final(self) -> bool:
        """Whether the same envelope is refused however often it comes: the sender counts it as lost and goes on."""
        return self in (RefusalReason.MALFORMED, RefusalReason.TOO_OLD)

    @property
    def of_one_batch(self) -> bool:
        """Whether it says nothing of the batches beside it, nor of the hub; of the others all suffer alike."""
        return self.final or self in (RefusalReason.FUTURE, RefusalReason.CLONED, RefusalReason.SERIES_LIMIT)


@dataclass(frozen=True, slots=True)
class Refusal:
    """One envelope that was not stored, and why; `wait_s` is how long to wait where waiting helps."""

    epoch: int
    seq: int
    reason: RefusalReason
    message: str
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class PushReply:
    """What a hub answers: acks for what is durable, names of schemas it lacks, refusals for the rest."""

    acks: tuple[Ack, ...] = ()
    need_schemas: tuple[bytes, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    hub_time_ms: int = 0
    hub: bytes = b""
    """The member id of the hub that says all this."""


@dataclass(slots=True)
class ReplyDraft:
    """A reply in the making, on the hub. Owned by the request that it answers."""

    hub_time_ms: int
    hub: bytes
    acks: list[pb.Ack] = field(default_factory=list)
    need_schemas: list[bytes] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)

    def encode(self) -> bytes:
        """The serialised PushReply."""
        refusals = [
            pb.Refusal(
                epoch=one.epoch,
                seq_no=one.seq,
                reason=one.reason.value,  # type: ignore[arg-type]  # the enum's numbers are the wire's
                message=one.message[:500],
                wait_ms=min(ceil(one.wait_s * 1000), _MAX_WAIT_MS),
            )
            for one in self.refusals
        ]
        return pb.PushReply(
            acks=self.acks,
            need_schemas=self.need_schemas,
            refusals=refusals,
            hub_time_ms=self.hub_time_ms,
            hub=self.hub,
        ).SerializeToString()


def encode_request(envelopes: Sequence[bytes], schemas: Sequence[bytes], compressor: Compressor) -> bytes:
    """A serialised PushRequest; schemas, which are text, are compressed together as one."""
    packed: list[bytes] = []
    codec = Codec.NONE
    if schemas:
        codec = choose_codec(sum(map(len, schemas)), Purpose.BULK)
        packed = [_with_length(compressor.compress(one, codec), len(one)) for one in schemas]
    return pb.PushRequest(
        envelopes=envelopes,
        schemas=packed,
        schema_codec=codec.value,  # type: ignore[arg-type]  # the enum's numbers are the wire's
    ).SerializeToString()


def _with_length(data: bytes, size_bytes: int) -> bytes:
    return size_bytes.to_bytes(4, "little") + data


@dataclass(frozen=True, slots=True)
class PushedRecords:
    """The schema records of a push as they came: unsigned, compressed, unread until somebody who is known needs one."""

    codec: int = 0
    packed: tuple[bytes, ...] = ()

    @property
    def size_bytes(self) -> int:
        """What `unpack` will cost: the larger of what came and what it claims to become."""
        return sum(max(len(one), int.from_bytes(one[:4], "little")) for one in self.packed)

    def unpack(self, compressor: Compressor, limits: WireLimits = DEFAULT_LIMITS) -> list[bytes]:
        """The records. Raises DecodeError past the limit, or for anything that is not what its codec says."""
        if self.size_bytes > limits.max_body_bytes or any(len(one) < 4 for one in self.packed):
            raise DecodeError(
                f"schemas of {self.size_bytes} bytes in one push, limit {limits.max_body_bytes}, or one is cut short"
            )
        try:
            codec = Codec(self.codec)
        except ValueError as error:
            raise DecodeError(f"compression codec {self.codec} is unknown") from error
        return [compressor.decompress(one[4:], codec, int.from_bytes(one[:4], "little")) for one in self.packed]


@dataclass(frozen=True, slots=True)
class PushRequest:
    """Envelopes, and the schemas that the hub asked for."""

    envelopes: tuple[bytes, ...]
    schemas: PushedRecords = PushedRecords()


def decode_request(raw: bytes, limits: WireLimits = DEFAULT_LIMITS) -> PushRequest:
    """The parts of a push; nothing in them is looked at. Raises DecodeError past any limit."""
    if len(raw) > limits.max_request_bytes:
        raise DecodeError(f"push of {len(raw)} bytes, limit {limits.max_request_bytes}")
    request = parse_message(pb.PushRequest, raw)
    if len(request.envelopes) > limits.max_envelopes or len(request.schemas) > limits.max_schemas:
        raise DecodeError(
            f"push of {len(request.envelopes)} envelopes and {len(request.schemas)} schemas, "
            f"limits {limits.max_envelopes} and {limits.max_schemas}"
        )
    if not request.schemas:
        return PushRequest(tuple(request.envelopes))
    return PushRequest(tuple(request.envelopes), PushedRecords(request.schema_codec, tuple(request.schemas)))


def decode_reply(raw: bytes, limits: WireLimits = DEFAULT_LIMITS) -> PushReply:
    """A hub's answer, checked for shape; its acks are not verified yet."""
    if len(raw) > limits.max_request_bytes:
        raise DecodeError(f"push reply of {len(raw)} bytes, limit {limits.max_request_bytes}")
    reply = parse_message(pb.PushReply, raw)
    if max(len(reply.acks), len(reply.need_schemas), len(reply.refusals)) > _MAX_REPLY_ITEMS:
        raise DecodeError(f"push reply with more than {_MAX_REPLY_ITEMS} items")
    return PushReply(
        acks=tuple(parse_ack(ack) for ack in reply.acks),
        need_schemas=tuple(reply.need_schemas),
        refusals=tuple(_refusal(one) for one in reply.refusals),
        hub_time_ms=reply.hub_time_ms,
        hub=reply.hub,
    )


def _refusal(one: pb.Refusal) -> Refusal:
    try:
        reason = RefusalReason(int(one.reason))
    except ValueError:  # a newer hub's reason; the message still says it
        reason = RefusalReason.UNSPECIFIED
    return Refusal(one.epoch, one.seq_no, reason, one.message, one.wait_ms / 1000)
