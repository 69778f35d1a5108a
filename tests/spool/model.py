"""The spool as a plain model: sets of positions, and the promises checked at every step."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from peerwatch.spool import Position, Spool, SpoolConfig, SpooledEnvelope, SpoolReader
from peerwatch.telemetry import CollectorRegistry
from peerwatch.testing.clock import ManualClock
from peerwatch.testing.disk import MemoryDisk, PowerCut
from tests.spool.kit import SCHEMAS

ALL = 1 << 30


@dataclass
class Seen:
    """What one receiver did."""

    settled: set[Position]
    """All others had these when it came."""
    promised: Position
    """The highest floor that an envelope told it."""
    got: set[Position] = field(default_factory=set)
    acked: set[Position] = field(default_factory=set)
    doubtful: set[Position] = field(default_factory=set)
    """Acknowledged before a crash: may come again, need not."""
    out: dict[Position, float] = field(default_factory=dict)
    """What is on its way, and when it was handed out."""


class ModelledSpool:
    """Drives a spool on a MemoryDisk beside the model; `check_*` and every step assert the promises."""

    def __init__(self, config: SpoolConfig, seed: int = 0) -> None:
        self.random = Random(seed)
        self.config = config
        self.disk = MemoryDisk()
        self.clock = ManualClock()
        self.epoch = 0
        self.seq = 0
        self.taken: dict[Position, SpooledEnvelope] = {}
        self.seen: dict[str, Seen] = {}
        self.floors: dict[Position, Position] = {}
        """What each envelope tells whoever gets it."""
        self.excused = 0
        """How many envelopes may be missing: dropped and counted, or only in memory at a crash."""
        self._open()

    # --- steps; each ends in a restart when the power goes

    def append(self, size: int, ids: tuple[bytes, ...]) -> None:
        """The agent's way: ask the floor, build, append."""
        self.seq += 1
        position = Position(self.epoch, self.seq)
        floor = self.spool.floor() or position
        item = SpooledEnvelope(position, self.clock.now_ms(), f"{position} ".encode().ljust(size, b"."), ids)
        try:
            self.spool.append(item, SCHEMAS)
        except PowerCut:
            self.taken[position] = item  # nothing was promised, but it may be there
            self.floors[position] = floor
            self.excused += 1
            self._restart()
            return
        self.taken[position] = item
        self.floors[position] = floor

    def take(self, name: str, *, fresh: bool, max_bytes: int = ALL) -> list[SpooledEnvelope]:
        """Hand out, and hold against the model."""
        seen, reader = self.seen[name], self.reader(name)
        latest = self.clock.monotonic_s() - self.config.redeliver_s
        seen.out = {position: since for position, since in seen.out.items() if since > latest}
        items = (reader.fresh if fresh else reader.backfill)(max_bytes)
        positions = [item.position for item in items]
        assert positions == sorted(set(positions)), "order inside a lane"
        for item in items:
            assert self.taken[item.position] == item, "comes out as it went in"
            assert item.position not in seen.out, "handed out twice"
            assert item.position not in seen.acked, "came again after its ack"
            assert item.position >= seen.promised or item.position in seen.doubtful, "a floor lied"
        seen.promised = max([seen.promised, *(self.floors[position] for position in positions)])
        seen.got.update(positions)
        seen.out.update(dict.fromkeys(positions, self.clock.monotonic_s()))
        return items

    def ack(self, name: str, positions: list[Position]) -> None:
        """Acknowledge one by one or as a run."""
        seen = self.seen[name]
        by_epoch: dict[int, list[tuple[int, int]]] = {}
        for position in positions:
            by_epoch.setdefault(position.epoch, []).append((position.seq, position.seq))
        try:
            for epoch, runs in by_epoch.items():
                self.reader(name).ack(epoch, runs)
        except PowerCut:
            seen.doubtful.update(positions)
            self._restart()
            return
        seen.acked.update(positions)
        self._not_out(name, positions)

    def release(self, name: str, positions: list[Position]) -> None:
        """Not delivered."""
        self.reader(name).release(positions)
        self._not_out(name, positions)

    def attach(self, name: str) -> None:
        """A receiver comes."""
        if name not in self.seen and self.seen:
            settled = set.intersection(*(seen.acked | seen.doubtful for seen in self.seen.values()))
        else:
            settled = set()
        try:
            self.spool.reader(name)
        except PowerCut:
            self._restart()
            self.attach(name)
            return
        self.seen.setdefault(name, Seen(settled, Position(0, 0)))

    def advance(self, seconds: float) -> None:
        """Time passes."""
        self.clock.advance(seconds)

    def reopen(self) -> None:
        """A clean restart: with a disk that works nothing is lost and nothing acknowledged comes again."""
        is_healthy = not (self.disk.read_only or self.disk.fail_syncs) and self.disk.capacity_bytes is None
        try:
            self.spool.close()
        except PowerCut:
            self._restart()
            return
        stats = self.spool.stats()
        self.excused += stats.dropped_items + stats.in_memory
        if not is_healthy:
            self._doubt()  # cursors may not have been saved
        self._open()

    def crash(self, random: Random | None) -> None:
        """The power goes (`random` says what is lost), or only the process ends."""
        self._restart(random)

    def heal(self) -> None:
        """The disk works again."""
        self.disk.capacity_bytes = None
        self.disk.read_only = False
        self.disk.fail_syncs = 0
        self.disk.cut_in = None

    # --- promises

    def check_nothing_is_withheld(self, name: str) -> None:
        """Both lanes together hand out all that a receiver waits for."""
        seen = self.seen[name]
        for fresh in (True, False):
            self.take(name, fresh=fresh)
        missing = self.taken.keys() - seen.settled - seen.acked - seen.doubtful - seen.out.keys()
        excused = self.excused + self.spool.stats().dropped_items
        assert len(missing) <= excused, "lost without being counted"
        pending = self.reader(name).pending().count
        assert len(seen.out) - excused <= pending <= len(seen.out), "pending is what is not acknowledged"

    def check_bounds(self) -> None:
        """Bytes on disk and in memory stay within their limits."""
        used = sum(self.disk.size(name) for name in self.disk.names() if name.endswith(".seg"))
        assert used <= self.config.max_bytes
        assert self.spool.stats().bytes <= self.config.max_bytes + self.config.memory_bytes
        assert self.spool.stats().items <= self.config.max_items

    def check_delivery(self) -> None:
        """With a disk that works, everybody gets everything that is not excused."""
        self.heal()
        self.reopen()
        for name in list(self.seen):
            self.attach(name)
            seen = self.seen[name]
            seen.out.clear()
            for lane in (False, True):
                self.take(name, fresh=lane)
            missing = self.taken.keys() - seen.settled - seen.got
            assert len(missing) <= self.excused + self.spool.stats().dropped_items, "lost without being counted"
            self.ack(name, sorted(seen.got))
            assert self.reader(name).pending().count == 0
        if self.seen:
            assert self.spool.floor() is None
            self.reopen()
            for name in self.seen:
                assert self.take(name, fresh=False) == [], "came again after a clean restart"

    def reader(self, name: str) -> SpoolReader:
        """The receiver's reader."""
        return self.spool.reader(name)

    def _not_out(self, name: str, positions: list[Position]) -> None:
        for position in positions:
            self.seen[name].out.pop(position, None)

    def _open(self) -> None:
        for seen in self.seen.values():
            seen.out.clear()
        self.epoch += 1
        self.seq = 0
        while True:
            try:
                self.spool = Spool.open(
                    Path("unused"), self.config, clock=self.clock, registry=CollectorRegistry(), disk=self.disk
                )
                for name in self.seen:
                    self.spool.reader(name)
                return
            except PowerCut:
                self.disk.restart(self.random)

    def _restart(self, random: Random | None = None) -> None:
        """What a crash may cost: what was in memory only, and a segment whose removal was under way."""
        power_cut = random is not None or self.disk.is_off
        stats = self.spool.stats()
        self.excused += stats.dropped_items + stats.in_memory
        if self.disk.is_off and self.disk.cut_at[0] in ("remove", "rename") and ".seg" in self.disk.cut_at[1]:
            self.excused += stats.items
        self._doubt()
        self.disk.restart((random or self.random) if power_cut else None)
        self._open()

    def _doubt(self) -> None:
        for seen in self.seen.values():
            seen.doubtful |= seen.acked
            seen.acked.clear()
