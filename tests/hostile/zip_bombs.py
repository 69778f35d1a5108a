"""A member sends batches of a few kilobytes that unpack to gigabytes, rightly signed."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import zstandard

from peerwatch.node.connection import Stream
from peerwatch.wire import schema_pb2 as pb
from peerwatch.wire.compression import Codec
from peerwatch.wire.signed import Domain, sign_message
from tests.hostile.knocking import as_member, push
from tests.hostile.plan import Plan

_TRUE_BYTES = 1 << 30
_SAID_BYTES = (1000, 7 << 20, _TRUE_BYTES, 1 << 62)


def _bomb() -> bytes:
    stream = zstandard.ZstdCompressor(level=1).compressobj()
    chunk = bytes(1 << 20)
    return b"".join(stream.compress(chunk) for _ in range(_TRUE_BYTES >> 20)) + stream.flush()


async def attack(plan: Plan) -> None:
    """With the size that it has, and with smaller and larger ones."""
    body, epoch, number = _bomb(), time.time_ns() // 1_000_000, 0

    async def throw(open_stream: Callable[[str], Awaitable[Stream]]) -> None:
        nonlocal number
        number += 1
        signed = pb.Signed(
            fleet=plan.fleet,
            sender=plan.key.public,
            epoch=epoch,
            seq_no=number,
            codec=Codec.ZSTD.value,  # type: ignore[arg-type]
            body_bytes=_SAID_BYTES[number % len(_SAID_BYTES)],
            body=body,
        )
        envelope = sign_message(plan.key, Domain.BATCH, signed.SerializeToString(), number)
        await push(open_stream, pb.PushRequest(envelopes=[envelope]).SerializeToString())

    await as_member(plan, throw)
