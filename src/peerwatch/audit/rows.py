"""BatchRows: what the store says of a sender's batches: which parts each has, of which layout, from when to when."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from peerwatch.model import BoolArray, Int64Array
from peerwatch.store.provenance import ProvenanceColumns
from peerwatch.wire.run_root import Place

_EPOCH, _SEQ, _LAYOUT, _FIRST, _LAST = range(1, 6)


@dataclass(frozen=True, slots=True)
class BatchRows:
    """Columns of equal length, sorted by number; a row is a part of a batch."""

    epochs: Int64Array
    seqs: Int64Array
    layouts: Int64Array
    firsts: Int64Array
    lasts: Int64Array

    @classmethod
    def none(cls) -> BatchRows:
        """No rows."""
        return cls(*[np.empty(0, np.int64)] * 5)

    @classmethod
    def joined(cls, parts: list[BatchRows]) -> BatchRows:
        """All of them, each once."""
        tables = [np.stack([one.epochs, one.seqs, one.layouts, one.firsts, one.lasts]) for one in parts]
        table = np.unique(np.concatenate([np.empty((5, 0), np.int64), *tables], axis=1), axis=1)
        return cls(*table)

    def __len__(self) -> int:
        return len(self.seqs)

    def take(self, kept: BoolArray) -> BatchRows:
        """Some of the rows."""
        columns = (self.epochs, self.seqs, self.layouts, self.firsts, self.lasts)
        return BatchRows(*(one[kept] for one in columns))

    def batches(self) -> Iterator[tuple[Place, slice]]:
        """(number, its rows) of each batch."""
        if not len(self):
            return
        changes = np.flatnonzero((np.diff(self.epochs) != 0) | (np.diff(self.seqs) != 0)) + 1
        bounds = [0, *changes.tolist(), len(self)]
        numbers = zip(self.epochs[bounds[:-1]].tolist(), self.seqs[bounds[:-1]].tolist(), strict=True)
        for number, start, end in zip(numbers, bounds[:-1], bounds[1:], strict=True):
            yield number, slice(start, end)

    def starting_before(self, end_ms: int) -> BatchRows:
        """All rows of the batches of which the earliest part begins before `end_ms`."""
        return self._of_batches(lambda part: self.firsts[part].min() < end_ms)

    def touching(self, start_ms: int, end_ms: int) -> BatchRows:
        """All rows of the batches that lie in [start_ms, end_ms], wholly or in part."""
        if len(self) and self.firsts.min() >= start_ms and self.lasts.max() <= end_ms:
            return self
        return self._of_batches(lambda part: self.firsts[part].min() <= end_ms and self.lasts[part].max() >= start_ms)

    def _of_batches(self, wanted: Callable[[slice], bool]) -> BatchRows:
        kept = np.zeros(len(self), np.bool_)
        for _, part in self.batches():
            kept[part] = wanted(part)
        return self.take(kept)


def rows_by_sender(provenance: ProvenanceColumns) -> dict[bytes, BatchRows]:
    """A window's provenance, sender by sender."""
    table = provenance.table
    codes = table[0]
    found = {}
    for code, sender in enumerate(provenance.senders):
        low, high = np.searchsorted(codes, code), np.searchsorted(codes, code, "right")
        if low < high:
            found[sender] = BatchRows(*(table[at, low:high] for at in (_EPOCH, _SEQ, _LAYOUT, _FIRST, _LAST)))
    return found
