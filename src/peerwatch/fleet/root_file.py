"""RootFile: the root key on its way to a safe place and back, sealed with a passphrase or, if that is said, plain."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from peerwatch.errors import ConfigError, DecodeError
from peerwatch.fleet.files import read_private, write_private
from peerwatch.wire.identity import PrivateKey
from peerwatch.wire.passphrase import Sealed, seal, unseal

_VERSION = 1


class _Seal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    salt: bytes
    ops: int
    memory_bytes: int
    box: bytes
    kind: Literal["argon2id xsalsa20poly1305"] = "argon2id xsalsa20poly1305"


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Exactly one of `seed` and `sealed` is there."""

    fleet: str
    root: str
    version: int
    seed: str = ""
    sealed: _Seal | None = None


def export_root(path: Path, key: PrivateKey, fleet: bytes, passphrase: str) -> None:
    """Write the key to a new file, for its owner's eyes only; an empty passphrase writes it plain.

    Raises ConfigError when the file is there already, or the passphrase is too short.
    """
    if path.exists():
        raise ConfigError(f"{path} is there already; choose another name")
    made = _File(fleet.hex(), key.public.hex(), _VERSION)
    if passphrase:
        try:
            sealed = seal(key.seed, passphrase)
        except DecodeError as error:
            raise ConfigError(str(error)) from error
        box = _Seal(sealed.salt, sealed.ops, sealed.memory_bytes, sealed.box)
        made = msgspec.structs.replace(made, sealed=box)
    else:
        made = msgspec.structs.replace(made, seed=key.seed.hex())
    write_private(path, msgspec.json.format(msgspec.json.encode(made)) + b"\n")


def is_sealed(path: Path) -> bool:
    """Whether a passphrase is needed to read it. Raises ConfigError for what is no such file."""
    return _read(path).sealed is not None


def import_root(path: Path, passphrase: str) -> PrivateKey:
    """The key in a file. Raises ConfigError for what is no such file and for a wrong passphrase."""
    found = _read(path)
    try:
        seed = _unsealed(found.sealed, passphrase) if found.sealed is not None else bytes.fromhex(found.seed)
        key = PrivateKey(seed)
    except (DecodeError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error
    if key.public.hex() != found.root:
        raise ConfigError(f"{path} is damaged: its key is not the root that it names")
    return key


def _unsealed(box: _Seal, passphrase: str) -> bytes:
    return unseal(Sealed(box.salt, box.ops, box.memory_bytes, box.box), passphrase)


def _read(path: Path) -> _File:
    try:
        found = msgspec.json.decode(read_private(path), type=_File)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path} is no root key that peerwatch wrote: {error}") from error
    if found.version != _VERSION:
        raise ConfigError(f"{path} has version {found.version}, this peerwatch reads {_VERSION}")
    return found
