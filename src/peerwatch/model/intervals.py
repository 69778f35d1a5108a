"""SeqIntervals and Marks: which numbers of which sender have been seen, in a few integers."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator


class SeqIntervals:
    """A set of non-negative integers kept as sorted, disjoint, inclusive runs. Its owner is whoever made it.

    Memory follows the number of gaps, not of members; the caller bounds the gaps by raising the floor.
    """

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, runs: Iterable[tuple[int, int]] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in runs:
            self.add_run(first, last)

    def __contains__(self, seq: int) -> bool:
        at = bisect_right(self._firsts, seq) - 1
        return at >= 0 and seq <= self._lasts[at]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(zip(self._firsts, self._lasts, strict=True))

    def __len__(self) -> int:
        """How many runs there are."""
        return len(self._firsts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SeqIntervals):
            return NotImplemented
        return self._firsts == other._firsts and self._lasts == other._lasts

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"SeqIntervals({list(self)})"

    @property
    def count(self) -> int:
        """How many numbers are in the set."""
        return sum(last - first + 1 for first, last in self)

    def add(self, seq: int) -> None:
        """Put one number in."""
        lasts = self._lasts
        if lasts and lasts[-1] + 1 == seq:  # the usual case: the next one
            lasts[-1] = seq
            return
        self.add_run(seq, seq)

    def add_run(self, first: int, last: int) -> None:
        """Put first..last (inclusive) in; joins the runs that it touches."""
        if first < 0 or last < first:
            raise ValueError(f"run {first}..{last} is not a run of sequence numbers")
        low = bisect_right(self._lasts, first - 2)  # first run that ends at first - 1 or later
        high = bisect_right(self._firsts, last + 1)  # one past the last run that starts at last + 1 or earlier
        if low < high:
            first = min(first, self._firsts[low])
            last = max(last, self._lasts[high - 1])
        self._firsts[low:high] = [first]
        self._lasts[low:high] = [last]

    def update(self, other: SeqIntervals) -> None:
        """Put every number of `other` in."""
        for first, last in other:
            self.add_run(first, last)

    def copy(self) -> SeqIntervals:
        """A set of its own with the same numbers."""
        twin = SeqIntervals()
        twin._firsts = self._firsts.copy()
        twin._lasts = self._lasts.copy()
        return twin


_CLOSED = 0  # epochs begin at 1


class Marks:
    """Per (sender, epoch): the sequence numbers whose samples are stored. Mutable; owned by its maker.

    Epoch 0, which no sender has, holds the epochs that their sender has closed: nothing of them is taken any more, so
    their own numbers may be forgotten and a replay of them is still told from something new. Merging is union, so it
    is commutative, associative and idempotent: marks of blocks, WAL and memory add up.
    """

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: dict[tuple[bytes, int], SeqIntervals] = {}

    def add(self, sender: bytes, epoch: int, seq: int) -> None:
        """Note that (sender, epoch, seq) is stored."""
        self.intervals(sender, epoch).add(seq)

    def intervals(self, sender: bytes, epoch: int) -> SeqIntervals:
        """The live set for (sender, epoch), made empty when it is new."""
        key = (sender, epoch)
        found = self._seen.get(key)
        if found is None:
            found = self._seen[key] = SeqIntervals()
        return found

    def contains(self, sender: bytes, epoch: int, seq: int) -> bool:
        """Whether (sender, epoch, seq) is stored."""
        found = self._seen.get((sender, epoch))
        return found is not None and seq in found

    def close_below(self, sender: bytes, epoch: int) -> None:
        """Nothing of this sender's epochs below `epoch` (1 or more) is new any more; their numbers are forgotten."""
        self.intervals(sender, _CLOSED).add_run(0, epoch - 1)
        for one in [key for key in self._seen if key[0] == sender and _CLOSED < key[1] < epoch]:
            del self._seen[one]

    def floors(self) -> dict[bytes, int]:
        """By sender, the lowest epoch that is not closed; who has closed none is not in it."""
        return {sender: list(runs)[-1][1] + 1 for (sender, epoch), runs in self._seen.items() if epoch == _CLOSED}

    def update(self, other: Marks) -> None:
        """Add everything that `other` knows."""
        for (sender, epoch), runs in other._seen.items():
            self.intervals(sender, epoch).update(runs)

    def __iter__(self) -> Iterator[tuple[bytes, int, SeqIntervals]]:
        """Everything, epoch 0 with the closed epochs included: what is written down."""
        return iter([(sender, epoch, runs) for (sender, epoch), runs in self._seen.items()])

    def __len__(self) -> int:
        return len(self._seen)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Marks):
            return NotImplemented
        return self._seen == other._seen

    __hash__ = None  # type: ignore[assignment]  # mutable

    def copy(self) -> Marks:
        """Marks of its own with the same content."""
        twin = Marks()
        twin._seen = {key: runs.copy() for key, runs in self._seen.items()}
        return twin
