"""Signed messages (requirement B33): bytes, a signature over them, and a domain so that no signature serves twice."""

from __future__ import annotations

from enum import Enum
from typing import TypeVar

from google.protobuf.message import DecodeError as ProtobufError
from google.protobuf.message import Message

from peerwatch.errors import DecodeError, SignatureError
from peerwatch.wire.identity import SIGNATURE_BYTES, PrivateKey, Verifier
from peerwatch.wire.schema_pb2 import SignedMessage

M = TypeVar("M", bound=Message)


class Domain(Enum):
    """What a signature is for; the value goes in front of what is signed."""

    BATCH = b"peerwatch/batch/1\n"
    ACK = b"peerwatch/ack/1\n"
    RUN_ROOT_1 = b"peerwatch/run-root/1\n"
    RUN_ROOT = b"peerwatch/run-root/2\n"
    HUB_CERTIFICATE = b"peerwatch/hub-certificate/1\n"
    ROOT_ROTATION = b"peerwatch/root-rotation/1\n"
    ROSTER_ENTRY = b"peerwatch/roster-entry/1\n"
    ENROL = b"peerwatch/enrol/1\n"
    BLOCK = b"peerwatch/block/1\n"
    PEER_INFO = b"peerwatch/peer-info/1\n"
    ROSTER_QUESTION = b"peerwatch/roster-question/1\n"
    HUB_NEWS = b"peerwatch/hub-news/1\n"
    PARTNER_LIST = b"peerwatch/partner-list/1\n"
    BANS = b"peerwatch/bans/1\n"


def parse_message(kind: type[M], raw: bytes) -> M:
    """`raw` as a message of this kind. Raises DecodeError for anything that is not protobuf."""
    try:
        return kind.FromString(raw)
    except ProtobufError as error:
        raise DecodeError(f"{kind.DESCRIPTOR.name} of {len(raw)} bytes is not protobuf") from error


def sign_message(key: PrivateKey, domain: Domain, payload: bytes, seq_no: int = 0) -> bytes:
    """A serialised SignedMessage around `payload`."""
    message = SignedMessage(payload=payload, signature=key.sign(domain.value + payload), seq_no=seq_no)
    return message.SerializeToString()


def split_message(raw: bytes) -> tuple[bytes, bytes, int]:
    """(payload, signature, seq_no) of a serialised SignedMessage; nothing is verified yet."""
    message = parse_message(SignedMessage, raw)
    if len(message.signature) != SIGNATURE_BYTES:
        raise SignatureError(f"signature of {len(message.signature)} bytes, expected {SIGNATURE_BYTES}")
    return message.payload, message.signature, message.seq_no


def open_message(raw: bytes, domain: Domain, verifier: Verifier) -> bytes:
    """The payload of a SignedMessage, once its signature by `verifier` for `domain` holds."""
    payload, signature, _ = split_message(raw)
    verifier.verify(domain.value + payload, signature)
    return payload
