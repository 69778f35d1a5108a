"""Material for store tests: a clock that is set, envelopes that carry their matrices, a model that is a dictionary."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import msgspec
import numpy as np

from peerwatch.model import (
    EnvelopeEntry,
    Labels,
    Layout,
    Matcher,
    MatchOp,
    Matrix,
    MetricType,
    Part,
    SampleMatrix,
    Series,
    SeriesSet,
)
from peerwatch.store.disk import Disk
from peerwatch.store.intake import Context, provenance_of
from peerwatch.store.provenance import Provenance, ProvenanceColumns, RunRoot
from peerwatch.store.reader import StoreReader
from peerwatch.wire.packing import PackedMatrix, pack

HOUR_MS = 3_600_000
BASE_MS = 1_700_000_000_000 - 1_700_000_000_000 % (2 * HOUR_MS)
_ELSEWHERE = b"in context "
EVERYTHING_MS = (-(1 << 60), 1 << 60)


class ManualClock:
    """Time that a test sets."""

    def __init__(self, now_ms: int = BASE_MS) -> None:
        self.now = now_ms

    def now_ms(self) -> int:
        return self.now

    def monotonic_s(self) -> float:
        return self.now / 1000


def series(metric: str, **labels: str) -> Series:
    return Series(Labels.of({"__name__": metric, **labels}), MetricType.GAUGE, f"help of {metric}", "")


def matrix(times: Sequence[int], values: object, presence: object = None) -> SampleMatrix:
    return SampleMatrix(
        np.array(times, np.int64),
        np.array(values, np.float64),
        None if presence is None else np.array(presence, np.bool_),
    )


def encode(matrices: Sequence[SampleMatrix]) -> bytes:
    """Stands in for the signed bytes of an envelope."""
    return msgspec.msgpack.encode(
        [
            (
                m.values.shape[0],
                m.times_ms.tobytes(),
                np.ascontiguousarray(m.values).tobytes(),
                None if m.presence is None else np.ascontiguousarray(m.presence).tobytes(),
            )
            for m in matrices
        ]
    )


def decode(raw: bytes, context: Context) -> list[PackedMatrix]:
    if raw.startswith(_ELSEWHERE):
        raw = context[raw.removeprefix(_ELSEWHERE)]
    parts = msgspec.msgpack.decode(raw, type=list[tuple[int, bytes, bytes, bytes | None]])
    result = []
    for rows, times, values, presence in parts:
        ticks = np.frombuffer(times, np.int64)
        shape = (rows, len(ticks))
        mask = None if presence is None else np.frombuffer(presence, np.bool_).reshape(shape)
        result.append(packed(SampleMatrix(ticks, np.frombuffer(values).reshape(shape), mask)))
    return result


def envelope(
    seq: int, *parts: tuple[Layout, SampleMatrix], sender: bytes = b"agent-1", root: bytes = b""
) -> EnvelopeEntry:
    """Every third one cannot be read without its context, which some share."""
    raw, context = encode([m for _, m in parts]), ()
    if seq % 3 == 0:
        name = sha256(raw).digest()[:8]
        raw, context = _ELSEWHERE + name, ((name, raw),)
    return EnvelopeEntry(sender, 1, seq, raw, tuple(Part(layout, packed(m)) for layout, m in parts), root, context)


def packed(m: SampleMatrix) -> PackedMatrix:
    """The matrix as it comes out of an envelope."""
    return PackedMatrix.checked(pack(np.ascontiguousarray(m.values)), m.times_ms, m.presence, len(m.values))


def named(metric: str) -> list[Matcher]:
    return [Matcher("__name__", MatchOp.EQUAL, metric)]


def bits(value: float) -> int:
    return int(np.float64(value).view(np.uint64))


Cells = dict[Labels, dict[int, int]]
"""Per series: time -> bit pattern of the value."""


def cells_of(found: SeriesSet) -> Cells:
    """The answer of a read; fails when it is not sorted or holds a cell twice."""
    labels = list(found.labels)
    assert labels == sorted(set(labels))
    assert found.offsets[0] == 0 and found.offsets[-1] == len(found.times_ms) == len(found.values)
    result: Cells = {}
    patterns = found.values.view(np.uint64).tolist()
    for at, one in enumerate(labels):
        low, high = int(found.offsets[at]), int(found.offsets[at + 1])
        times = found.times_ms[low:high].tolist()
        assert times == sorted(set(times))
        result[one] = dict(zip(times, patterns[low:high], strict=True))
    return result


def put(model: Cells, layout: Layout, m: Matrix) -> None:
    """The rule of the store on a dictionary: of two values for a cell the larger bit pattern stays."""
    patterns = np.ascontiguousarray(m.values).view(np.uint64)
    for row, one in enumerate(layout.series):
        for tick, time_ms in enumerate(m.times_ms.tolist()):
            if m.presence is None or m.presence[row, tick]:
                cell = model.setdefault(one.labels, {})
                cell[time_ms] = max(cell.get(time_ms, 0), int(patterns[row, tick]))


def between(model: Cells, start_ms: int, end_ms: int) -> Cells:
    """What a read of [start_ms, end_ms] must answer."""
    cut = {one: {t: v for t, v in cells.items() if start_ms <= t <= end_ms} for one, cells in model.items()}
    return {one: cells for one, cells in cut.items() if cells}


def stored_origins(folder: Path, disk: Disk | None = None) -> tuple[list[Provenance], list[RunRoot]]:
    """What the files of a store, open or not, tell of its envelopes and signed runs, in blocks and in the WAL."""
    reader = StoreReader(folder, decode, disk)
    rows, roots = set(), set()
    for window in reader.windows():
        rows |= set(_rows(reader.provenance(window)))
        roots |= set(reader.run_roots(window))
    for batch in reader.logged():
        told = batch.record
        rows |= set(provenance_of(told, told.layout_ids, batch.matrices))
        if told.run_root:
            roots.add(RunRoot(told.sender, told.epoch, told.seq, told.run_root))
    return sorted(rows), sorted(roots)


def _rows(columns: ProvenanceColumns) -> list[Provenance]:
    """As plain rows; numbers are unsigned on the wire and wrap into int64."""
    code, epoch, seq, *bounds = columns.table
    numbers = zip(
        *(one.view(np.uint64).tolist() for one in (epoch, seq)), *(one.tolist() for one in bounds), strict=True
    )
    return [Provenance(columns.senders[at], *row) for at, row in zip(code.tolist(), numbers, strict=True)]
