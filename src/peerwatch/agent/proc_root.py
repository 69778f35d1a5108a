"""ProcRoot: where the kernel's files are; another root in a container or a test."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from peerwatch.errors import StoreError

_MAX_FILE_BYTES = 4 << 20  # no file of /proc or /sys that we read whole is near that, save the socket tables


@dataclass(frozen=True, slots=True)
class ProcRoot:
    """The three trees that sources read. In a container: `/host/proc`, `/host/sys`, `/host`."""

    proc: str = "/proc"
    sys: str = "/sys"
    rootfs: str = "/"

    @classmethod
    def under(cls, folder: Path) -> ProcRoot:
        """A captured tree: `folder/proc`, `folder/sys`, `folder/rootfs`."""
        return cls(str(folder / "proc"), str(folder / "sys"), str(folder / "rootfs"))

    @property
    def is_live(self) -> bool:
        """Whether this is the running kernel's own tree, so that system calls tell the same story."""
        return self.proc == "/proc"

    def read_proc(self, path: str, max_bytes: int = _MAX_FILE_BYTES) -> bytes:
        """The content of a file below /proc. Raises OSError, and StoreError if it is longer than `max_bytes`."""
        return _read(f"{self.proc}/{path}", max_bytes)

    def read_sys(self, path: str, max_bytes: int = _MAX_FILE_BYTES) -> bytes:
        """The content of a file below /sys. Raises OSError, and StoreError if it is longer than `max_bytes`."""
        return _read(f"{self.sys}/{path}", max_bytes)

    def read_root(self, path: str, max_bytes: int = _MAX_FILE_BYTES) -> bytes:
        """The content of a file of the host's file system, `path` without leading slash. Raises as `read_proc`."""
        return _read(f"{self.rootfs.rstrip('/')}/{path}", max_bytes)

    def list_sys(self, path: str) -> list[str]:
        """The sorted names in a folder below /sys. Raises OSError."""
        return sorted(os.listdir(f"{self.sys}/{path}"))  # noqa: PTH208  # names only: no Path object per entry

    def list_proc(self, path: str) -> list[str]:
        """The names in a folder below /proc. Raises OSError."""
        return os.listdir(f"{self.proc}/{path}")  # noqa: PTH208


def _read(path: str, max_bytes: int) -> bytes:
    # Bare system calls: open() with its buffering costs three times as much, and a tick reads dozens of files.
    # Files here report no size, and /proc answers in pieces: read until nothing comes.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        first = os.read(fd, 65536)
        rest = os.read(fd, 65536) if first else b""
        if not rest:
            return first
        pieces, size = [first, rest], len(first) + len(rest)
        while piece := os.read(fd, 1 << 20):
            pieces.append(piece)
            size += len(piece)
            if size > max_bytes:
                raise StoreError(f"{path}: more than {max_bytes} bytes")
        return b"".join(pieces)
    finally:
        os.close(fd)
