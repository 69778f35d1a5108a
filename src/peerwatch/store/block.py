"""Block: an immutable file of compressed samples, read lazily; see docs/formats/block.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from zlib import crc32

import numpy as np

from peerwatch.errors import CorruptionError, StoreError
from peerwatch.model import Int64Array, Marks
from peerwatch.store.block_writer import CHUNK_TIMELINES, ROW_BITS
from peerwatch.store.disk import Disk, DiskFile
from peerwatch.store.footer import END_BYTES, MAGIC, Footer, block_name, decode_footer, footer_size, unseal
from peerwatch.store.packing import unpack_ints
from peerwatch.store.page_cache import BlockCaches, Columns, NarrowColumns, Page, narrowed, widened
from peerwatch.store.provenance import (
    ProvenanceColumns,
    RunRoot,
    decode_marks,
    decode_provenance,
    decode_run_roots,
)
from peerwatch.store.tile import Tile, decode_tile, decode_together

_ROW_MASK = (1 << ROW_BITS) - 1


class Block:
    """What is known of a block without reading it: number, size, footer. Everything else comes through `opened`.

    Files are opened per read and closed after it, not mapped: a year of blocks would pass the limit of open files,
    and a mapped file that is cut short kills the process. Index pages go through the cache. Immutable.
    """

    def __init__(
        self, disk: Disk, path: Path, number: int, size_bytes: int, footer: Footer, caches: BlockCaches
    ) -> None:
        self.path = path
        self.number = number
        self.size_bytes = size_bytes
        self.footer = footer
        self._disk = disk
        self._caches = caches

    def kept(self, name: str, load: Callable[[], Page]) -> Page:
        """What `load` makes of samples, of this block and perhaps of others that `name` tells. Not to be written to:
        it is kept, and handed out again."""
        return self._caches.rows.get((self.number, name, -1), load)

    @contextmanager
    def opened(self) -> Iterator[OpenBlock]:
        """The block's file, open. Raises StoreError."""
        opened = OpenBlock(self._disk, self.path, self.number, self.footer, self._caches)
        try:
            yield opened
        finally:
            opened.close()


def open_block(disk: Disk, folder: Path, number: int, caches: BlockCaches) -> Block:
    """Read the footer. Raises CorruptionError for a damaged block, StoreError for one of a later format."""
    path = folder / block_name(number)
    size = disk.size(path)
    file = disk.open(path)
    try:
        end = disk.pread(file, END_BYTES, max(0, size - END_BYTES))
        length = footer_size(end)
        if length + END_BYTES + len(MAGIC) > size:
            raise CorruptionError(f"a footer of {length} bytes in a file of {size}")
        footer = decode_footer(disk.pread(file, length, size - END_BYTES - length), end)
    except CorruptionError as error:
        raise CorruptionError(f"{path}: {error}") from error
    except StoreError as error:
        raise StoreError(f"{path}: {error}") from error
    finally:
        disk.close(file)
    return Block(disk, path, number, size, footer, caches)


