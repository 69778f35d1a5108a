"""MountProbe: asks a file system for its numbers without hanging with it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass

# These answer statvfs from memory. Everything else may have a server or a daemon behind it (nfs, cifs, fuse, ceph,
# 9p, autofs, …) and can block for ever in the kernel, where no signal reaches.
_LOCAL_TYPES = frozenset(
    ("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "tmpfs", "ramfs", "vfat", "exfat", "ntfs3")
)
_MAX_STUCK = 32


@dataclass(frozen=True, slots=True)
class MountSpace:
    """What statvfs says, in bytes and in file nodes."""

    size_bytes: float
    free_bytes: float
    avail_bytes: float
    files: float
    files_free: float


class MountTimeoutError(OSError):
    """The file system did not answer in time; it is left alone until it does."""


class MountProbe:
    """Runs statvfs; for network file systems in a thread of its own that may be left behind.

    At most one thread per mount point and 32 in all are ever left behind; past that such mounts count as stuck at
    once. The threads are daemons: a dead server does not keep the process from ending.
    """

    def __init__(self, timeout_s: float = 1.0, statvfs: Callable[[str], os.statvfs_result] = os.statvfs) -> None:
        self._timeout_s = timeout_s
        self._statvfs = statvfs
        self._stuck: dict[str, threading.Thread] = {}

    def space(self, path: str, fs_type: str) -> MountSpace:
        """The numbers of the file system at `path`. Raises OSError; MountTimeoutError for one that hangs."""
        if fs_type in _LOCAL_TYPES:
            return _space(self._statvfs(path))
        self._stuck = {stuck: thread for stuck, thread in self._stuck.items() if thread.is_alive()}
        if path in self._stuck or len(self._stuck) >= _MAX_STUCK:
            raise MountTimeoutError("mountpoint timeout")
        return self._guarded(path)

    def _guarded(self, path: str) -> MountSpace:
        answers: list[os.statvfs_result | OSError] = []

        def ask() -> None:
            try:
                answers.append(self._statvfs(path))
            except OSError as error:
                answers.append(error)

        thread = threading.Thread(target=ask, name=f"statvfs {path}", daemon=True)
        thread.start()
        thread.join(self._timeout_s)
        if not answers:
            self._stuck[path] = thread
            raise MountTimeoutError("mountpoint timeout")
        if isinstance(answers[0], OSError):
            raise answers[0]
        return _space(answers[0])


def _space(stat: os.statvfs_result) -> MountSpace:
    unit = float(stat.f_frsize)
    return MountSpace(
        stat.f_blocks * unit, stat.f_bfree * unit, stat.f_bavail * unit, float(stat.f_files), float(stat.f_ffree)
    )
