"""BlockWriter: writes one block from its start to its end; see docs/formats/block.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

import numpy as np

from peerwatch.errors import StoreError
from peerwatch.model import BoolArray, Float64Array, Int64Array, Marks
from peerwatch.store.disk import Disk
from peerwatch.store.footer import MAGIC, Footer, encode_footer, seal
from peerwatch.store.packing import pack_ints
from peerwatch.store.provenance import ProvenanceColumns, RunRoot, encode_marks, encode_run_roots
from peerwatch.store.tile import MAX_ROWS, encode_tile
from peerwatch.telemetry import get_logger

PAGE_SERIES = 4096
CHUNK_TIMELINES = 8  # decoded together: costs one series a little, and a hundred much less
ROW_BITS = MAX_ROWS.bit_length() - 1  # slot = tile << ROW_BITS | row
_BUFFER_BYTES = 1 << 20
_NEVER_FIRST = 1 << 62
_NEVER_LAST = -(1 << 62)

_log = get_logger("store.block")


@dataclass(frozen=True, slots=True)
class BlockFacts:
    """What a block says about itself beside its samples."""

    window_start: int
    window_end: int
    horizon_ms: int
    replaces: Sequence[int] = ()
    wal: Sequence[int] = ()
    from_wal: Sequence[int] = ()
    marks: Marks = field(default_factory=Marks)
    provenance: ProvenanceColumns = field(default_factory=lambda: ProvenanceColumns.of([]))
    run_roots: Sequence[RunRoot] = ()


class BlockWriter:
    """Writes to `path` (a temporary name) as tiles come, so memory holds one buffer and the index columns.

    After `finish` the file is durable under its temporary name; publishing it is the caller's. On any StoreError call
    `discard`.
    """

    def __init__(self, disk: Disk, path: Path) -> None:
        self.path = path
        self._disk = disk
        self._file = disk.create(path)
        self._open = True
        self._buffer: list[bytes] = [MAGIC]
        self._buffered = len(MAGIC)
        self._offset = len(MAGIC)
        self._tile_offsets = [self._offset]
        self._timelines: dict[bytes, int] = {}
        self._times: list[Int64Array] = []
        self._ticks: list[int] = []
        self._ids: list[Int64Array] = []
        self._slots: list[Int64Array] = []
        self._row_timelines: list[Int64Array] = []
        self._samples = 0
        self._first = _NEVER_FIRST
        self._last = _NEVER_LAST

    def timeline(self, times: Int64Array) -> int:
        """The number under which rows refer to these times; equal times share one."""
        key = times.tobytes()
        found = self._timelines.get(key)
        if found is None:
            found = self._timelines[key] = len(self._times)
            self._times.append(times)
            self._ticks.append(len(times))
            self._first = min(self._first, int(times[0]))
            self._last = max(self._last, int(times[-1]))
        return found

    def tile(
        self, series_ids: Int64Array, timelines: Int64Array, values: Float64Array, presence: BoolArray | None
    ) -> None:
        """Write rows; row i has the ticks of timelines[i], further cells of the row are padding (not present)."""
        tile = len(self._tile_offsets) - 1
        self._put(seal(encode_tile(values, presence)))
        self._tile_offsets.append(self._offset)
        self._ids.append(series_ids)
        self._slots.append((tile << ROW_BITS) + np.arange(len(series_ids), dtype=np.int64))
        self._row_timelines.append(timelines)
        if presence is None:
            self._samples += sum(map(self._ticks.__getitem__, timelines.tolist()))
        else:
            self._samples += int(np.count_nonzero(presence))

    def finish(self, facts: BlockFacts, names: Sequence[bytes] = ()) -> Footer:
        """Write index, marks, provenance, names and footer; make the file durable. Raises StoreError."""
        sections = {"tiles": pack_ints(np.array(self._tile_offsets, np.int64))}
        sections["timelines"] = self._put_timelines()
        sections["pages"], series, top = self._put_pages()
        if len(facts.marks):
            sections["marks"] = encode_marks(facts.marks)
        if len(facts.provenance):
            sections["provenance"] = facts.provenance.encode()
        if facts.run_roots:
            sections["roots"] = encode_run_roots(facts.run_roots)
        if names:
            sections["names"] = self._put_chunks(names)
        footer = Footer(
            window_start=facts.window_start,
            window_end=facts.window_end,
            first_ms=self._first,
            last_ms=self._last,
            series=series,
            samples=self._samples,
            top_series=top,
            horizon_ms=facts.horizon_ms,
            replaces=sorted(facts.replaces),
            wal=sorted(facts.wal),
            from_wal=sorted(facts.from_wal),
            sections={name: self._put_section(data) for name, data in sections.items()},
        )
        self._put(encode_footer(footer))
        self._drain()
        self._disk.sync(self._file)
        self._open = False
        self._disk.close(self._file)
        return footer

    def discard(self) -> None:
        """Remove what was written, as far as the disk lets us; a leftover is removed by the next start."""
        try:
            if self._open:
                self._open = False
                self._disk.close(self._file)
            self._disk.unlink(self.path)
        except StoreError as error:
            _log.warning("unfinished block not removed", block=str(self.path), error=str(error))

    def _put_timelines(self) -> bytes:
        starts = range(0, len(self._times), CHUNK_TIMELINES)
        offsets = self._put_each([pack_ints(np.concatenate(self._times[at : at + CHUNK_TIMELINES])) for at in starts])
        counts = np.array(self._ticks, np.int64)
        return pack_ints(offsets) + pack_ints(counts)

    def _put_pages(self) -> tuple[bytes, int, int]:
        none = [np.empty(0, np.int64)]
        ids = np.concatenate(self._ids or none)
        order = np.argsort(ids, kind="stable")
        columns = [ids[order]]
        columns += [np.concatenate(parts or none)[order] for parts in (self._slots, self._row_timelines)]
        starts = range(0, len(ids), PAGE_SERIES)
        pages = [b"".join(pack_ints(column[at : at + PAGE_SERIES]) for column in columns) for at in starts]
        offsets = self._put_each(pages)
        firsts = columns[0][::PAGE_SERIES]
        top = int(columns[0][-1]) if len(ids) else 0
        return pack_ints(firsts) + pack_ints(offsets), len(ids), top

    def _put_chunks(self, chunks: Sequence[bytes]) -> bytes:
        return pack_ints(self._put_each(chunks))

    def _put_each(self, chunks: Sequence[bytes]) -> Int64Array:
        offsets = [self._offset]
        for chunk in chunks:
            self._put(seal(chunk))
            offsets.append(self._offset)
        return np.array(offsets, np.int64)

    def _put_section(self, data: bytes) -> tuple[int, int, int]:
        start = self._offset
        self._put(data)
        return start, len(data), crc32(data)

    def _put(self, data: bytes) -> None:
        self._buffer.append(data)
        self._buffered += len(data)
        self._offset += len(data)
        if self._buffered >= _BUFFER_BYTES:
            self._drain()

    def _drain(self) -> None:
        data = b"".join(self._buffer)
        self._buffer, self._buffered = [], 0
        self._disk.write(self._file, data)
