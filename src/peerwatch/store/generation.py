"""Generation: what was appended between two flushes: heads, marks, provenance, and the WAL segments that hold it."""

from __future__ import annotations

from dataclasses import dataclass, field

from peerwatch.model import Int64Array, Marks, Matrix
from peerwatch.store.head import LayoutHead
from peerwatch.store.provenance import Provenance, RunRoot

PROVENANCE_BYTES = 256  # a row with its numbers, roughly: batches of few samples must count too
_HEAD_BYTES = 1024  # the objects of a head: layouts of one series must count too
_NEVER_FIRST = 1 << 62
_NEVER_LAST = -(1 << 62)


@dataclass(slots=True, eq=False)
class Generation:
    """Mutable while live, frozen by its owner, the store, when a flush begins. Bounded by the head budget."""

    heads: dict[int, LayoutHead] = field(default_factory=dict)
    marks: Marks = field(default_factory=Marks)
    provenance: list[Provenance] = field(default_factory=list)
    run_roots: list[RunRoot] = field(default_factory=list)
    segments: list[int] = field(default_factory=list)
    strays: list[int] = field(default_factory=list)
    """Blocks of a flush that failed half-way: the next try replaces them."""
    first_ms: int = _NEVER_FIRST
    last_ms: int = _NEVER_LAST
    samples: int = 0
    """Cells received; cells that came twice count twice."""

    def __bool__(self) -> bool:
        """Whether there is anything to flush."""
        return bool(self.heads) or len(self.marks) > 0

    @property
    def size_bytes(self) -> int:
        """Memory held."""
        beside = len(self.heads) * _HEAD_BYTES + len(self.provenance) * PROVENANCE_BYTES
        return beside + sum(head.size_bytes for head in self.heads.values())

    def upsert(self, layout_id: int, series_ids: Int64Array, matrix: Matrix) -> int:
        """Put the cells in; returns how many bytes the head grew."""
        head = self.heads.get(layout_id)
        before = -_HEAD_BYTES
        if head is None:
            head = self.heads[layout_id] = LayoutHead(series_ids)
        else:
            before = head.size_bytes
        head.upsert(matrix)
        times = matrix.times_ms
        self.first_ms = min(self.first_ms, int(times[0]))
        self.last_ms = max(self.last_ms, int(times[-1]))
        self.samples += matrix.sample_count
        return head.size_bytes - before
