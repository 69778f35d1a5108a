"""Provenance: who signed what: the bounds of every part of every envelope, and the agents' signed run roots."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import numpy as np

from peerwatch.errors import CorruptionError
from peerwatch.model import Int64Array, Marks
from peerwatch.store.packing import pack_ints, unpack_ints, unzip, zip_bytes


class Provenance(NamedTuple):
    """Bounds of one part of one envelope. A plain tuple: one is made per part on the way in."""

    sender: bytes
    epoch: int
    seq: int
    layout_id: int
    first_ms: int
    last_ms: int
    ticks: int


class RunRoot(NamedTuple):
    """A signed blob that came with (sender, epoch, seq)."""

    sender: bytes
    epoch: int
    seq: int
    blob: bytes


_SENDER, _EPOCH, _SEQ, _LAYOUT, _FIRST, _LAST, _TICKS = range(7)


@dataclass(frozen=True, slots=True)
class ProvenanceColumns:
    """Provenance rows, distinct, sorted by sender, epoch and seq. `table` is int64 [7, rows]; senders are coded."""

    senders: list[bytes]
    table: Int64Array

    @classmethod
    def of(cls, rows: Sequence[Provenance]) -> ProvenanceColumns:
        """From rows in any order. Epochs and numbers are unsigned on the wire; they wrap into int64 and back."""
        if not rows:
            return cls([], np.empty((7, 0), np.int64))
        columns = list(zip(*rows, strict=True))
        senders = sorted(set(columns[_SENDER]))
        code = {sender: at for at, sender in enumerate(senders)}
        table = np.empty((7, len(rows)), np.int64)
        table[_SENDER] = list(map(code.__getitem__, columns[_SENDER]))
        for column in (_EPOCH, _SEQ):
            table[column] = np.array(columns[column], np.uint64).view(np.int64)
        for column in range(_LAYOUT, 7):
            table[column] = columns[column]
        return cls(senders, _sorted(table))

    def __len__(self) -> int:
        return len(self.table[0])

    def between(self, start_ms: int, end_ms: int) -> ProvenanceColumns:
        """Rows that touch [start_ms, end_ms)."""
        return ProvenanceColumns(
            self.senders, self.table[:, (self.table[_FIRST] < end_ms) & (self.table[_LAST] >= start_ms)]
        )

    @classmethod
    def union(cls, parts: Sequence[ProvenanceColumns]) -> ProvenanceColumns:
        """All rows of all parts, each once."""
        senders = sorted({sender for part in parts for sender in part.senders})
        code = {sender: at for at, sender in enumerate(senders)}
        tables = [np.empty((7, 0), np.int64)]
        for part in parts:
            table = part.table.copy()
            if part.senders:
                table[_SENDER] = np.array([code[sender] for sender in part.senders], np.int64)[part.table[_SENDER]]
            tables.append(table)
        return cls(senders, _sorted(np.concatenate(tables, axis=1)))

    def encode(self) -> bytes:
        """Columns, packed; the end of a part is kept as its distance from the start."""
        table = self.table.copy()
        table[_LAST] -= table[_FIRST]
        return _head(self.senders) + b"".join(pack_ints(column) for column in table)


def _sorted(table: Int64Array) -> Int64Array:
    order = np.lexsort(table[::-1])
    ordered = table[:, order]
    fresh = np.ones(len(order), np.bool_)
    fresh[1:] = (ordered[:, 1:] != ordered[:, :-1]).any(axis=0)
    distinct: Int64Array = ordered[:, fresh]
    return distinct


def _head(senders: Sequence[bytes]) -> bytes:
    packed = msgspec.msgpack.encode(list(senders))
    return len(packed).to_bytes(4, "little") + packed


def decode_provenance(data: bytes) -> ProvenanceColumns:
    """Raises CorruptionError."""
    size = int.from_bytes(data[:4], "little")
    try:
        senders = msgspec.msgpack.decode(data[4 : 4 + size], type=list[bytes])
        columns = []
        at = 4 + size
        for _ in range(7):
            column, at = unpack_ints(data, at)
            columns.append(column)
        table = np.stack(columns)
    except (msgspec.MsgspecError, ValueError) as error:
        raise CorruptionError(f"provenance of {len(data)} bytes: {error}") from error
    table[_LAST] += table[_FIRST]
    return ProvenanceColumns(senders, table)


def encode_run_roots(roots: Iterable[RunRoot]) -> bytes:
    """Sorted, each once."""
    return zip_bytes(msgspec.msgpack.encode(sorted(set(roots))))


def decode_run_roots(data: bytes) -> list[RunRoot]:
    """Raises CorruptionError."""
    try:
        return msgspec.msgpack.decode(unzip(data), type=list[RunRoot])
    except msgspec.MsgspecError as error:
        raise CorruptionError(f"run roots of {len(data)} bytes: {error}") from error


def encode_marks(marks: Marks) -> bytes:
    """Runs per (sender, epoch)."""
    rows = [(sender, epoch, list(runs)) for sender, epoch, runs in marks]
    return zip_bytes(msgspec.msgpack.encode(sorted(rows)))


def decode_marks(data: bytes) -> Marks:
    """Raises CorruptionError."""
    marks = Marks()
    try:
        rows = msgspec.msgpack.decode(unzip(data), type=list[tuple[bytes, int, list[tuple[int, int]]]])
        for sender, epoch, runs in rows:
            kept = marks.intervals(sender, epoch)
            for first, last in runs:
                kept.add_run(first, last)
    except (msgspec.MsgspecError, ValueError) as error:
        raise CorruptionError(f"marks of {len(data)} bytes: {error}") from error
    return marks
