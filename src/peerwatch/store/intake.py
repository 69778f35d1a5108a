"""Intake: the one way by which samples get into the head, from `append` and from recovery alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from peerwatch.errors import CorruptionError
from peerwatch.model import EnvelopeEntry, Int64Array, Marks, Matrix, RowsEntry, SampleMatrix
from peerwatch.store.damage import Damage
from peerwatch.store.dictionary import Dictionary
from peerwatch.store.entry import (
    EnvelopeRecord,
    RecordType,
    check_shapes,
    decode_context,
    decode_envelope_record,
    decode_rows,
    encode_envelope,
    encode_rows,
)
from peerwatch.store.generation import Generation
from peerwatch.store.provenance import Provenance, RunRoot
from peerwatch.store.record import Record
from peerwatch.store.wal import Segment

Context = Mapping[bytes, bytes]
"""By name, what envelopes cannot be read without."""

DecodeEnvelope = Callable[[bytes, Context], Sequence[Matrix]]
_PROMISES_PER_WINDOW = 12  # ranges of series are widened ahead, so that most appends need not touch the index


class Intake:
    """Puts matrices into a generation. Owned by the store, which guards it with its view lock."""

    def __init__(self, dictionary: Dictionary, window_ms: int) -> None:
        self._dictionary = dictionary
        self._ahead_ms = window_ms // _PROMISES_PER_WINDOW
        self._promised: dict[int, tuple[int, int]] = {}
        self._generation: Generation | None = None
        self.too_old = 0
        """Samples dropped because they are older than the horizon."""

    def put(self, live: Generation, layout_id: int, matrix: Matrix, horizon_ms: int) -> int:
        """Upsert into the head; returns how many bytes it grew. Samples before the horizon are dropped and counted."""
        fresh = self._not_too_old(matrix, horizon_ms)
        if not len(fresh.times_ms):
            return 0
        series_ids = self._dictionary.series_ids_of(layout_id)
        if series_ids is None:
            raise CorruptionError(f"layout {layout_id} is unknown")
        if live is not self._generation:  # layouts come and go: what was promised is kept for one generation
            self._generation, self._promised = live, {}
        self._promise(layout_id, series_ids, int(fresh.times_ms[0]), int(fresh.times_ms[-1]))
        return live.upsert(layout_id, series_ids, fresh)

    def note(self, live: Generation, record: EnvelopeRecord | EnvelopeEntry) -> None:
        """Remember the number of a stored envelope and its run root."""
        live.marks.add(record.sender, record.epoch, record.seq)
        if record.run_root:
            live.run_roots.append(RunRoot(record.sender, record.epoch, record.seq, record.run_root))

    def _promise(self, layout_id: int, series_ids: Int64Array, first_ms: int, last_ms: int) -> None:
        low, high = self._promised.get(layout_id, (first_ms, first_ms - 1))
        if first_ms >= low and last_ms <= high:
            return
        self._promised[layout_id] = (min(low, first_ms), max(high, last_ms + self._ahead_ms))
        self._dictionary.widen(series_ids, *self._promised[layout_id])

    def _not_too_old(self, matrix: Matrix, horizon_ms: int) -> Matrix:
        times = matrix.times_ms
        if not len(times) or times[0] >= horizon_ms:
            return matrix
        start = int(np.searchsorted(times, horizon_ms))
        values, presence = matrix.values, matrix.presence
        old = SampleMatrix(times[:start], values[:, :start], None if presence is None else presence[:, :start])
        self.too_old += old.sample_count
        return SampleMatrix(times[start:], values[:, start:], None if presence is None else presence[:, start:])


def provenance_of(
    record: EnvelopeRecord | EnvelopeEntry, layouts: Sequence[int], matrices: Sequence[Matrix]
) -> list[Provenance]:
    """One row per part that has samples."""
    rows = []
    for layout_id, matrix in zip(layouts, matrices, strict=True):
        times = matrix.times_ms
        if len(times):
            bounds = (int(times[0]), int(times[-1]), len(times))
            rows.append(Provenance(record.sender, record.epoch, record.seq, layout_id, *bounds))
    return rows


def encode_entry(
    entry: EnvelopeEntry | RowsEntry, layout_ids: Sequence[int], dictionary: Dictionary
) -> tuple[int, list[bytes]]:
    """(record type, payload pieces), with the ids that layouts and series have now: handles may be older."""
    if isinstance(entry, EnvelopeEntry):
        return RecordType.ENVELOPE, encode_envelope(entry, layout_ids)
    series_ids = [dictionary.series_ids_of(layout_id) for layout_id in layout_ids]
    return RecordType.ROWS, encode_rows(entry, [ids for ids in series_ids if ids is not None])


def context_of(records: Sequence[Record]) -> dict[bytes, bytes]:
    """What a segment's envelopes need, wherever in it it was kept: each is there twice."""
    context: dict[bytes, bytes] = {}
    for record in records:
        if record.type == RecordType.CONTEXT:
            name, content = decode_context(record.payload)
            context[name] = content
    return context


