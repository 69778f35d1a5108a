"""Claims: what one member has signed: the leaves of its batches, from the runs that are kept beside the data."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass

from peerwatch.errors import SignatureError
from peerwatch.model import SeqIntervals
from peerwatch.wire.identity import Verifier
from peerwatch.wire.run_root import NEVER_SENT, Place, RunRoot, open_run


@dataclass(frozen=True, slots=True)
class Signer:
    """A member of the fleet: `sender` is its peer key, `key` the one that signs its batches, as the roster says."""

    name: str
    sender: bytes
    key: bytes


@dataclass(slots=True)
class _Known:
    """A run whose signature holds. `leaves` go once every batch of it was compared."""

    root: RunRoot
    leaves: tuple[bytes, ...]

    def unseen(self, seen: SeqIntervals) -> list[int]:
        """Its numbers that no stored batch had, and that were sent."""
        numbers = range(self.root.first_seq, self.root.last_seq + 1)
        return [seq for seq, leaf in zip(numbers, self.leaves, strict=False) if leaf != NEVER_SENT and seq not in seen]


class Claims:
    """Of one sender. Owned by the audit; memory follows the runs of which something was not compared yet."""

    def __init__(self, fleet: bytes, signer: Signer, hub: str) -> None:
        """`hub` is the peer id of whose store it is; empty: not known."""
        self._fleet = fleet
        self._hub = hub
        self._signer = signer
        self.verifier = Verifier(signer.key)
        self._runs: dict[Place, _Known] = {}
        self._starts: list[Place] = []
        self._seen: dict[int, SeqIntervals] = {}
        self._dropped: dict[int, SeqIntervals] = {}
        self._bounds: tuple[Place, Place] | None = None

    def add(self, blob: bytes) -> RunRoot | None:
        """Take a signed run; None when a longer one from the same number on is known. Raises PeerError if forged."""
        run = open_run(blob, self.verifier)
        root = run.root
        if root.fleet != self._fleet or root.sender != self._signer.sender:
            raise SignatureError(f"run {root.epoch}/{root.first_seq} is of another sender or fleet")
        self._note_dropped(root)
        start = (root.epoch, root.first_seq)
        known = self._runs.get(start)
        if known is not None and known.root.last_seq >= root.last_seq:
            return None
        if known is None:
            insort(self._starts, start)
        self._runs[start] = _Known(root, run.leaves)
        return root

    def covers(self, number: Place) -> bool:
        """Whether a signed run has this number."""
        return self._run_of(number) is not None

    def leaf(self, number: Place) -> bytes | None:
        """What was signed under this number; None when no run has it."""
        known = self._run_of(number)
        return None if known is None or not known.leaves else known.leaves[number[1] - known.root.first_seq]

    def saw(self, number: Place) -> bool:
        """A stored batch has this number; False when one had it before."""
        seen = self._seen.setdefault(number[0], SeqIntervals())
        fresh = number[1] not in seen
        seen.add(number[1])
        return fresh

    def within(self, number: Place) -> None:
        """A stored batch with this number lies in the time that is asked about."""
        low, high = self._bounds or (number, number)
        self._bounds = min(low, number), max(high, number)

    def settle(self, pending: set[Place]) -> None:
        """Let the leaves of runs go of which all was seen and nothing is `pending`."""
        for known in self._runs.values():
            root = known.root
            if not known.leaves or known.unseen(self._intervals(root.epoch)):
                continue
            if not any((root.epoch, seq) in pending for seq in range(root.first_seq, root.last_seq + 1)):
                known.leaves = ()

    def missing(self) -> Iterator[Place]:
        """Signed numbers between the lowest and the highest one `within` that no stored batch has, in order."""
        bounds = self._bounds
        for start in self._starts:
            known = self._runs[start]
            for seq in known.unseen(self._intervals(known.root.epoch)):
                if bounds is not None and bounds[0] < (known.root.epoch, seq) < bounds[1]:
                    yield known.root.epoch, seq

    def missing_runs(self) -> Iterator[tuple[Place, Place]]:
        """(end of a run, end of the one that was signed before the next known one): a run between them is not here."""
        bounds = self._bounds
        end: Place | None = None
        for start in self._starts:
            root = self._runs[start].root
            if end is not None and bounds is not None and end < root.before < start and bounds[0] < root.before:
                yield end, root.before
            end = max(end or (0, 0), (root.epoch, root.last_seq))

    def gave_up(self, number: Place) -> bool:
        """Whether the agent says that it dropped this number before this hub had it."""
        return number[1] in self._dropped.get(number[0], SeqIntervals())

    def gave_up_between(self, end: Place, before: Place) -> int | None:
        """How many numbers after `end` up to `before` the agent says that it dropped; None if not all that are missing.

        Of an epoch that ends between both it is not known how many numbers it had: those up to the last one that is
        told of, or here, are asked for.
        """
        count = 0
        for epoch in sorted({one for one in (*self._dropped, *self._seen, before[0]) if end[0] <= one <= before[0]}):
            first = end[1] + 1 if epoch == end[0] else 0
            accounted = SeqIntervals([*self._dropped.get(epoch, ()), *self._intervals(epoch)])
            last = before[1] if epoch == before[0] else max((last for _, last in accounted), default=-1)
            if _within(accounted, first, last) < last - first + 1:
                return None
            count += max(0, last - first + 1) - _within(self._intervals(epoch), first, last)
        return count

    def _note_dropped(self, root: RunRoot) -> None:
        for one in root.dropped:
            if not one.receivers or not self._hub or self._hub in one.receivers:
                self._dropped.setdefault(one.epoch, SeqIntervals()).add_run(one.first, one.last)

    def _intervals(self, epoch: int) -> SeqIntervals:
        return self._seen.get(epoch) or SeqIntervals()

    def _run_of(self, number: Place) -> _Known | None:
        at = bisect_right(self._starts, number) - 1
        if at < 0:
            return None
        known = self._runs[self._starts[at]]
        root = known.root
        return known if root.epoch == number[0] and number[1] <= root.last_seq else None


def _within(intervals: SeqIntervals, first: int, last: int) -> int:
    """How many of first..last (inclusive) are in the set."""
    return sum(max(0, min(last, high) - max(first, low) + 1) for low, high in intervals)
