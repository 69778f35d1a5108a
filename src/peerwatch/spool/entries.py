"""Entries: the index of one part of the spool, in columns."""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left, bisect_right

from peerwatch.spool.position import Position


class Entries:
    """Positions, times and places of envelopes, in strictly increasing order of position.

    Mutable; owned by its part. 32 bytes per envelope; bounded by `SpoolConfig.max_items` over all parts.
    """

    __slots__ = ("epochs", "offsets", "seqs", "sizes", "times_ms")

    def __init__(self) -> None:
        self.epochs = array("q")
        self.seqs = array("q")
        self.times_ms = array("q")
        self.offsets = array("I")
        self.sizes = array("I")

    def __len__(self) -> int:
        return len(self.seqs)

    def append(self, position: Position, time_ms: int, offset: int, size_bytes: int) -> None:
        """Add an envelope. Raises ValueError when it does not follow the last one."""
        if self.seqs and position <= self.position(-1):
            raise ValueError(f"position {position} does not follow {self.position(-1)}")
        self.epochs.append(position.epoch)
        self.seqs.append(position.seq)
        self.times_ms.append(time_ms)
        self.offsets.append(offset)
        self.sizes.append(size_bytes)

    def position(self, index: int) -> Position:
        """The position of the index-th envelope."""
        return Position(self.epochs[index], self.seqs[index])

    def lower(self, position: Position) -> int:
        """Index of the first envelope at `position` or above; the count when there is none."""
        low = bisect_left(self.epochs, position.epoch)
        high = bisect_right(self.epochs, position.epoch, low)
        return bisect_left(self.seqs, position.seq, low, high)

    def span(self, epoch: int, first: int, last: int) -> tuple[int, int]:
        """Half-open range of indexes of the envelopes first..last (inclusive) of `epoch`."""
        low = bisect_left(self.epochs, epoch)
        high = bisect_right(self.epochs, epoch, low)
        return bisect_left(self.seqs, first, low, high), bisect_right(self.seqs, last, low, high)

    def cut_head(self, count: int) -> None:
        """Forget the first `count` envelopes."""
        for column in self._columns():
            del column[:count]

    def cut_tail(self, start: int) -> None:
        """Forget the envelopes from index `start` on."""
        for column in self._columns():
            del column[start:]

    def to_bytes(self) -> bytes:
        """The columns one after the other, little-endian."""
        return b"".join(_little(column).tobytes() for column in self._columns())

    @classmethod
    def from_bytes(cls, data: bytes, count: int) -> Entries:
        """What `to_bytes` gave for `count` envelopes. Raises ValueError for another length."""
        entries = cls()
        at = 0
        for column in entries._columns():
            size = count * column.itemsize
            column.frombytes(data[at : at + size])
            at += size
        if at != len(data):
            raise ValueError(f"index of {count} envelopes has {len(data)} bytes, must have {at}")
        if sys.byteorder == "big":
            for column in entries._columns():
                column.byteswap()
        return entries

    def _columns(self) -> tuple[array[int], ...]:
        return (self.epochs, self.seqs, self.times_ms, self.offsets, self.sizes)


def _little(column: array[int]) -> array[int]:
    if sys.byteorder == "little":
        return column
    swapped = column[:]
    swapped.byteswap()
    return swapped
