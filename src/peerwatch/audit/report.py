"""Report: what an audit found, per agent and key."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum

from peerwatch.wire.run_root import Place


class Reason(Enum):
    """Why something is not proven. The words are what people read."""

    CHANGED = "stored samples are not those that were signed"
    FORGED_RUN = "a signed run is forged or damaged"
    FORGED_BATCH = "a batch in the WAL is not signed by the agent that it names"
    MISATTRIBUTED = "samples that this agent signed are stored under the name of another one"
    ADDED = "samples that no batch of this agent brought"
    DAMAGED = "damaged on disk: peerwatch fsck"
    GONE = "batches that were stored are gone"
    MISSING = "batches that were signed are not here: still on their way, never delivered, or removed"
    CLASH = "another signed batch has the same series and times: a clock was set back, or somebody says so"
    LAYOUT = "which series a signed batch had is not known any more"
    OPEN = "no signed run covers it: not signed yet, or the agent was cut off, or dropped its run"
    RETENTION = "retention has dropped a part of the batch"
    RENAMED = "as it was signed, but stored under a name that the roster does not know"
    STRANGER = "the roster does not know the sender"

    @property
    def breaks(self) -> bool:
        """Whether it contradicts what was signed, or hides what would; all others only cannot be proven."""
        return self in _BREAKING


_BREAKING = frozenset(
    {
        Reason.CHANGED,
        Reason.FORGED_RUN,
        Reason.FORGED_BATCH,
        Reason.MISATTRIBUTED,
        Reason.ADDED,
        Reason.DAMAGED,
        Reason.GONE,
        Reason.MISSING,
        Reason.CLASH,
        Reason.LAYOUT,
    }
)


@dataclass(frozen=True, slots=True)
class Offence:
    """One place where something is broken. `number` is the batch, (0, 0) where it is none."""

    reason: Reason
    number: Place
    first_ms: int
    last_ms: int
    detail: str

    @property
    def order(self) -> tuple[bool, int, Place]:
        """By time; what has none comes last."""
        return not self.first_ms, self.first_ms, self.number


@dataclass(slots=True)
class Tally:
    """One agent with one key: samples that count. `unsigned` are of series that it never signs.

    `open_batches`, from `open_from_ms` on, are under no signed root yet: in a block they cannot be proven, in the WAL
    only each by itself. `dropped_batches` are not here, and the agent says that it gave them up.

    `proven` + `unproven` + samples of `broken` are all its signed samples; a batch that is missing counts as one in
    `broken`, since its samples are not known.
    """

    name: str
    sender: bytes
    key: bytes
    first_ms: int = 0
    last_ms: int = 0
    proven: int = 0
    unsigned: int = 0
    open_batches: int = 0
    open_from_ms: int = 0
    dropped_batches: int = 0
    unproven: Counter[Reason] = field(default_factory=Counter)
    broken: Counter[Reason] = field(default_factory=Counter)
    first_offence: Offence | None = None

    @property
    def samples(self) -> int:
        """All that are stored, and count."""
        counted = [self.broken[one] for one in self.broken if one not in (Reason.GONE, Reason.MISSING)]
        return self.proven + self.unsigned + sum(self.unproven.values()) + sum(counted)

    def note_time(self, first_ms: int, last_ms: int) -> None:
        """Something of it lies here."""
        self.first_ms = min(self.first_ms or first_ms, first_ms)
        self.last_ms = max(self.last_ms, last_ms)

    def note_open(self, first_ms: int) -> None:
        """A batch is under no signed root yet."""
        self.open_batches += 1
        self.open_from_ms = min(self.open_from_ms or first_ms, first_ms)

    def note(self, reason: Reason, samples: int, offence: Offence | None = None) -> None:
        """These samples are not proven; the first offence in time is kept."""
        if not reason.breaks:
            self.unproven[reason] += samples
            return
        self.broken[reason] += samples
        first = self.first_offence
        if offence is not None and (first is None or offence.order < first.order):
            self.first_offence = offence


@dataclass(slots=True)
class AuditReport:
    """All agents, and where files could not be read."""

    tallies: list[Tally] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)

    @property
    def broken(self) -> bool:
        """Whether anything contradicts what was signed, or cannot be read."""
        return bool(self.damage) or any(one.broken for one in self.tallies)
