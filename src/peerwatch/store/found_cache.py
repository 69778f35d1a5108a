"""FoundCache: which series selectors meant when they were last asked, under a bound."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from peerwatch.model import Int64Array, Labels, Matcher

_MAX_ENTRIES = 256
_MAX_ROWS = 200_000  # over all entries: 5 MB
_MAX_ENTRY_ROWS = 50_000

Key = tuple[Matcher, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """The rows of an index that satisfy some matchers, ascending, whatever times they have samples for.

    rank: the place of each among them, sorted by labels. labels: in that order.
    """

    rows: Int64Array
    rank: Int64Array
    labels: list[Labels]

    @classmethod
    def of(cls, rows: Int64Array, labels: list[Labels]) -> Found:
        """`labels`: of each row."""
        order = sorted(range(len(labels)), key=labels.__getitem__)
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        return cls(rows, rank, [labels[at] for at in order])

    def only(self, kept: Int64Array) -> Found:
        """Some of the rows: positions, ascending."""
        if len(kept) == len(self.rows):
            return self
        chosen = self.rank[kept]
        order = np.argsort(chosen)
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        return Found(self.rows[kept], rank, [self.labels[at] for at in chosen[order].tolist()])


class FoundCache:
    """Dashboards ask with the same few selectors again and again; sorting labels is most of what finding costs.

    An answer is forgotten when its index has grown. When full, the least recently used go; a selector that means more
    than 50,000 series is not kept. Guarded by the lock of its owner, the dictionary.
    """

    def __init__(self) -> None:
        self._entries: OrderedDict[Key, tuple[int, Found]] = OrderedDict()
        self._rows = 0

    def get(self, key: Key, version: int) -> Found | None:
        """What was found by an index of this size."""
        entry = self._entries.get(key)
        if entry is None or entry[0] != version:
            return None
        self._entries.move_to_end(key)
        return entry[1]

    def put(self, key: Key, version: int, found: Found) -> None:
        """Keep it, where that is worth it."""
        self._drop(key)
        if len(found.rows) > _MAX_ENTRY_ROWS:
            return
        self._entries[key] = (version, found)
        self._rows += len(found.rows)
        while len(self._entries) > _MAX_ENTRIES or self._rows > _MAX_ROWS:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._rows -= len(entry[1].rows)
