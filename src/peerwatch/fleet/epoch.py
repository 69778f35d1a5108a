"""Epoch: a number that grows at every start of a sender, so that a lost counter never repeats one."""

from __future__ import annotations

from pathlib import Path

import msgspec

from peerwatch.errors import ConfigError
from peerwatch.fleet.files import read_private, write_private


class _Record(msgspec.Struct, forbid_unknown_fields=True):
    epoch: int
    machine_id: str


def next_epoch(path: Path, machine_id: str, now_ms: int) -> int:
    """max(last + 1, now), on disk before it is returned.

    Raises ConfigError when the file was made on another machine: a copied data folder is a cloned identity, and two
    machines with one identity would each have half of its numbers.
    """
    last = _last(path, machine_id)
    epoch = max(last + 1, now_ms)
    write_private(path, msgspec.json.encode(_Record(epoch, machine_id)))
    return epoch


def _last(path: Path, machine_id: str) -> int:
    try:
        record = msgspec.json.decode(read_private(path), type=_Record)
    except FileNotFoundError:
        return 0
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path} is damaged ({error}); remove it, the next start makes a new one") from error
    if record.machine_id and machine_id and record.machine_id != machine_id:
        raise ConfigError(
            f"{path.parent} was made on machine {record.machine_id}, this is {machine_id}. If it was copied, remove it "
            f"here and join again (peerwatch join); if the machine itself was renewed, remove {path}"
        )
    return record.epoch


def read_machine_id(etc: Path = Path("/etc")) -> str:
    """systemd's machine id, or the empty string where there is none (then copies cannot be noticed this way)."""
    try:
        return (etc / "machine-id").read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
