"""BanFile: the bans on disk, so that they survive a restart. docs/formats/bans.md has the format."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from zlib import crc32

import msgspec

from peerwatch.errors import CorruptionError, DecodeError, StoreError
from peerwatch.fleet.files import read_private, write_private
from peerwatch.node.bans import Ban, checked_ban

_MAGIC = b"peerwatch bans"
_VERSION = 1
_MAX_BYTES = 64 << 20  # ten times what the largest allowed number of bans takes; more is not ours


class _Record(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One line. Its keys are the format."""

    subject: str
    reason: str
    by: str
    version: int
    expires_ms: int
    lifted: bool = False


def save_bans(path: Path, bans: Iterable[Ban]) -> None:
    """Replace the file at once and durably: a crash leaves the old one or the new one. Raises StoreError."""
    lines = [
        msgspec.json.encode(_Record(one.subject, one.reason, one.by, one.version, one.expires_ms, one.lifted))
        for one in bans
    ]
    body = b"".join(line + b"\n" for line in lines)
    write_private(path, b"%s %d %08x\n%s" % (_MAGIC, _VERSION, crc32(body), body))


def load_bans(path: Path) -> list[Ban]:
    """What the file holds; nothing when there is none.

    Raises StoreError when it cannot be read or is of another version, CorruptionError when it is damaged; both name the
    file. A node must not start without its bans, so neither is ever taken for an empty list.
    """
    try:
        content = read_private(path)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"cannot read bans from {path}: {error.strerror}") from error
    try:
        return _decode(content)
    except _OtherVersionError as error:
        raise StoreError(f"{path}: {error}") from error
    except (DecodeError, msgspec.DecodeError, ValueError) as error:
        raise CorruptionError(
            f"bans in {path} are damaged: {error}. Restore the file, or remove it to start without bans"
        ) from error


class _OtherVersionError(Exception):
    """Written by a later program."""


def _decode(content: bytes) -> list[Ban]:
    if len(content) > _MAX_BYTES:
        raise DecodeError(f"{len(content)} bytes, limit {_MAX_BYTES}")
    head, newline, body = content.partition(b"\n")
    words = head.rsplit(b" ", 2)
    if not newline or len(words) != 3 or words[0] != _MAGIC:
        raise DecodeError("its first line is not that of a file of bans")
    if int(words[1]) != _VERSION:
        raise _OtherVersionError(f"bans of format {int(words[1])}, this program reads {_VERSION}")
    if int(words[2], 16) != crc32(body):
        raise DecodeError(f"checksum {crc32(body):08x}, expected {words[2].decode(errors='replace')}")
    records = [msgspec.json.decode(line, type=_Record) for line in body.splitlines()]
    return [checked_ban(Ban(r.subject, r.reason, r.by, r.version, r.expires_ms, r.lifted)) for r in records]
