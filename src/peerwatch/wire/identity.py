"""Identity: Ed25519 keys, and the libp2p peer id that follows from one. The one door to the signature library.

PyNaCl (libsodium) signs in 33 us and verifies in 63 us where OpenSSL takes 45 and 119: docs/decisions/0003.
"""

from __future__ import annotations

import base58
from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey

from peerwatch.errors import DecodeError, SignatureError

KEY_BYTES = 32
SIGNATURE_BYTES = 64

# libp2p peer ids: identity multihash (0x00, length 0x24) of the protobuf PublicKey{Type: Ed25519, Data: 32 bytes}.
_PEER_ID_PREFIX = bytes.fromhex("0024080112 20")
_MAX_PEER_ID_CHARS = 64


class PrivateKey:
    """An Ed25519 key pair. Never printed, never logged: `repr` shows the public half."""

    __slots__ = ("_key", "public")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != KEY_BYTES:
            raise DecodeError(f"Ed25519 seed of {len(seed)} bytes, expected {KEY_BYTES}")
        self._key = SigningKey(seed)
        self.public = bytes(self._key.verify_key)

    @classmethod
    def generate(cls) -> PrivateKey:
        """A new key from the system's random source."""
        return cls(bytes(SigningKey.generate()))

    @property
    def seed(self) -> bytes:
        """The secret half, for the key file only."""
        return bytes(self._key)

    def sign(self, message: bytes) -> bytes:
        """64 bytes of Ed25519 signature over `message`."""
        return self._key.sign(message).signature

    def __repr__(self) -> str:
        return f"PrivateKey({peer_id(self.public)})"


class Verifier:
    """The public half of somebody's key, ready to check many signatures."""

    __slots__ = ("public",)

    def __init__(self, public: bytes) -> None:
        if len(public) != KEY_BYTES:
            raise DecodeError(f"Ed25519 public key of {len(public)} bytes, expected {KEY_BYTES}")
        self.public = public

    def verify(self, message: bytes, signature: bytes) -> None:
        """Return quietly when `signature` is this key's over `message`; else raise SignatureError."""
        if len(signature) != SIGNATURE_BYTES:
            raise SignatureError(f"signature of {len(signature)} bytes, expected {SIGNATURE_BYTES}")
        try:
            crypto_sign_open(signature + message, self.public)  # what VerifyKey.verify does, less 3 us of wrapping
        except BadSignatureError as error:
            raise SignatureError(f"signature does not verify with key {peer_id(self.public)}") from error


def peer_id(public: bytes) -> str:
    """libp2p's text form of an Ed25519 public key: 12D3Koo…"""
    return base58.b58encode(_PEER_ID_PREFIX + public).decode()


def peer_id_bytes(public: bytes) -> bytes:
    """libp2p's binary form of an Ed25519 public key: its identity multihash."""
    return _PEER_ID_PREFIX + public


def public_key_in(raw: bytes) -> bytes:
    """The public key that a binary peer id holds. Raises DecodeError for anything else than an Ed25519 peer id."""
    if len(raw) != len(_PEER_ID_PREFIX) + KEY_BYTES or not raw.startswith(_PEER_ID_PREFIX):
        raise DecodeError(f"peer id of {len(raw)} bytes does not hold an Ed25519 key")
    return raw[len(_PEER_ID_PREFIX) :]


def public_key_of(text: str) -> bytes:
    """The public key that a peer id holds. Raises DecodeError for anything else than an Ed25519 peer id."""
    if len(text) > _MAX_PEER_ID_CHARS:
        raise DecodeError(f"peer id of {len(text)} characters, limit {_MAX_PEER_ID_CHARS}")
    try:
        raw = base58.b58decode(text)
    except ValueError as error:
        raise DecodeError(f"peer id {text!r} is not base58") from error
    if len(raw) != len(_PEER_ID_PREFIX) + KEY_BYTES or not raw.startswith(_PEER_ID_PREFIX):
        raise DecodeError(f"peer id {text!r} does not hold an Ed25519 key")
    return raw[len(_PEER_ID_PREFIX) :]
