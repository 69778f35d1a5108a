"""SegmentBin: WAL segments whose samples are in blocks, until their files are gone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from peerwatch.store.disk import Disk
from peerwatch.store.wal import segment_name, segment_numbers


class SegmentBin:
    """Owned by the store's upkeep. Segments with damage are moved to quarantine, never removed."""

    def __init__(self, disk: Disk, folder: Path, quarantine: Path) -> None:
        self._disk = disk
        self._folder = folder
        self._quarantine = quarantine
        self._waiting: set[int] = set()
        self._damaged: set[int] = set()

    def mark_damaged(self, numbers: Iterable[int]) -> None:
        """These may hold records that could not be read."""
        self._damaged.update(numbers)

    def put(self, numbers: Iterable[int]) -> None:
        """The samples of these segments are in a published block."""
        self._waiting.update(numbers)

    @property
    def waiting(self) -> list[int]:
        """Segments whose files may still be there."""
        return sorted(self._waiting)

    def empty(self) -> None:
        """Remove the files. Raises StoreError; the rest is then tried again. The blocks must be durable by now."""
        if not self._waiting:
            return
        here = set(segment_numbers(self._disk.names(self._folder)))
        for number in self.waiting:
            path = self._folder / segment_name(number)
            if number not in here:
                pass
            elif number in self._damaged:
                self._disk.mkdir(self._quarantine)
                self._disk.rename(path, self._quarantine / path.name)
                self._disk.sync_folder(self._quarantine)
            else:
                self._disk.unlink(path)
            self._waiting.discard(number)
        self._disk.sync_folder(self._folder)
