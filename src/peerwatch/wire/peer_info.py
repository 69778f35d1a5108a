"""PeerInfo: where a peer is and what it says of itself, signed by the peer's own key (requirement B19)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from peerwatch.errors import DecodeError
from peerwatch.wire import schema_pb2 as pb
from peerwatch.wire.identity import PrivateKey, Verifier, peer_id_bytes, public_key_in
from peerwatch.wire.limits import DEFAULT_PEER_LIMITS, PeerLimits
from peerwatch.wire.signed import Domain, parse_message, split_message

_AROUND_BYTES = 1_024  # signature, peer id and the few bytes in front of each field


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """`public` is the key that the peer id holds; `multiaddrs` are in libp2p's binary form."""

    public: bytes
    multiaddrs: tuple[bytes, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)


def seal_peer_info(key: PrivateKey, multiaddrs: tuple[bytes, ...], metadata: Mapping[str, str], seq_no: int) -> bytes:
    """The signed bytes of what the peer that holds `key` says. A higher `seq_no` takes the place of a lower one."""
    info = PeerInfo(key.public, multiaddrs, metadata)
    _check(info, DEFAULT_PEER_LIMITS)
    payload = pb.PeerInfo(
        peer_id=peer_id_bytes(info.public), multiaddrs=info.multiaddrs, metadata=dict(info.metadata)
    ).SerializeToString(deterministic=True)
    signature = key.sign(_canonical(payload, seq_no))
    return pb.SignedMessage(payload=payload, signature=signature, seq_no=seq_no).SerializeToString()


def open_peer_info(raw: bytes, limits: PeerLimits = DEFAULT_PEER_LIMITS) -> tuple[PeerInfo, int]:
    """The info and its number, once the peer that it is about is known to have signed it.

    Raises DecodeError when it is no such thing or too large, SignatureError when somebody else says it.
    """
    most = limits.max_multiaddrs * (limits.max_multiaddr_bytes + 4) + limits.max_metadata_bytes + _AROUND_BYTES
    if len(raw) > most:
        raise DecodeError(f"peer info: {len(raw)} bytes, limit {most}")
    payload, signature, seq_no = split_message(raw)
    message = parse_message(pb.PeerInfo, payload)
    info = PeerInfo(public_key_in(message.peer_id), tuple(message.multiaddrs), dict(message.metadata))
    _check(info, limits)
    Verifier(info.public).verify(_canonical(payload, seq_no), signature)
    return info, seq_no


def _canonical(payload: bytes, seq_no: int) -> bytes:
    """The number is signed too: else an old address could be given out as the newest one."""
    if not 0 <= seq_no < 1 << 64:
        raise DecodeError(f"peer info number {seq_no}, limit 0 to {(1 << 64) - 1}")
    return Domain.PEER_INFO.value + seq_no.to_bytes(8, "little") + payload


def _check(info: PeerInfo, limits: PeerLimits) -> None:
    if len(info.multiaddrs) > limits.max_multiaddrs:
        raise DecodeError(f"peer info: {len(info.multiaddrs)} addresses, limit {limits.max_multiaddrs}")
    longest = max((len(one) for one in info.multiaddrs), default=0)
    if longest > limits.max_multiaddr_bytes:
        raise DecodeError(f"peer info: address of {longest} bytes, limit {limits.max_multiaddr_bytes}")
    if len(info.metadata) > limits.max_metadata:
        raise DecodeError(f"peer info: {len(info.metadata)} entries of metadata, limit {limits.max_metadata}")
    size = sum(len(key.encode()) + len(value.encode()) for key, value in info.metadata.items())
    if size > limits.max_metadata_bytes:
        raise DecodeError(f"peer info: {size} bytes of metadata, limit {limits.max_metadata_bytes}")
