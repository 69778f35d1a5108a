"""BlockSet: the blocks that are live, which reads use them, and when a replaced one may go."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from peerwatch.errors import CorruptionError, StoreError
from peerwatch.store.block import Block, open_block
from peerwatch.store.block_writer import BlockWriter
from peerwatch.store.damage import Damage
from peerwatch.store.disk import Disk
from peerwatch.store.footer import SUFFIX, block_name
from peerwatch.store.page_cache import BlockCaches
from peerwatch.telemetry import get_logger

TEMPORARY = ".tmp"

_log = get_logger("store.blocks")


class BlockSet:
    """Thread-safe. A block that was replaced or expired stays on disk until the last read that uses it is over."""

    def __init__(self, disk: Disk, folder: Path, caches: BlockCaches, damage: Damage) -> None:
        self._disk = disk
        self._folder = folder
        self._caches = caches
        self._damage = damage
        self._lock = threading.Lock()
        self._blocks: dict[int, Block] = {}
        self._doomed: dict[int, Block] = {}
        self._pins: Counter[int] = Counter()
        self._next = 1
        self.suspect: set[int] = set()
        """Blocks with damage inside: readable as far as they go, never merged, so nothing of them gets lost."""

    def load(self) -> None:
        """Open every block; remove unfinished ones. A damaged block is left where it is, for fsck."""
        for name in self._disk.names(self._folder):
            if name.endswith(TEMPORARY):
                self._disk.unlink(self._folder / name)
        for number in block_numbers(self._disk.names(self._folder)):
            self._next = max(self._next, number + 1)
            try:
                self._blocks[number] = open_block(self._disk, self._folder, number, self._caches)
            except CorruptionError as error:
                self._damage.note("block unreadable", str(error))
        for block in self.all():
            self._next = max([self._next, *(old + 1 for old in block.footer.replaces)])
        self.retire(number for block in self.all() for number in block.footer.replaces)

    def all(self) -> list[Block]:
        """Live blocks, oldest number first."""
        with self._lock:
            return [self._blocks[number] for number in sorted(self._blocks)]

    def pin(self, start_ms: int, end_ms: int) -> list[Block]:
        """Live blocks that may have samples in [start_ms, end_ms]; they stay readable until `unpin`."""
        with self._lock:
            found = [
                block
                for block in self._blocks.values()
                if block.footer.first_ms <= end_ms and block.footer.last_ms >= start_ms
            ]
            self._pins.update(block.number for block in found)
            return found

    def unpin(self, blocks: Sequence[Block]) -> None:
        """The read is over."""
        with self._lock:
            self._pins.subtract(block.number for block in blocks)
            self._pins += Counter()  # drops the zeros

    def next_path(self) -> Path:
        """Temporary name for a new block; its number is never used again."""
        with self._lock:
            number = self._next
            self._next += 1
            return self._folder / (block_name(number) + TEMPORARY)

    def publish(self, writers: Sequence[BlockWriter]) -> list[Block]:
        """Give finished blocks their names, the last one only when the others are safe; not yet part of the set.

        The last rename is the commit: whoever starts after it believes that block. Raises PublishError.
        """
        done: list[int] = []
        try:
            for writer in writers:
                if writer is writers[-1] and len(writers) > 1:
                    self._disk.sync_folder(self._folder)
                done.append(number_of(writer.path))
                self._disk.rename(writer.path, writer.path.with_suffix(""))
            return [open_block(self._disk, self._folder, number, self._caches) for number in done]
        except StoreError as error:
            raise PublishError(str(error), done) from error

    def add(self, blocks: Iterable[Block]) -> None:
        """Make published blocks live, in place of those that they replace."""
        with self._lock:
            for block in blocks:
                self._blocks[block.number] = block
                self._retire(block.footer.replaces)

    def retire(self, numbers: Iterable[int]) -> None:
        """Take blocks out; `reap` removes their files."""
        with self._lock:
            self._retire(numbers)

    def forget_stray(self, numbers: Iterable[int]) -> None:
        """Files that a failed publication left and a later block replaces: to be removed by `reap`."""
        for number in numbers:
            try:
                stray = open_block(self._disk, self._folder, number, self._caches)
            except StoreError:
                continue  # the rename did not happen after all
            with self._lock:
                self._doomed[number] = stray

    def reap(self) -> None:
        """Remove the files of retired blocks that nobody reads. Raises StoreError; they are then tried again.

        The caller has made sure that what replaces them is durable.
        """
        with self._lock:
            free = [block for block in self._doomed.values() if not self._pins[block.number]]
        if not free:
            return
        for block in free:
            self._disk.unlink(block.path)
            self._caches.drop_block(block.number)
            self.suspect.discard(block.number)
            with self._lock:
                del self._doomed[block.number]
        self._disk.sync_folder(self._folder)

    @property
    def next_number(self) -> int:
        """The lowest number never given."""
        return self._next

    def reserve(self, number: int) -> None:
        """Never give a number below this."""
        with self._lock:
            self._next = max(self._next, number)

    @property
    def retired(self) -> list[int]:
        """Numbers of retired blocks whose files are still there."""
        with self._lock:
            return sorted(self._doomed)

    def _retire(self, numbers: Iterable[int]) -> None:
        for number in list(numbers):
            block = self._blocks.pop(number, None)
            if block is not None:
                self._doomed[number] = block


class PublishError(StoreError):
    """Blocks could not be given their names; `strays` may have theirs."""

    def __init__(self, message: str, strays: list[int]) -> None:
        super().__init__(message)
        self.strays = strays


def block_numbers(names: Iterable[str]) -> list[int]:
    """Numbers of the blocks among file names, ascending."""
    stems = [name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX)]
    return sorted(int(stem) for stem in stems if stem.isdigit())


def number_of(path: Path) -> int:
    """The number in a block's name, temporary or not."""
    return int(path.name.split(".")[0])
