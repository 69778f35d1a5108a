"""Passphrase: a secret sealed with words that people remember. The one door to libsodium's sealing."""

from __future__ import annotations

from dataclasses import dataclass

from nacl.exceptions import CryptoError
from nacl.pwhash import argon2id
from nacl.secret import SecretBox
from nacl.utils import random

from peerwatch.errors import DecodeError

LEAST_CHARS = 12  # what is sealed here may be tried offline, for ever
_OPS, _MEMORY_BYTES = 4, 64 << 20  # argon2id: a fifth of a second, and what the smallest hub can spare
_MOST_OPS, _MOST_MEMORY_BYTES = 64, 1 << 30  # of a file that somebody hands us
_LEAST_MEMORY_BYTES = argon2id.MEMLIMIT_MIN


@dataclass(frozen=True, slots=True)
class Sealed:
    """Ciphertext (XSalsa20-Poly1305, the nonce in front), and what argon2id needs to make its key again."""

    salt: bytes
    ops: int
    memory_bytes: int
    box: bytes


def seal(secret: bytes, passphrase: str) -> Sealed:
    """Seal a secret. Raises DecodeError for a passphrase that is too short."""
    if len(passphrase) < LEAST_CHARS:
        raise DecodeError(f"passphrase of {len(passphrase)} characters, at least {LEAST_CHARS} are needed")
    salt = random(argon2id.SALTBYTES)
    key = _key(passphrase, salt, _OPS, _MEMORY_BYTES)
    return Sealed(salt, _OPS, _MEMORY_BYTES, bytes(SecretBox(key).encrypt(secret)))


def unseal(sealed: Sealed, passphrase: str) -> bytes:
    """The secret. Raises DecodeError for a wrong passphrase, for damage, and for a cost that nobody should pay."""
    if len(sealed.salt) != argon2id.SALTBYTES or not 1 <= sealed.ops <= _MOST_OPS:
        raise DecodeError(
            f"argon2id with a salt of {len(sealed.salt)} bytes and {sealed.ops} rounds, limit {_MOST_OPS}"
        )
    if not _LEAST_MEMORY_BYTES <= sealed.memory_bytes <= _MOST_MEMORY_BYTES:
        raise DecodeError(f"argon2id with {sealed.memory_bytes} bytes of memory, limit {_MOST_MEMORY_BYTES}")
    try:
        key = _key(passphrase, sealed.salt, sealed.ops, sealed.memory_bytes)
        return bytes(SecretBox(key).decrypt(sealed.box))
    except CryptoError as error:
        raise DecodeError("the passphrase is wrong, or the file is damaged") from error


def _key(passphrase: str, salt: bytes, ops: int, memory_bytes: int) -> bytes:
    made: bytes = argon2id.kdf(SecretBox.KEY_SIZE, passphrase.encode(), salt, ops, memory_bytes)
    return made
