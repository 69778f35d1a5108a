"""Disk: every file operation of the store, in one place, so that a test can fail or cut any of them.

Foreign errors end here: callers see StoreError, and DiskFullError where there is no room.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from peerwatch.errors import DiskFullError, StoreError

_P = ParamSpec("_P")
_R = TypeVar("_R")
_T = TypeVar("_T", Path, "DiskFile")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_F_FULLFSYNC = 51  # <sys/fcntl.h> of macOS, where fsync leaves data in the drive's cache


@dataclass(eq=False, slots=True)
class DiskFile:
    """An open file. Owned by whoever opened it, who must close it."""

    path: Path
    fd: int


@dataclass(frozen=True, slots=True)
class Space:
    """Room on the file system of a folder."""

    free_bytes: int
    total_bytes: int


def _door(method: Callable[Concatenate[Disk, _T, _P], _R]) -> Callable[Concatenate[Disk, _T, _P], _R]:
    @wraps(method)
    def guarded(self: Disk, target: _T, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return method(self, target, *args, **kwargs)
        except OSError as error:
            path = target.path if isinstance(target, DiskFile) else target
            kind = DiskFullError if error.errno in _FULL else StoreError
            raise kind(f"{method.__name__} {path}: {error.strerror or error}") from error

    return guarded


class Disk:
    """The machine's file system. Thread-safe as the kernel is; keeps no state."""

    @_door
    def create(self, path: Path) -> DiskFile:
        """A new file, to be written from its start to its end; refuses one that exists."""
        return DiskFile(path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o640))

    @_door
    def extend(self, path: Path) -> DiskFile:
        """An existing file, to be written after its end."""
        return DiskFile(path, os.open(path, os.O_RDWR | os.O_APPEND))

    @_door
    def open(self, path: Path) -> DiskFile:
        """An existing file, to be read."""
        return DiskFile(path, os.open(path, os.O_RDONLY))

    @_door
    def write(self, file: DiskFile, data: bytes) -> None:
        """Append all of `data`; after an error any prefix of it may be there."""
        view = memoryview(data)
        while view:
            view = view[os.write(file.fd, view) :]

    @_door
    def pread(self, file: DiskFile, size: int, offset: int) -> bytes:
        """`size` bytes at `offset`; fewer only at the end of the file."""
        return os.pread(file.fd, size, offset)

    @_door
    def sync(self, file: DiskFile) -> None:
        """What was written survives a power cut once this returns. After an error nothing is known: close the file."""
        fd = file.fd
        if sys.platform == "darwin":
            fcntl.fcntl(fd, _F_FULLFSYNC)
        else:
            os.fdatasync(fd)

    @_door
    def truncate(self, file: DiskFile, size: int) -> None:
        """Cut the file to `size` bytes."""
        os.ftruncate(file.fd, size)

    @_door
    def close(self, file: DiskFile) -> None:
        """Give the file back."""
        os.close(file.fd)

    @_door
    def read(self, path: Path) -> bytes:
        """The whole file."""
        return path.read_bytes()

    @_door
    def size(self, path: Path) -> int:
        """Size in bytes."""
        return path.stat().st_size

    @_door
    def rename(self, path: Path, target: Path) -> None:
        """Move atomically, replacing `target`."""
        path.replace(target)

    @_door
    def link(self, path: Path, target: Path) -> None:
        """A second name for the same bytes; fails across file systems."""
        os.link(path, target)

    @_door
    def unlink(self, path: Path) -> None:
        """Remove the name."""
        path.unlink()

    @_door
    def mkdir(self, path: Path) -> None:
        """Make the folder and its parents; one that exists is fine."""
        path.mkdir(parents=True, exist_ok=True, mode=0o750)

    @_door
    def names(self, folder: Path) -> list[str]:
        """Sorted names of what is in the folder."""
        return sorted(entry.name for entry in folder.iterdir())

    @_door
    def sync_folder(self, folder: Path) -> None:
        """Creations, renames and removals in the folder survive a power cut once this returns."""
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    @_door
    def space(self, folder: Path) -> Space:
        """Room left for unprivileged users, and the total."""
        found = os.statvfs(folder)
        return Space(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)

    @_door
    def lock(self, path: Path) -> DiskFile:
        """Hold the lock file until it is closed; refuses while another process holds it."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o640)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(fd)
            raise StoreError(f"{path.parent} is in use by another peerwatch (process {owner})") from error
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        return DiskFile(path, fd)

    def salt(self) -> int:
        """32 bits that nobody outside can know: they tell a file's own records from bytes that imitate them."""
        return secrets.randbits(32)
