"""Block: content that peers keep for each other for a while, named by its hash and signed (requirement B18)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from hashlib import sha256

from peerwatch.errors import DecodeError, SignatureError
from peerwatch.wire import schema_pb2 as pb
from peerwatch.wire.identity import SIGNATURE_BYTES, PrivateKey, Verifier
from peerwatch.wire.limits import DEFAULT_PEER_LIMITS, PeerLimits
from peerwatch.wire.merkle import HASH_BYTES
from peerwatch.wire.signed import Domain, parse_message

VERSION = 1
_SIGNED = struct.Struct(f"<{HASH_BYTES}sqII")
_AROUND_BYTES = 256  # what a Block has besides its data: 130 bytes, and room for fields of later versions
_AHEAD_MS = 600_000  # as for batches: past this the maker's clock is wrong


@dataclass(frozen=True, slots=True)
class Block:
    """Believe nothing in it before `open_block` has returned it. `ttl_s` counts from `time_ms`."""

    hash: bytes
    data: bytes
    time_ms: int
    ttl_s: int
    signature: bytes

    @property
    def expires_ms(self) -> int:
        """From when on it must not be used or passed on."""
        return self.time_ms + self.ttl_s * 1000


def seal_block(
    key: PrivateKey, data: bytes, time_ms: int, ttl_s: int, limits: PeerLimits = DEFAULT_PEER_LIMITS
) -> tuple[Block, bytes]:
    """A block around `data` and its bytes. Raises DecodeError for what `open_block` would refuse."""
    digest = sha256(data).digest()
    block = Block(digest, data, time_ms, ttl_s, key.sign(_canonical(digest, time_ms, ttl_s, VERSION)))
    _check_bounds(block, limits)
    message = pb.Block(hash=digest, data=data, timestamp=time_ms, ttl=ttl_s, version=VERSION, signature=block.signature)
    return block, message.SerializeToString()


def open_block(raw: bytes, verifier: Verifier, now_ms: int, limits: PeerLimits = DEFAULT_PEER_LIMITS) -> Block:
    """The block in `raw`, cheapest check first: length, shape, time, hash, signature.

    Raises DecodeError for what is no block, too large, too old or from the future, SignatureError when hash or
    signature do not hold.
    """
    if len(raw) > limits.max_block_bytes + _AROUND_BYTES:
        raise DecodeError(f"block: {len(raw)} bytes, limit {limits.max_block_bytes + _AROUND_BYTES}")
    message = parse_message(pb.Block, raw)
    if message.version != VERSION:
        raise DecodeError(f"block of version {message.version}, this program reads {VERSION}")
    block = Block(message.hash, message.data, message.timestamp, message.ttl, message.signature)
    _check_bounds(block, limits)
    _check_time(block, now_ms)
    if sha256(block.data).digest() != block.hash:
        raise SignatureError(f"block {block.hash.hex()[:16]}…: its {len(block.data)} bytes have another hash")
    verifier.verify(_canonical(block.hash, block.time_ms, block.ttl_s, VERSION), block.signature)
    return block


def _canonical(digest: bytes, time_ms: int, ttl_s: int, version: int) -> bytes:
    """What the signature is over: every field but `data`, which the hash stands for. docs/formats/messages.md."""
    try:
        return Domain.BLOCK.value + _SIGNED.pack(digest, time_ms, ttl_s, version)
    except struct.error as error:
        raise DecodeError(f"block of time {time_ms} ms, ttl {ttl_s} s: outside their 64 and 32 bits") from error


def _check_bounds(block: Block, limits: PeerLimits) -> None:
    if len(block.data) > limits.max_block_bytes:
        raise DecodeError(f"block data: {len(block.data)} bytes, limit {limits.max_block_bytes}")
    if len(block.hash) != HASH_BYTES or len(block.signature) != SIGNATURE_BYTES:
        raise DecodeError(
            f"block with a hash of {len(block.hash)} and a signature of {len(block.signature)} bytes, "
            f"expected {HASH_BYTES} and {SIGNATURE_BYTES}"
        )
    if not 1 <= block.ttl_s <= limits.max_block_ttl_s:
        raise DecodeError(f"block ttl: {block.ttl_s} s, limit 1 to {limits.max_block_ttl_s}")
    if block.time_ms < 0:
        raise DecodeError(f"block timestamp: {block.time_ms} ms, limit 0")


def _check_time(block: Block, now_ms: int) -> None:
    if block.time_ms > now_ms + _AHEAD_MS:
        raise DecodeError(f"block timestamp: {block.time_ms} ms, limit {now_ms + _AHEAD_MS}: it is from the future")
    if now_ms >= block.expires_ms:
        raise DecodeError(f"block expired at {block.expires_ms} ms, it is {now_ms} ms")
