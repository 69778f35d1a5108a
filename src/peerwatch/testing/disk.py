"""MemoryDisk: a disk in memory that fills up, refuses, forgets what was not synced, and loses power on command."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from peerwatch.errors import CorruptionError, DiskFullError, StoreError
from peerwatch.spool import Disk

_FOLDER = Path("/memory")


class PowerCut(Exception):
    """The machine stopped here. No code but the test's may answer it."""


@dataclass(slots=True)
class _File:
    data: bytearray = field(default_factory=bytearray)
    durable: bytes = b""
    unsynced: list[tuple[int, bytes | None]] = field(default_factory=list)
    """(offset, bytes) of a write, (size, None) of a truncation."""


class MemoryDisk(Disk):
    """A `spool.Disk` without files, as pessimistic as POSIX allows. Mutable; owned by its test.

    What a power cut leaves: of each file the synced bytes, and of the unsynced writes any, torn anywhere; of the
    folder the names as of its last sync and any first part of the changes since. Faults are set as attributes:
    `capacity_bytes` (None: endless), `read_only`, `fail_syncs` (so many to come fail, and nothing is kept by them),
    `cut_in` (the power goes at the so-manieth changing operation from now, 0 being the next).
    """

    def __init__(self) -> None:
        super().__init__(_FOLDER)
        self.capacity_bytes: int | None = None
        self.read_only = False
        self.fail_syncs = 0
        self.cut_in: int | None = None
        self.cut_at = ("", "")
        """Operation and file that the last power cut interrupted."""
        self.is_off = False
        self.changes = 0
        """Changing operations so far."""
        self._files: dict[str, _File] = {}
        self._durable_names: dict[str, _File] = {}
        self._name_changes: list[tuple[str, _File | None]] = []

    @property
    def used_bytes(self) -> int:
        """What all files hold."""
        return sum(len(file.data) for file in self._files.values())

    def restart(self, random: Random | None = None) -> None:
        """Come back: after a power cut if `random` decides what was lost, else after the end of the process only."""
        if random is not None:
            self._lose(random)
        self.is_off = False
        self.cut_in = None

    def damage(self, name: str, offset: int, mask: int = 0xFF) -> None:
        """Flip bits of one byte, on the medium."""
        file = self._file("damage", name)
        file.data[offset] ^= mask
        file.durable = bytes(file.data)
        file.unsynced.clear()

    # --- Disk

    def prepare(self) -> None:
        self._check_power()

    def names(self) -> list[str]:
        self._check_power()
        return sorted(self._files)

    def size(self, name: str) -> int:
        return len(self._file("stat", name).data)

    def read(self, name: str, offset: int, count: int) -> bytes:
        if name not in self._files:
            raise CorruptionError(f"read {_FOLDER / name}: No such file or directory")
        return bytes(self._file("read", name).data[offset : offset + count])

    def write(self, name: str, offset: int, data: bytes) -> None:
        with_room = self._fitting(name, offset, data)
        for _ in self._change("write", name):
            file = self._files.get(name)
            if file is None:
                file = self._files[name] = _File()
                self._name_changes.append((name, file))
            _put(file.data, offset, with_room)
            file.unsynced.append((offset, with_room))
        if len(with_room) < len(data):
            raise DiskFullError(f"write {_FOLDER / name}: No space left on device")

    def sync(self, name: str) -> None:
        file = self._file("sync", name)
        for _ in self._change("sync", name, before=True):
            self._check_sync(name)
            file.durable = bytes(file.data)
            file.unsynced.clear()

    def truncate(self, name: str, size_bytes: int) -> None:
        file = self._file("truncate", name)
        for _ in self._change("truncate", name):
            del file.data[size_bytes:]
            file.unsynced.append((size_bytes, None))

    def rename(self, old: str, new: str) -> None:
        self._file("rename", old)
        for _ in self._change("rename", old):
            file = self._files.pop(old)
            self._files[new] = file
            self._name_changes += [(new, file), (old, None)]

    def remove(self, name: str) -> None:
        for _ in self._change("remove", name):
            if self._files.pop(name, None) is not None:
                self._name_changes.append((name, None))

    def sync_folder(self) -> None:
        for _ in self._change("sync folder", "", before=True):
            self._check_sync("")
            self._durable_names = dict(self._files)
            self._name_changes.clear()

    def close(self) -> None:
        """Nothing is open here."""

    # --- faults

    def _change(self, operation: str, name: str, *, before: bool = False) -> Iterator[None]:
        """One changing operation: the loop body runs once, unless a fault comes first (a sync is cut before)."""
        self._check_power()
        if self.read_only:
            raise StoreError(f"{operation} {_FOLDER / name}: Read-only file system")
        self.changes += 1
        cut = self.cut_in == 0
        if self.cut_in:
            self.cut_in -= 1
        if not (cut and before):
            yield
        if cut:
            self.is_off, self.cut_at = True, (operation, name)
            raise PowerCut(f"{operation} {name}")

    def _check_power(self) -> None:
        if self.is_off:
            raise PowerCut("the power is off")

    def _check_sync(self, name: str) -> None:
        if self.fail_syncs:
            self.fail_syncs -= 1
            raise StoreError(f"sync {_FOLDER / name}: Input/output error")

    def _fitting(self, name: str, offset: int, data: bytes) -> bytes:
        if self.capacity_bytes is None:
            return data
        file = self._files.get(name)
        size = len(file.data) if file is not None else 0
        growth = max(0, offset + len(data) - size)
        missing = min(growth, max(0, self.used_bytes + growth - self.capacity_bytes))
        return data[: len(data) - missing]

    def _file(self, operation: str, name: str) -> _File:
        self._check_power()
        if name not in self._files:
            raise StoreError(f"{operation} {_FOLDER / name}: No such file or directory")
        return self._files[name]

    def _lose(self, random: Random) -> None:
        kept = random.randint(0, len(self._name_changes))
        for name, file in self._name_changes[:kept]:
            if file is None:
                self._durable_names.pop(name, None)
            else:
                self._durable_names[name] = file
        self._name_changes.clear()
        self._files = dict(self._durable_names)
        for file in self._files.values():
            _lose_unsynced(file, random)


def _lose_unsynced(file: _File, random: Random) -> None:
    data = bytearray(file.durable)
    for at, written in file.unsynced:
        fate = random.choice(("kept", "lost", "torn"))
        if fate == "lost":
            continue
        if written is None:
            del data[at:]
        else:
            _put(data, at, written if fate == "kept" else written[: random.randint(0, len(written))])
    file.data, file.durable = data, bytes(data)
    file.unsynced.clear()


def _put(data: bytearray, offset: int, written: bytes) -> None:
    data.extend(bytes(max(0, offset - len(data))))
    data[offset : offset + len(written)] = written
