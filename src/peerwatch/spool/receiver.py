"""Receiver: which envelopes one receiver has, is being sent, and still waits for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import compress

from peerwatch.model import SeqIntervals
from peerwatch.spool.part import Part
from peerwatch.spool.position import Position

_WAITING, _OUT, _ACKED = 0, 1, 2
_IS_OPEN = bytes.maketrans(bytes((_WAITING, _OUT, _ACKED)), bytes((1, 1, 0)))
_OPEN_MARK = re.compile(b"[^\x02]")
_ACKED_MARKS = re.compile(b"\x02+")


class Receiver:
    """A byte per held envelope: waiting, handed out or acknowledged. Mutable; owned by the Ledger.

    Searches run over the bytes at memory speed, so there are no hints to keep right. `out` holds what is handed out
    with the time at which it counts as lost on the way; its bound is what the caller keeps in flight.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.count = 0
        self.size_bytes = 0
        self.out: dict[Position, float] = {}
        self._marks: dict[Part, bytearray] = {}

    def add(self, part: Part, floor: Position) -> None:
        """Take up a part; what lies below `floor` is settled."""
        done = part.entries.lower(floor)
        self._marks[part] = bytearray(len(part.entries))
        self._marks[part][:done] = bytes((_ACKED,)) * done
        self._count(part, done, len(part.entries), 1)

    def appended(self, part: Part, count: int) -> None:
        """The part has `count` more envelopes at its end, all waiting."""
        marks = self._marks[part]
        marks.extend(bytes(count))
        self._count(part, len(marks) - count, len(marks), 1)

    def moved(self, source: Part, target: Part, count: int) -> None:
        """The first `count` envelopes of `source` are now the last of `target`, in whatever state they were."""
        self._marks[target].extend(self._marks[source][:count])
        del self._marks[source][:count]

    def cut(self, part: Part, count: int) -> None:
        """The first `count` envelopes of a part are given up. Call before the part forgets them."""
        self._count(part, 0, count, -1)
        for index in range(count):
            self.out.pop(part.entries.position(index), None)
        del self._marks[part][:count]

    def remove(self, part: Part) -> None:
        """The whole part is gone, or about to be."""
        self.cut(part, len(part.entries))
        del self._marks[part]

    def ack(self, part: Part, low: int, high: int) -> None:
        """It has the envelopes low..high (half-open) of a part."""
        marks = self._marks[part]
        for found in _OPEN_MARK.finditer(marks, low, high):
            if marks[found.start()] == _OUT:
                self.out.pop(part.entries.position(found.start()), None)
        self._count(part, low, high, -1)
        marks[low:high] = bytes((_ACKED,)) * (high - low)

    def hand_out(self, part: Part, index: int, deadline_s: float) -> None:
        """An envelope is on its way; from `deadline_s` on it is taken for lost."""
        self._marks[part][index] = _OUT
        self.out[part.entries.position(index)] = deadline_s  # in the order of deadlines: what waits is never in there

    def take_back(self, part: Part, index: int) -> None:
        """An envelope did not arrive: it waits again. One that is acknowledged stays so."""
        self.out.pop(part.entries.position(index), None)
        if self._marks[part][index] == _OUT:
            self._marks[part][index] = _WAITING

    def overdue(self, now_s: float) -> list[Position]:
        """What has been out for too long."""
        late = []
        for position, deadline_s in self.out.items():
            if deadline_s > now_s:
                break
            late.append(position)
        return late

    def waiting(self, part: Part, start: int, end: int) -> int | None:
        """Index of the first envelope in start..end (half-open) that waits."""
        found = self._marks[part].find(_WAITING, start, end)
        return found if found >= 0 else None

    def first_open(self, part: Part) -> int | None:
        """Index of the first envelope of a part that is not acknowledged."""
        found = _OPEN_MARK.search(self._marks[part])
        return found.start() if found else None

    def is_open(self, part: Part, index: int) -> bool:
        """Whether an envelope is not acknowledged."""
        return self._marks[part][index] != _ACKED

    def acked_runs(self, parts: Iterable[Part], low: Position) -> dict[int, SeqIntervals]:
        """What it has at `low` and above, by epoch; numbers that are not held join the runs around them."""
        acked: dict[int, SeqIntervals] = {}
        for part in parts:
            for found in _ACKED_MARKS.finditer(self._marks[part], part.entries.lower(low)):
                _add_runs(acked, part, found.start(), found.end())
        return acked

    def _count(self, part: Part, low: int, high: int, sign: int) -> None:
        is_open = self._marks[part][low:high].translate(_IS_OPEN)
        self.count += sign * sum(is_open)
        self.size_bytes += sign * sum(compress(part.entries.sizes[low:high], is_open))


def _add_runs(acked: dict[int, SeqIntervals], part: Part, low: int, high: int) -> None:
    entries = part.entries
    while low < high:
        epoch = entries.epochs[low]
        end = min(high, entries.lower(Position(epoch + 1, 0)))
        acked.setdefault(epoch, SeqIntervals()).add_run(entries.seqs[low], entries.seqs[end - 1])
        low = end
