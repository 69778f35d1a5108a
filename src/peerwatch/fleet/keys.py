"""Keys: the two that every member holds, in files of mode 0600."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from peerwatch.errors import ConfigError, DecodeError
from peerwatch.fleet.files import read_private, write_private
from peerwatch.wire.identity import PrivateKey

_HEADER = b"peerwatch ed25519 seed v1\n"


@dataclass(frozen=True, slots=True)
class MemberKeys:
    """`peer` is who the member is (held by the process that faces the network), `signing` signs batches and acks."""

    peer: PrivateKey
    signing: PrivateKey


def load_or_create_keys(folder: Path) -> MemberKeys:
    """The member's keys in `folder`, made at the first start."""
    return MemberKeys(load_or_create_key(folder / "peer.key"), load_or_create_key(folder / "signing.key"))


def load_or_create_key(path: Path) -> PrivateKey:
    """The key in `path`; a new one is written there when there is none."""
    try:
        return load_key(path)
    except FileNotFoundError:
        key = PrivateKey.generate()
        save_key(path, key)
        return key


def save_key(path: Path, key: PrivateKey) -> None:
    """Write a key, for its owner's eyes only, in place of what is there. Raises StoreError."""
    write_private(path, _HEADER + key.seed.hex().encode() + b"\n")


def load_key(path: Path) -> PrivateKey:
    """The key in `path`. Raises ConfigError when the file is not one, FileNotFoundError when it is absent."""
    content = read_private(path)
    try:
        if not content.startswith(_HEADER):
            raise DecodeError("its first line is not that of a peerwatch key")
        return PrivateKey(bytes.fromhex(content[len(_HEADER) :].decode("ascii").strip()))
    except (DecodeError, ValueError) as error:
        raise ConfigError(f"{path} is not a key file: {error}") from error
