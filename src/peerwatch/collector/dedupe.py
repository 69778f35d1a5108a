"""Dedupe: a batch is stored once, however often it comes, and a cloned identity is noticed (requirements B25, B33)."""

from __future__ import annotations

from collections import OrderedDict
from enum import Enum

from peerwatch.model import Marks, SeqIntervals
from peerwatch.wire.envelope import Envelope, Header

_REMEMBERED = 100_000  # contents of recent numbers, over all senders: 25 MB; an older repeat is a plain duplicate
_PRINT_BYTES = 16  # of the signature, which Ed25519 makes from the content alone

Number = tuple[bytes, int, int]
"""(sender, epoch, seq): what identifies a batch."""


def number_of(header: Header) -> Number:
    """The number that an envelope bears."""
    return header.sender, header.epoch, header.seq


class Verdict(Enum):
    """What an envelope's number says."""

    NEW = "new"
    PENDING = "pending"
    """The same envelope is on its way to the disk."""
    DUPLICATE = "duplicate"
    CLONED = "cloned"
    """The number is taken by other content."""
    CLOSED = "closed"
    """Not stored, and its sender has said that it would never come."""
    SCATTERED = "scattered"
    """The sender's numbers have more gaps than are kept."""


class _Sender:
    """What is known of one sender's numbers: the runs that are stored, by epoch, and its floor."""

    __slots__ = ("epochs", "floor", "runs")

    def __init__(self) -> None:
        self.floor = (0, 0)
        self.epochs: dict[int, SeqIntervals] = {}
        self.runs = 0

    def open_epoch(self, epoch: int) -> SeqIntervals:
        return self.epochs.setdefault(epoch, SeqIntervals())

    def close_below(self, epoch: int) -> None:
        for one in [one for one in self.epochs if one < epoch]:
            self.runs -= len(self.epochs.pop(one))

    def adds_a_run(self, header: Header) -> bool:
        runs = self.epochs.get(header.epoch)
        return runs is None or not (header.seq - 1 in runs or header.seq + 1 in runs)


class Dedupe:
    """Which numbers are stored or on their way. Owned by the collector's event loop.

    Bounded per sender by `max_runs` (then SCATTERED) and by the roster in senders; contents are remembered for what is
    on its way and for the last 100,000 stored, after which other content under a stored number is not noticed.
    """

    def __init__(self, marks: Marks, max_runs: int) -> None:
        self._max_runs = max_runs
        self._senders: dict[bytes, _Sender] = {}
        self._pending: dict[Number, bytes] = {}
        self._prints: OrderedDict[Number, bytes] = OrderedDict()
        for sender, epoch, runs in marks:
            known = self._senders.setdefault(sender, _Sender())
            known.epochs[epoch] = runs
            known.runs += len(runs)
        for sender, epoch in marks.floors().items():  # else a restart would forget them, and take replays for new
            self._senders[sender].floor = (epoch, 0)
            self._senders[sender].close_below(epoch)

    def judge(self, envelope: Envelope) -> Verdict:
        """What to do with an envelope whose signature holds."""
        header, content = envelope.header, envelope.signature[:_PRINT_BYTES]
        number = number_of(header)
        pending = self._pending.get(number)
        if pending is not None:
            return Verdict.PENDING if pending == content else Verdict.CLONED
        if self._prints.get(number, content) != content:
            return Verdict.CLONED
        sender = self._senders.get(header.sender)
        return Verdict.NEW if sender is None else self._judge_number(sender, header)

    def _judge_number(self, sender: _Sender, header: Header) -> Verdict:
        runs = sender.epochs.get(header.epoch)
        if runs is not None and header.seq in runs:
            return Verdict.DUPLICATE
        if (header.epoch, header.seq) < sender.floor:
            return Verdict.CLOSED
        closes_epochs = header.floor_epoch > sender.floor[0]
        if sender.runs >= self._max_runs and not closes_epochs and sender.adds_a_run(header):
            return Verdict.SCATTERED
        return Verdict.NEW

    def floor(self, sender: bytes) -> tuple[int, int]:
        """(epoch, seq) below which a sender has promised to send nothing more."""
        known = self._senders.get(sender)
        return (0, 0) if known is None else known.floor

    def accepted(self, envelope: Envelope) -> None:
        """It is on its way to the disk."""
        self._pending[number_of(envelope.header)] = envelope.signature[:_PRINT_BYTES]

    def failed(self, envelope: Envelope) -> None:
        """It was not stored after all."""
        self._pending.pop(number_of(envelope.header), None)

    def stored(self, envelope: Envelope) -> bool:
        """It is durable; whether its floor closes epochs of its sender for good: those below `floor_epoch`."""
        header = envelope.header
        number = number_of(header)
        self._prints[number] = self._pending.pop(number, envelope.signature[:_PRINT_BYTES])
        if len(self._prints) > _REMEMBERED:
            self._prints.popitem(last=False)
        sender = self._senders.setdefault(header.sender, _Sender())
        runs = sender.open_epoch(header.epoch)
        before = len(runs)
        runs.add(header.seq)
        sender.runs += len(runs) - before
        floor = (header.floor_epoch, header.floor_seq)
        if floor <= sender.floor:
            return False
        rises = floor[0] > max(sender.floor[0], 1)  # below epoch 1 there is none
        sender.floor = floor
        if rises:
            sender.close_below(floor[0])
        return rises
