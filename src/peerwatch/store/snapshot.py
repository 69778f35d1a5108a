"""Snapshot: a consistent copy of a store while it runs. Blocks and closed segments are hard links: cheap."""

from __future__ import annotations

from pathlib import Path

from peerwatch.errors import StoreError
from peerwatch.store.checkpoint import FILE_NAME as CHECKPOINT
from peerwatch.store.dictionary_log import FILE_NAME as DICTIONARY
from peerwatch.store.disk import Disk
from peerwatch.store.wal import segment_name

_COPY_BYTES = 1 << 20


class Snapshot:
    """One copy into `target`, which must not exist; it appears there whole or not at all.

    The caller keeps upkeep away meanwhile; appends go on. What was acknowledged before is in it.
    """

    def __init__(self, disk: Disk, folder: Path, target: Path) -> None:
        self._disk = disk
        self._folder = folder
        self._target = target
        self._work = target.with_name(target.name + ".unfinished")

    def take(self, blocks: list[Path], segments: list[int], tail: tuple[int, int] | None) -> None:
        """`tail` = (number, durable bytes) of the segment that is being written. Raises StoreError."""
        self._prepare()
        for path in blocks:
            self._link_or_copy(path, self._work / "blocks" / path.name)
        for number in segments:
            path = self._folder / "wal" / segment_name(number)
            copy = self._work / "wal" / path.name
            if tail is not None and tail[0] == number:
                self._copy(path, copy, tail[1])
            else:
                self._link_or_copy(path, copy)
        for name in (DICTIONARY, CHECKPOINT):  # the dictionary last of what is written to: it then knows every layout
            if name in self._disk.names(self._folder):
                path = self._folder / name
                self._copy(path, self._work / name, self._disk.size(path))
        for folder in (self._work / "blocks", self._work / "wal", self._work):
            self._disk.sync_folder(folder)
        self._disk.rename(self._work, self._target)
        self._disk.sync_folder(self._target.parent)

    def _prepare(self) -> None:
        self._disk.mkdir(self._target.parent)
        here = self._disk.names(self._target.parent)
        for path in (self._target, self._work):
            if path.name in here:
                raise StoreError(f"snapshot target {path} exists; choose another or remove it")
        for name in ("blocks", "wal"):
            self._disk.mkdir(self._work / name)

    def _link_or_copy(self, path: Path, copy: Path) -> None:
        try:
            self._disk.link(path, copy)
        except StoreError:  # another file system, or one without hard links
            self._copy(path, copy, self._disk.size(path))

    def _copy(self, path: Path, copy: Path, size: int) -> None:
        source = self._disk.open(path)
        try:
            target = self._disk.create(copy)
            try:
                for at in range(0, size, _COPY_BYTES):
                    self._disk.write(target, self._disk.pread(source, min(_COPY_BYTES, size - at), at))
                self._disk.sync(target)
            finally:
                self._disk.close(target)
        finally:
            self._disk.close(source)
