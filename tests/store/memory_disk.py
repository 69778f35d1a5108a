"""MemoryDisk: a file system in memory that can fail or lose power at any operation.

It forgets what a real one may forget: writes without fsync survive as any prefix, names without a folder sync survive
or not one by one, and after a failed fsync the data is gone though later fsyncs succeed.
"""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field
from pathlib import Path

from peerwatch.errors import DiskFullError, StoreError
from peerwatch.store.disk import Disk, DiskFile, Space


class PowerCutError(BaseException):
    """The machine is off: nothing after this happens. Not an Exception, so nobody answers it."""


@dataclass(eq=False)
class _Inode:
    data: bytearray = field(default_factory=bytearray)
    durable: bytes = b""
    lost: bool = False
    """An fsync failed: what was not durable then never will be."""

    def after_power_cut(self, rng: random.Random) -> bytes:
        data = bytes(self.data)
        if not data.startswith(self.durable):
            return rng.choice([data, self.durable])
        cut = rng.randint(len(self.durable), len(data))
        tail = data[len(self.durable) : cut]
        if tail and rng.random() < 0.3:  # a page that was allocated and never written
            tail = tail[: len(tail) // 2] + bytes(len(tail) - len(tail) // 2)
        return self.durable + tail


@dataclass
class Fault:
    """At the `at`-th changing operation from now on: an error, or the end of power."""

    at: int
    kind: str  # "error", "full" or "power"


class MemoryDisk(Disk):
    """See the module. `fault` is armed by the test; `operations` counts what changes the disk."""

    def __init__(self, seed: int = 0) -> None:
        self._rng = random.Random(seed)
        self._guard = threading.RLock()
        self._names: dict[Path, _Inode] = {}
        self._durable: dict[Path, _Inode] = {}
        self._pending: list[tuple[str, Path, Path | None, _Inode]] = []
        self._open: dict[int, _Inode] = {}
        self._locked: set[Path] = set()
        self._next_fd = 100
        self.operations = 0
        self.fault: Fault | None = None
        self.free_bytes = 1 << 40
        self.off = False

    def cut_power(self) -> None:
        """Keep what survives; every file is closed."""
        with self._guard:
            names = dict(self._durable)
            for kind, path, target, inode in self._pending:
                if self._rng.random() < 0.5:
                    _apply(names, kind, path, target, inode)
            self._names = names
            self._durable = dict(names)
            self._pending = []
            for inode in set(names.values()):
                kept = inode.after_power_cut(self._rng)
                inode.data, inode.durable, inode.lost = bytearray(kept), kept, False
            self._open, self._locked = {}, set()
            self.fault, self.off = None, False

    def twin(self) -> MemoryDisk:
        """Another disk with the same content, all of it durable, nothing open."""
        other = MemoryDisk(self._rng.getrandbits(30))
        for path, data in self.files().items():
            other._names[path] = other._durable[path] = _Inode(bytearray(data), data)
        return other

    def flip(self, path: Path, offset: int, mask: int) -> None:
        """Damage one byte, behind the program's back."""
        inode = self._names[path]
        inode.data[offset] ^= mask
        inode.durable = bytes(inode.data)

    def files(self) -> dict[Path, bytes]:
        """Everything that is there."""
        return {path: bytes(inode.data) for path, inode in sorted(self._names.items())}

    # ---- Disk

    def create(self, path: Path) -> DiskFile:
        with self._guard:
            self._step("create", path)
            if path in self._names:
                raise StoreError(f"create {path}: File exists")
            return self._opened(path, self._link("link", path, None, _Inode()))

    def extend(self, path: Path) -> DiskFile:
        with self._guard:
            return self._opened(path, self._inode(path))

    def open(self, path: Path) -> DiskFile:
        with self._guard:
            return self._opened(path, self._inode(path))

    def write(self, file: DiskFile, data: bytes) -> None:
        with self._guard:
            inode = self._open[file.fd]
            try:
                self._step("write", file.path)
            except (StoreError, PowerCutError):
                inode.data += data[: self._rng.randint(0, len(data))]
                raise
            inode.data += data

    def pread(self, file: DiskFile, size: int, offset: int) -> bytes:
        with self._guard:
            self._alive()
            return bytes(self._open[file.fd].data[offset : offset + size])

    def sync(self, file: DiskFile) -> None:
        with self._guard:
            inode = self._open[file.fd]
            try:
                self._step("sync", file.path)
            except StoreError:
                inode.lost = True
                raise
            if not inode.lost:
                inode.durable = bytes(inode.data)

    def truncate(self, file: DiskFile, size: int) -> None:
        with self._guard:
            self._step("truncate", file.path)
            del self._open[file.fd].data[size:]

    def close(self, file: DiskFile) -> None:
        with self._guard:
            self._alive()
            self._open.pop(file.fd, None)
            self._locked.discard(file.path)

    def read(self, path: Path) -> bytes:
        with self._guard:
            return bytes(self._inode(path).data)

    def size(self, path: Path) -> int:
        with self._guard:
            return len(self._inode(path).data)

    def rename(self, path: Path, target: Path) -> None:
        with self._guard:
            self._step("rename", path)
            self._link("rename", path, target, self._inode(path))

    def link(self, path: Path, target: Path) -> None:
        with self._guard:
            self._step("link", path)
            self._link("link", target, None, self._inode(path))

    def unlink(self, path: Path) -> None:
        with self._guard:
            self._step("unlink", path)
            self._link("unlink", path, None, self._inode(path))

    def mkdir(self, path: Path) -> None:
        self._alive()

    def names(self, folder: Path) -> list[str]:
        with self._guard:
            self._alive()
            below = [path.relative_to(folder) for path in self._names if path.is_relative_to(folder) and path != folder]
            return sorted({path.parts[0] for path in below})  # folders are there for the files in them

    def sync_folder(self, folder: Path) -> None:
        with self._guard:
            self._step("sync_folder", folder)
            kept = []
            for kind, path, target, inode in self._pending:
                if folder in (path.parent, target.parent if target else None):
                    _apply(self._durable, kind, path, target, inode)
                else:
                    kept.append((kind, path, target, inode))
            self._pending = kept

    def space(self, folder: Path) -> Space:
        self._alive()
        return Space(self.free_bytes, 1 << 41)

    def lock(self, path: Path) -> DiskFile:
        with self._guard:
            self._alive()
            if path in self._locked:
                raise StoreError(f"{path.parent} is in use by another peerwatch (process 1)")
            self._locked.add(path)
            return self._opened(path, _Inode())

    def salt(self) -> int:
        return self._rng.getrandbits(32)

    # ---- inside

    def _alive(self) -> None:
        if self.off:
            raise PowerCutError

    def _step(self, what: str, path: Path) -> None:
        self._alive()
        self.operations += 1
        fault = self.fault
        if fault is None:
            return
        fault.at -= 1
        if fault.at > 0:
            return
        self.fault = None
        if fault.kind == "power":
            self.off = True
            raise PowerCutError
        if fault.kind == "full" and what in ("write", "create"):
            raise DiskFullError(f"{what} {path}: No space left on device")
        raise StoreError(f"{what} {path}: Input/output error")

    def _inode(self, path: Path) -> _Inode:
        self._alive()
        found = self._names.get(path)
        if found is None:
            raise StoreError(f"open {path}: No such file or directory")
        return found

    def _opened(self, path: Path, inode: _Inode) -> DiskFile:
        self._next_fd += 1
        self._open[self._next_fd] = inode
        return DiskFile(path, self._next_fd)

    def _link(self, kind: str, path: Path, target: Path | None, inode: _Inode) -> _Inode:
        _apply(self._names, kind, path, target, inode)
        self._pending.append((kind, path, target, inode))
        return inode


def _apply(names: dict[Path, _Inode], kind: str, path: Path, target: Path | None, inode: _Inode) -> None:
    if kind == "link":
        names[path] = inode
        return
    if names.get(path) is inode:
        del names[path]
    if kind == "rename" and target is not None:
        names[target] = inode