class Replay:
    """Recovery: reads segments back into a generation. One record that cannot be read does not stop the rest.

    `clean`: segments of which everything was read; only those may be removed once a block holds their samples, the
    others are kept aside.
    """

    def __init__(
        self, intake: Intake, dictionary: Dictionary, decode: DecodeEnvelope, damage: Damage, horizon_ms: int
    ) -> None:
        self._intake = intake
        self._dictionary = dictionary
        self._decode = decode
        self._damage = damage
        self._horizon_ms = horizon_ms
        self._seen = Marks()
        self.clean: set[int] = set()
        self.damaged = 0
        self.entries = 0

    def segment(self, segment: Segment, live: Generation, *, last: bool) -> None:
        """Put everything that the segment holds into `live`. Only the last segment may have a torn tail."""
        live.segments.append(segment.number)
        before = self.damaged
        if segment.scan is None:
            self._note("segment unreadable", str(segment.path))
            return
        gaps = [*segment.scan.gaps]
        if segment.scan.torn and not last:
            gaps.append((segment.scan.good_end, segment.scan.size))
        for start, end in gaps:
            self._note("segment damaged", f"{segment.path} at {start} to {end}")
        context = context_of(segment.scan.records)
        for record in segment.scan.records:
            try:
                self._record(record, live, context)
                self.entries += 1
            except Exception as error:  # a decoder that fails on one record must not keep all others from coming back
                self._note("record unreadable", f"{segment.path} at {record.offset}: {error!r}")
        if self.damaged == before:
            self.clean.add(segment.number)

    def _note(self, event: str, place: str) -> None:
        self.damaged += 1
        self._damage.note(event, place)

    def _record(self, record: Record, live: Generation, context: Context) -> None:
        if record.type == RecordType.ENVELOPE:
            self._envelope(decode_envelope_record(record.payload), live, context)
        elif record.type == RecordType.CONTEXT:
            return
        elif record.type == RecordType.ROWS:
            for part in decode_rows(record.payload):
                layout_id = self._dictionary.layout_of_ids(part.series_ids)
                if layout_id is None:
                    raise CorruptionError("rows of a series that the dictionary does not know")
                self._intake.put(live, layout_id, part.matrix, self._horizon_ms)
        else:
            raise CorruptionError(f"record type {record.type} is unknown")

    def _envelope(self, record: EnvelopeRecord, live: Generation, context: Context) -> None:
        if self._seen.contains(record.sender, record.epoch, record.seq):
            return  # refused once, repeated by its sender: the same bytes twice
        matrices = self._decode(record.raw, context)
        rows = [self._rows_of(layout_id) for layout_id in record.layout_ids]
        if not check_shapes(matrices, rows):
            raise CorruptionError(f"envelope {record.epoch}/{record.seq} does not fit its layouts")
        for layout_id, matrix in zip(record.layout_ids, matrices, strict=True):
            self._intake.put(live, layout_id, matrix, self._horizon_ms)
        self._seen.add(record.sender, record.epoch, record.seq)
        self._intake.note(live, record)
        live.provenance += provenance_of(record, record.layout_ids, matrices)

    def _rows_of(self, layout_id: int) -> int:
        series_ids = self._dictionary.series_ids_of(layout_id)
        if series_ids is None:
            raise CorruptionError(f"layout {layout_id} is unknown")
        return len(series_ids)
