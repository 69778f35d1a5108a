"""Ledger: what is held, and who still needs it. Bookkeeping only: no files, no clock."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from peerwatch.errors import ConfigError, StoreError
from peerwatch.model import Dropped
from peerwatch.spool.cursor import Cursor
from peerwatch.spool.memory import MemoryPart
from peerwatch.spool.part import Part
from peerwatch.spool.position import ORIGIN, Position
from peerwatch.spool.receiver import Receiver
from peerwatch.spool.stats import Pending

Place = tuple[Part, int]
"""An envelope: its part, and its index in there."""


class Ledger:
    """All parts in order of position (memory last) and all receivers. Mutable; owned by one Spool, under its lock.

    `floor` only rises: nothing below it is ever handed out again. Until all receivers are known (`is_complete`, at the
    first ack) everything from the floor on is kept for whoever comes: a receiver's cursor may have been lost.
    """

    def __init__(self, memory: MemoryPart, max_receivers: int) -> None:
        self.memory = memory
        self.floor = ORIGIN
        self.last: Position | None = None
        self.items = 0
        self.is_complete = False
        self._max_receivers = max_receivers
        self._parts: list[Part] = [memory]
        self._receivers: dict[str, Receiver] = {}

    # --- parts

    def add(self, part: Part) -> None:
        """Take up a segment behind the others."""
        self._parts.insert(len(self._parts) - 1, part)
        self.items += len(part.entries)
        if part.entries:
            self.saw(part.entries.position(-1))
        for receiver in self._receivers.values():
            receiver.add(part, self.floor)

    def appended(self, part: Part, count: int) -> None:
        """A part has `count` new envelopes."""
        self.items += count
        self.saw(part.entries.position(-1))
        for receiver in self._receivers.values():
            receiver.appended(part, count)

    def moved(self, part: Part, count: int) -> None:
        """The oldest `count` envelopes of the memory are now at the end of `part`."""
        for receiver in self._receivers.values():
            receiver.moved(self.memory, part, count)
        self.memory.cut_head(count)

    def cut_memory(self, count: int) -> None:
        """Give up the oldest `count` envelopes in memory."""
        for receiver in self._receivers.values():
            receiver.cut(self.memory, count)
        self.memory.cut_head(count)
        self.items -= count

    def remove(self, part: Part) -> None:
        """A segment is gone."""
        for receiver in self._receivers.values():
            receiver.remove(part)
        self._parts.remove(part)
        self.items -= len(part.entries)

    def saw(self, position: Position) -> None:
        """This position is used, whether or not its envelope could be kept."""
        self.last = position if self.last is None else max(self.last, position)

    def schema(self, schema_id: bytes) -> bytes | None:
        """A schema from the newest part that has it. Errors as `Part.schema`."""
        for part in reversed(self._parts):
            if (schema := part.schema(schema_id)) is not None:
                return schema
        return None

    def knows(self, schema_id: bytes) -> bool:
        """Whether some part carries a schema, as far as can be said without reading it."""
        return any(schema_id in part.schemas for part in self._parts)

    # --- receivers

    def names(self) -> list[str]:
        """The receivers, sorted."""
        return sorted(self._receivers)

    def receiver(self, name: str) -> Receiver:
        """A known receiver. Raises StoreError for one that is not (or no more)."""
        found = self._receivers.get(name)
        if found is None:
            raise StoreError(f"spool receiver {name!r} is not known: it was forgotten")
        return found

    def attach(self, name: str, cursor: Cursor | None = None) -> bool:
        """Make a receiver known, with what it has; whether it was new. Raises ConfigError when it is one too many."""
        if name in self._receivers:
            return False
        if len(self._receivers) >= self._max_receivers:
            raise ConfigError(
                f"spool receiver {name!r} would be number {len(self._receivers) + 1}, limit {self._max_receivers}"
                f" (max_receivers); known are {', '.join(self.names())}"
            )
        receiver = self._receivers[name] = Receiver(name)
        for part in self._parts:
            receiver.add(part, self.floor)
        if cursor is not None:
            self.settle(receiver, cursor.low)
            for epoch, runs in cursor.acked.items():
                self.ack(receiver, epoch, runs)
        return True

    def forget(self, name: str) -> bool:
        """Stop keeping anything for a receiver; whether it was known."""
        return self._receivers.pop(name, None) is not None

    def ack(self, receiver: Receiver, epoch: int, runs: Iterable[tuple[int, int]]) -> None:
        """A receiver has the inclusive runs of `epoch`; numbers that are not held do not matter.

        Raises ValueError for a run that is none, before anything is noted.
        """
        checked = list(runs)
        for first, last in checked:
            if not 0 <= first <= last:
                raise ValueError(f"run {first}..{last} is not a run of sequence numbers")
        for first, last in checked:
            for part in self._between(Position(epoch, first), Position(epoch, last)):
                receiver.ack(part, *part.entries.span(epoch, first, last))

    def settle(self, receiver: Receiver, low: Position) -> None:
        """A receiver needs nothing below `low`."""
        for part in self._parts:
            receiver.ack(part, 0, part.entries.lower(low))

    def release(self, receiver: Receiver, positions: Iterable[Position]) -> None:
        """Envelopes did not arrive and wait again."""
        for position in positions:
            if (place := self._find(position)) is not None:
                receiver.take_back(*place)

    def lose(self, part: Part, index: int) -> None:
        """An envelope cannot be read any more: nobody waits for it."""
        for receiver in self._receivers.values():
            receiver.ack(part, index, index + 1)

    def choose(self, receiver: Receiver, start: Position, end: Position | None, max_bytes: int) -> list[Place]:
        """The first waiting envelopes in start..end (half-open), up to `max_bytes`; one at least if any waits."""
        chosen: list[Place] = []
        total = 0
        for part in self._parts:
            at = part.entries.lower(start)
            stop = len(part.entries) if end is None else part.entries.lower(end)
            while (found := receiver.waiting(part, at, stop)) is not None:
                total += part.entries.sizes[found]
                if chosen and total > max_bytes:
                    return chosen
                chosen.append((part, found))
                at = found + 1
        return chosen

    # --- what follows from both

    def raise_floor(self) -> Position | None:
        """Lift the floor to the lowest envelope that someone still needs, and return it; None when there is none."""
        place = self._lowest()
        if place is not None:
            lowest = place[0].entries.position(place[1])
            self.floor = max(self.floor, lowest)
            return lowest
        if self.last is not None:
            self.floor = max(self.floor, self.last.next())
        return None

    def oldest_ms(self) -> int | None:
        """The time of the lowest envelope that someone still needs."""
        place = self._lowest()
        return None if place is None else place[0].entries.times_ms[place[1]]

    def unsettled(self, part: Part, count: int) -> tuple[int, int]:
        """How many of a part's first `count` envelopes someone still needs, and their bytes."""
        needed = [size for index, size in enumerate(part.entries.sizes[:count]) if self._needed(part, index)]
        return len(needed), sum(needed)

    def lacking(self, part: Part, low: int, high: int) -> list[Dropped]:
        """The envelopes low..high (half-open) of a part that someone still needs, and who.

        A stretch runs across numbers that are not held: they never were, or were lost as well.
        """
        found: list[Dropped] = []
        last: tuple[int, tuple[str, ...]] | None = None
        receivers = [(name, self._receivers[name]) for name in self.names()]
        for index in range(low, high):
            who = tuple(name for name, receiver in receivers if receiver.is_open(part, index))
            if not who and not self._needed(part, index):
                last = None
                continue
            epoch, seq = part.entries.epochs[index], part.entries.seqs[index]
            first = found.pop().first if last == (epoch, who) else seq
            found.append(Dropped(epoch, first, seq, who))
            last = epoch, who
        return found

    def settled(self, part: Part) -> bool:
        """Whether nobody needs anything of a part."""
        return self._first_needed(part) is None

    def pending(self, receiver: Receiver) -> Pending:
        """What a receiver does not have."""
        place = self._first_open(receiver)
        oldest_ms = None if place is None else place[0].entries.times_ms[place[1]]
        return Pending(receiver.count, receiver.size_bytes, oldest_ms)

    def cursor(self, receiver: Receiver) -> Cursor:
        """What a receiver has, to be kept."""
        place = self._first_open(receiver)
        if place is not None:
            low = place[0].entries.position(place[1])
        else:
            low = self.floor if self.last is None else max(self.floor, self.last.next())
        return Cursor(low, receiver.acked_runs(self._parts, low))

    def _needed(self, part: Part, index: int) -> bool:
        if not self._receivers:
            return part.entries.position(index) >= self.floor
        return any(receiver.is_open(part, index) for receiver in self._receivers.values())

    def _first_needed(self, part: Part) -> int | None:
        if not self._receivers or not self.is_complete:
            first = part.entries.lower(self.floor)
            return first if first < len(part.entries) else None
        firsts = [receiver.first_open(part) for receiver in self._receivers.values()]
        return min((first for first in firsts if first is not None), default=None)

    def _lowest(self) -> Place | None:
        for part in self._parts:
            if (index := self._first_needed(part)) is not None:
                return part, index
        return None

    def _first_open(self, receiver: Receiver) -> Place | None:
        for part in self._parts:
            if (index := receiver.first_open(part)) is not None:
                return part, index
        return None

    def _between(self, first: Position, last: Position) -> list[Part]:
        held = [part for part in self._parts if part.entries]
        start = bisect_left(held, first, key=lambda part: part.entries.position(-1))
        found = []
        for part in held[start:]:
            if part.entries.position(0) > last:
                break
            found.append(part)
        return found

    def _find(self, position: Position) -> Place | None:
        for part in self._between(position, position):
            index = part.entries.lower(position)
            if index < len(part.entries) and part.entries.position(index) == position:
                return part, index
        return None
