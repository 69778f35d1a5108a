"""Dedupe: a batch is stored once, however often it comes, and a cloned identity is noticed (requirements B25, B33)."""

from __future__ import annotations

from collections import OrderedDict
from enum import Enum

from peerwatch.model import Marks
from peerwatch.wire.envelope import Envelope

_REMEMBERED = 100_000  # contents of recent numbers, over all senders: 10 MB; an older repeat is a plain duplicate
_PRINT_BYTES = 16  # of the signature, which Ed25519 makes from the content alone


class Verdict(Enum):
    """What an envelope's number says."""

    NEW = "new"
    DUPLICATE = "duplicate"
    CLONED = "cloned"


class Dedupe:
    """Which numbers are stored. Owned by the collector's event loop."""

    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        self._floors: dict[bytes, tuple[int, int]] = {}
        self._prints: OrderedDict[tuple[bytes, int, int], bytes] = OrderedDict()

    def judge(self, envelope: Envelope) -> Verdict:
        """NEW to be stored; DUPLICATE: stored before, or below what its sender gave up; CLONED: other content."""
        header = envelope.header
        print_ = self._prints.get((header.sender, header.epoch, header.seq))
        if print_ is not None and print_ != envelope.signature[:_PRINT_BYTES]:
            return Verdict.CLONED
        if self._marks.contains(header.sender, header.epoch, header.seq):
            return Verdict.DUPLICATE
        if (header.epoch, header.seq) < self._floors.get(header.sender, (0, 0)):
            return Verdict.DUPLICATE
        return Verdict.NEW

    def remember(self, envelope: Envelope) -> None:
        """Note what this number holds, from the moment that it is accepted."""
        header = envelope.header
        self._prints[(header.sender, header.epoch, header.seq)] = envelope.signature[:_PRINT_BYTES]
        if len(self._prints) > _REMEMBERED:
            self._prints.popitem(last=False)

    def forget(self, envelope: Envelope) -> None:
        """It was not stored after all."""
        header = envelope.header
        self._prints.pop((header.sender, header.epoch, header.seq), None)

    def stored(self, envelope: Envelope) -> list[tuple[bytes, int]]:
        """Note that it is durable; the (sender, epoch) pairs that its floor closes for good."""
        header = envelope.header
        self._marks.add(header.sender, header.epoch, header.seq)
        floor = (header.floor_epoch, header.floor_seq)
        before = self._floors.get(header.sender, (0, 0))
        if floor <= before:
            return []
        self._floors[header.sender] = floor
        if floor[0] == before[0]:
            return []
        return self._close_epochs(header.sender, floor[0])

    def _close_epochs(self, sender: bytes, floor_epoch: int) -> list[tuple[bytes, int]]:
        closed = [(one, epoch) for one, epoch, _ in self._marks if one == sender and epoch < floor_epoch]
        for one, epoch in closed:
            self._marks.drop(one, epoch)
        return closed