class OpenBlock:
    """Reads parts of one block. Every part has its checksum; what fails it raises CorruptionError with the place.

    The file is opened when something is read that no cache has. Owned by one read, which closes it.
    """

    def __init__(self, disk: Disk, path: Path, number: int, footer: Footer, caches: BlockCaches) -> None:
        self._disk = disk
        self._path = path
        self._file: DiskFile | None = None
        self._number = number
        self.footer = footer
        self._caches = caches

    def close(self) -> None:
        """Give the file back."""
        if self._file is not None:
            self._disk.close(self._file)
            self._file = None

    def _read(self, size: int, offset: int) -> bytes:
        if self._file is None:
            self._file = self._disk.open(self._path)
        return self._disk.pread(self._file, size, offset)

    # ---- index

    @property
    def tile_count(self) -> int:
        """How many tiles the block has."""
        return len(self._directory("tiles", 1)[0]) - 1

    @property
    def timeline_count(self) -> int:
        """How many timelines the block has."""
        return len(self._directory("timelines", 2)[1])

    @property
    def page_count(self) -> int:
        """How many index pages the block has."""
        return len(self._directory("pages", 2)[0])

    def page(self, page: int) -> Columns:
        """(series ids ascending, slots, timelines) of one index page."""
        return widened(self._page(page))

    def _page(self, page: int) -> NarrowColumns:
        def load() -> NarrowColumns:
            offsets = self._directory("pages", 2)[1]
            return narrowed(_unpack(self._chunk(offsets, page), 3))

        return self._caches.pages.get((self._number, "page", page), load)

    def rows(self) -> Columns:
        """All pages as one."""
        pages = [self.page(page) for page in range(self.page_count)]
        if not pages:
            return (np.empty(0, np.int64),) * 3
        return tuple(np.concatenate(columns) for columns in zip(*pages, strict=True))

    def find(self, ids: Int64Array) -> tuple[Int64Array, Int64Array, Int64Array]:
        """(positions in `ids`, slots, timelines) of those of the ascending `ids` that the block has."""
        bounds = np.append(np.searchsorted(ids, self._directory("pages", 2)[0]), len(ids))
        found: list[Columns] = []
        for page in np.flatnonzero(bounds[1:] > bounds[:-1]).tolist():
            low = int(bounds[page])
            wanted = ids[low : int(bounds[page + 1])]
            have, slots, timelines = self._page(page)
            narrow = np.minimum(wanted, have[-1]).astype(have.dtype)  # so that the page is searched as it is
            at = np.minimum(have.searchsorted(narrow), len(have) - 1)
            hit = np.flatnonzero(have[at] == wanted)
            at = at[hit]
            found.append((low + hit, slots[at].astype(np.int64), timelines[at].astype(np.int64)))
        if len(found) == 1:
            positions, slots, timelines = found[0]
            return positions, slots, timelines
        if not found:
            return (np.empty(0, np.int64),) * 3
        positions, slots, timelines = (np.concatenate(columns) for columns in zip(*found, strict=True))
        return positions, slots, timelines

    # ---- samples

    def times(self, timeline: int) -> Int64Array:
        """The ticks of a timeline."""
        return self.timelines([timeline])[0]

    def timelines(self, timelines: Sequence[int]) -> list[Int64Array]:
        """The ticks of some timelines."""
        places = [divmod(timeline, CHUNK_TIMELINES) for timeline in timelines]
        chunks = {
            chunk: self._caches.pages.get((self._number, "times", chunk), partial(self._times, chunk))
            for chunk in {chunk for chunk, _ in places}
        }
        return [chunks[chunk][at] for chunk, at in places]

    def _times(self, chunk: int) -> Columns:
        offsets, counts = self._directory("timelines", 2)
        ends = np.cumsum(counts[chunk * CHUNK_TIMELINES :][:CHUNK_TIMELINES])
        together = _unpack(self._chunk(offsets, chunk), 1)[0]
        if len(together) != ends[-1]:
            raise CorruptionError(f"{self._path}: timelines of chunk {chunk} have {len(together)} ticks")
        return tuple(np.split(together, ends[:-1]))

    def tile(self, tile: int, rows: Int64Array | None = None) -> Tile:
        """A tile, or some rows of it."""
        return decode_tile(self._chunk(self._directory("tiles", 1)[0], tile), rows)

    def tiles(self, wanted: Sequence[tuple[int, Int64Array]]) -> list[tuple[list[int], Tile]]:
        """(numbers of some of `wanted`, their rows one below the other): some rows of several tiles."""
        offsets = self._directory("tiles", 1)[0]
        return decode_together([(self._chunk(offsets, tile), rows) for tile, rows in wanted])

    def kept(self, name: str, load: Callable[[], Page]) -> Page:
        """What `load` makes of this block's samples. Not to be written to: it is kept, and handed out again."""
        return self._caches.rows.get((self._number, name, 0), load)

    # ---- beside the samples

    def marks(self) -> Marks:
        """Which envelopes the samples came in."""
        data = self._section("marks")
        return decode_marks(data) if data else Marks()

    def provenance(self) -> ProvenanceColumns:
        """Bounds of the envelopes."""
        data = self._section("provenance")
        return decode_provenance(data) if data else ProvenanceColumns.of([])

    def run_roots(self) -> list[RunRoot]:
        """Signed run roots."""
        data = self._section("roots")
        return decode_run_roots(data) if data else []

    def names(self) -> Iterator[bytes]:
        """Dictionary records of the block's series, in chunks; only compacted blocks carry them."""
        if "names" in self.footer.sections:
            offsets = self._directory("names", 1)[0]
            for chunk in range(len(offsets) - 1):
                yield self._chunk(offsets, chunk)

    def findings(self) -> list[str]:
        """What is damaged, part by part; empty when the block is whole. Reads all of it."""
        found: list[str] = []

        def tried(read: Callable[[], object]) -> bool:
            try:
                read()
            except CorruptionError as error:
                found.append(str(error))
                return False
            return True

        if self._read(len(MAGIC), 0) != MAGIC:  # harmless to readers, who trust the footer
            found.append(f"{self._path}: its start is not that of a block")
        if tried(lambda: self.tile_count):
            for tile in range(self.tile_count):
                tried(partial(self.tile, tile))
        if tried(lambda: self.timeline_count):
            for timeline in range(self.timeline_count):
                tried(partial(self.times, timeline))
        if tried(lambda: self.page_count):
            for page in range(self.page_count):
                tried(partial(self.page, page))
        for read in (self.marks, self.provenance, self.run_roots, lambda: list(self.names())):
            tried(read)
        return found

    # ---- inside

    def _directory(self, name: str, columns: int) -> Columns:
        return self._caches.pages.get((self._number, name, -1), lambda: _unpack(self._section(name), columns))

    def _section(self, name: str) -> bytes:
        place = self.footer.sections.get(name)
        if place is None:
            return b""
        offset, size, crc = place
        data = self._read(size, offset)
        if len(data) != size or crc32(data) != crc:
            raise CorruptionError(f"{self._path}: section {name} at {offset} does not match its checksum")
        return data

    def _chunk(self, offsets: Int64Array, at: int) -> bytes:
        start, end = int(offsets[at]), int(offsets[at + 1])
        try:
            return unseal(self._read(end - start, start))
        except CorruptionError as error:
            raise CorruptionError(f"{self._path} at {start}: {error}") from error


def split_slots(slots: Int64Array) -> tuple[Int64Array, Int64Array]:
    """(tiles, rows within them)."""
    return slots >> ROW_BITS, slots & _ROW_MASK


def _unpack(data: bytes, columns: int) -> Columns:
    found = []
    at = 0
    for _ in range(columns):
        column, at = unpack_ints(data, at)
        found.append(column)
    return tuple(found)
