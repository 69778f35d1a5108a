"""Disk: every file operation of the spool, and the one place where OSError becomes ours."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from peerwatch.errors import ConfigError, CorruptionError, DiskFullError, StoreError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_sync_data = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


class Disk:
    """One folder's files by name. Mutable (open descriptors); owned by one Spool, which calls it under its lock.

    Every method may block. Errors: DiskFullError when there is no room, CorruptionError when bytes that should be
    there cannot be had, StoreError otherwise; each names the file. Tests use `testing.disk.MemoryDisk` in its place.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock_fd = -1
        self._writing: tuple[str, int] = ("", -1)
        self._reading: tuple[str, int] = ("", -1)

    def prepare(self) -> None:
        """Make the folder and claim it. Raises ConfigError when another process has it, StoreError when it cannot."""
        if self._lock_fd >= 0:
            return
        with _translated("open", self.folder, ""):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # on the folder itself: works on a read-only one too
        except BlockingIOError as error:
            os.close(fd)
            raise ConfigError(f"spool folder {self.folder} is in use by another process") from error
        except OSError as error:
            os.close(fd)
            raise StoreError(f"lock {self.folder}: {error.strerror}") from error
        self._lock_fd = fd

    def names(self) -> list[str]:
        """The files there are, sorted."""
        with _translated("list", self.folder, ""):
            return sorted(entry.name for entry in os.scandir(self.folder) if entry.is_file(follow_symlinks=False))

    def size(self, name: str) -> int:
        """Bytes in a file."""
        with _translated("stat", self.folder, name):
            return (self.folder / name).stat().st_size

    def read(self, name: str, offset: int, count: int) -> bytes:
        """Up to `count` bytes from `offset`; fewer only at the end of the file."""
        with _translated("read", self.folder, name, reading=True):
            if self._reading[0] != name:
                fd = os.open(self.folder / name, os.O_RDONLY | os.O_CLOEXEC)
                self._forget_reading()
                self._reading = (name, fd)
            parts = []
            while count > 0 and (part := os.pread(self._reading[1], count, offset)):
                parts.append(part)
                offset += len(part)
                count -= len(part)
            return parts[0] if len(parts) == 1 else b"".join(parts)

    def write(self, name: str, offset: int, data: bytes) -> None:
        """Put `data` at `offset`, making the file when it is new. On an error any part of it may have been written."""
        with _translated("write", self.folder, name):
            fd = self._write_fd(name)
            view = memoryview(data)
            while view:
                written = os.pwrite(fd, view, offset)
                offset += written
                view = view[written:]

    def sync(self, name: str) -> None:
        """Return when the file's bytes are on the medium."""
        with _translated("sync", self.folder, name):
            _sync_data(self._write_fd(name))

    def truncate(self, name: str, size_bytes: int) -> None:
        """Cut a file."""
        with _translated("truncate", self.folder, name):
            os.ftruncate(self._write_fd(name), size_bytes)

    def rename(self, old: str, new: str) -> None:
        """Give a file another name, at once replacing what had it."""
        self._release(old)
        self._release(new)
        with _translated("rename", self.folder, old):
            (self.folder / old).replace(self.folder / new)

    def remove(self, name: str) -> None:
        """Delete a file; one that is gone already is fine."""
        self._release(name)
        with _translated("remove", self.folder, name):
            (self.folder / name).unlink(missing_ok=True)

    def sync_folder(self) -> None:
        """Return when new, renamed and removed names are on the medium."""
        with _translated("sync", self.folder, ""):
            os.fsync(self._lock_fd)

    def close(self) -> None:
        """Let go of every descriptor and of the folder's lock."""
        self._forget_reading()
        self._forget_writing()
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def _write_fd(self, name: str) -> int:
        if self._writing[0] != name:
            fd = os.open(self.folder / name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._forget_writing()
            self._writing = (name, fd)
        return self._writing[1]

    def _release(self, name: str) -> None:
        if self._reading[0] == name:
            self._forget_reading()
        if self._writing[0] == name:
            self._forget_writing()

    def _forget_reading(self) -> None:
        fd, self._reading = self._reading[1], ("", -1)
        if fd >= 0:
            os.close(fd)

    def _forget_writing(self) -> None:
        fd, self._writing = self._writing[1], ("", -1)
        if fd >= 0:
            with suppress(OSError):  # a late write error of a file that was synced or given up already
                os.close(fd)


@contextmanager
def _translated(verb: str, folder: Path, name: str, *, reading: bool = False) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = f"{verb} {folder / name}: {error.strerror}"
        if error.errno in _FULL:
            raise DiskFullError(message) from error
        if reading and error.errno in (errno.EIO, errno.ENOENT):
            raise CorruptionError(message) from error  # trying again will not bring these bytes back
        raise StoreError(message) from error
