"""Spool: a bounded, crash-safe queue on disk for signed envelopes, with a cursor per receiver."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from peerwatch.errors import CorruptionError, StoreError
from peerwatch.model import Clock, Dropped
from peerwatch.spool.config import SpoolConfig
from peerwatch.spool.cursor import cursor_name
from peerwatch.spool.cursors import Cursors
from peerwatch.spool.disk import Disk
from peerwatch.spool.intake import Intake
from peerwatch.spool.ledger import Ledger, Place
from peerwatch.spool.losses import Losses
from peerwatch.spool.memory import MemoryPart
from peerwatch.spool.metrics import CORRUPT, SpoolMetrics
from peerwatch.spool.packed import Packed, pack
from peerwatch.spool.part import Part
from peerwatch.spool.position import LIMIT, ORIGIN, Position
from peerwatch.spool.reader import SpoolReader
from peerwatch.spool.receiver import Receiver
from peerwatch.spool.recent import Recent
from peerwatch.spool.segment import Segment
from peerwatch.spool.shelf import Shelf
from peerwatch.spool.spooled import SpooledEnvelope
from peerwatch.spool.stats import Pending, SpoolStats
from peerwatch.telemetry import CollectorRegistry


@dataclass(frozen=True, slots=True)
class _View:
    """What can be told without waiting; replaced as a whole after every change."""

    floor: Position | None
    last: Position | None
    stats: SpoolStats
    pending: Mapping[str, Pending]
    dropped: tuple[Dropped, ...]


class Spool:
    """Takes envelopes, hands each to every receiver until it is acknowledged, and never reads what is inside.

    An envelope that `append` took is delivered at least once to each receiver, across crashes, unless it is dropped:
    oldest segment first when bytes, items or age pass their limits or the disk is full; each drop is counted in
    `peerwatch_spool_dropped_total` and lifts `floor`. While the disk refuses, a bounded queue in memory takes over
    (`stats().degraded` says why) and returns to disk when it can; what is only there a crash loses.

    Threads: one process (the folder is locked), any of its threads. `floor`, `last_position`, `stats`, `dropped`,
    `receivers` and `pending` return at once and may be called on the event loop. Everything else waits for the disk and
    other callers: `append` for one write and one fdatasync, the others for one read or one small file; call it in a
    worker thread.
    Attach every receiver after opening and before the first ack: only then can one whose cursor was lost be known.
    """

    def __init__(self, disk: Disk, config: SpoolConfig, clock: Clock, registry: CollectorRegistry) -> None:
        self._lock = threading.Lock()
        self._closed = False
        self._disk = disk
        self._config = config
        self._clock = clock
        self._metrics = SpoolMetrics(registry)
        self._ledger = Ledger(MemoryPart(), config.max_receivers)
        self._losses = Losses(disk, self._metrics, sync=config.sync)
        self._shelf = Shelf(disk, config, self._ledger, self._losses, self._metrics)
        self._intake = Intake(self._shelf, self._ledger, self._losses, config, self._metrics)
        self._cursors = Cursors(disk, self._metrics, sync=config.sync)
        self._recent = Recent(config.fresh_s, config.fresh_items)
        self._opened_s = clock.monotonic_s()
        self._lived_before_ms = 0
        self._metrics.limit(config.max_bytes)

    @classmethod
    def open(
        cls, folder: Path, config: SpoolConfig, *, clock: Clock, registry: CollectorRegistry, disk: Disk | None = None
    ) -> Spool:
        """The spool in `folder`, made when there is none; whatever is damaged is set aside or gone round.

        A folder that cannot be written (or had at all) is no error: the spool then works from memory and says so.
        Raises ConfigError when another process has the folder or more receivers are known than allowed. `disk` is
        for tests.
        """
        spool = cls(disk or Disk(folder), config, clock, registry)
        try:
            spool._load()
        except BaseException:
            spool._disk.close()
            raise
        spool._publish()
        return spool

    def append(self, item: SpooledEnvelope, schemas: Mapping[bytes, bytes]) -> None:
        """Keep an envelope; on disk for good on return, unless `stats().degraded` says otherwise.

        `schemas` must hold those of the item's schemas that no earlier envelope in the spool used; more do no harm.
        Raises ValueError for a position that is not above the last one or a schema that nobody knows, StoreError for
        an envelope that is too large for the spool; it is then not taken.
        """
        with self._lock:
            self._check_open()
            self._check_new(item, schemas)
            now_s = self._clock.monotonic_s()
            packed = pack(item, self._ledger.floor, self._lived_ms(now_s))
            self._check_size(packed, schemas)
            try:
                self._intake.take(packed, lambda schema_id: self._schema(schema_id, schemas), now_s)
                self._metrics.appended()
                self._recent.note(now_s, item.position)
                if not self._intake.trouble:
                    self._save_unsaved()
            finally:
                self._publish()

    def floor(self) -> Position | None:
        """The lowest position still to come to any receiver; None when none is. What is below never comes again.

        From opening to the first ack it stands where the last run left it: not all receivers may be known yet.
        Tell it to receivers inside later envelopes: it is kept with the next one on disk, so it holds across crashes.
        While envelopes only go to memory it therefore does not rise (and is never None); while old segments may exist
        that could not be read it is `Position(0, 0)`, which promises nothing.
        """
        return self._view.floor

    def dropped(self) -> tuple[Dropped, ...]:
        """What was given up, oldest first, and `told` was not said of: later envelopes can tell receivers.

        Kept across restarts, and there again when an envelope that told of it was given up itself, until every
        receiver has one. Of an unreadable segment nobody knows which numbers it held: they are not among these.
        """
        return self._view.dropped

    def told(self, at: Position, dropped: Iterable[Dropped]) -> None:
        """The envelope that was appended at this position tells receivers of `dropped`."""
        with self._lock:
            self._check_open()
            self._losses.told(at, dropped)
            self._publish()

    def last_position(self) -> Position | None:
        """The highest position that was ever appended and is still known; numbering goes on above it."""
        return self._view.last

    def schema(self, schema_id: bytes) -> bytes | None:
        """A schema that some held envelope needs, or None. Raises StoreError when the disk cannot be read now."""
        with self._lock:
            self._check_open()
            return self._schema(schema_id, {})

    def reader(self, receiver: str) -> SpoolReader:
        """The reader of a receiver, with the cursor it had. A new receiver starts at the floor.

        Raises ConfigError for a name over 200 bytes or one receiver too many.
        """
        with self._lock:
            self._check_open()
            cursor_name(receiver)
            if self._ledger.attach(receiver):
                self._save(self._ledger.receiver(receiver))
                self._publish()
        return SpoolReader(self, receiver)

    def receivers(self) -> list[str]:
        """Everybody for whom something is kept, sorted."""
        return sorted(self._view.pending)

    def forget(self, receiver: str) -> None:
        """Keep nothing more for a receiver, as when a hub leaves the fleet. Unknown ones are fine.

        Raises StoreError when its file cannot be removed: it would be back after a restart.
        """
        with self._lock:
            self._check_open()
            cursor_name(receiver)
            self._ledger.forget(receiver)
            self._publish()
            self._free()
            self._cursors.remove(receiver)

    def stats(self) -> SpoolStats:
        """How full the spool is, what it dropped, and whether it works from memory."""
        return self._view.stats

    def close(self) -> None:
        """Bring what is in memory to disk if it can be, save cursors, let go of the folder. May be called again."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            try:
                self._settle()
            finally:
                self._publish()
                self._disk.close()

    # --- for SpoolReader

    def take(self, receiver: str, max_bytes: int, *, fresh: bool) -> list[SpooledEnvelope]:
        """Hand out what waits in a lane (see SpoolReader)."""
        with self._lock:
            self._check_open()
            of = self._ledger.receiver(receiver)
            now_s = self._clock.monotonic_s()
            self._ledger.release(of, of.overdue(now_s))
            boundary = self._recent.boundary(now_s)
            start, end = (boundary, None) if fresh else (ORIGIN, boundary)
            while places := self._ledger.choose(of, start, end, max_bytes):
                if taken := self._read(of, places, now_s + self._config.redeliver_s):
                    return taken
            return []

    def ack(self, receiver: str, epoch: int, runs: Iterable[tuple[int, int]]) -> None:
        """Note what a receiver has (see SpoolReader)."""
        with self._lock:
            self._check_open()
            of = self._ledger.receiver(receiver)
            self._ledger.ack(of, epoch, runs)
            self._moved_on(of)

    def settle(self, receiver: str, below: Position) -> None:
        """Note what a receiver does not need (see SpoolReader)."""
        with self._lock:
            self._check_open()
            of = self._ledger.receiver(receiver)
            self._ledger.settle(of, below)
            self._moved_on(of)

    def release(self, receiver: str, positions: Iterable[Position]) -> None:
        """Let envelopes wait again (see SpoolReader)."""
        with self._lock:
            self._check_open()
            self._ledger.release(self._ledger.receiver(receiver), positions)

    def pending(self, receiver: str) -> Pending:
        """What a receiver does not have (see SpoolReader)."""
        found = self._view.pending.get(receiver)
        if found is None:
            raise StoreError(f"spool receiver {receiver!r} is not known: it was forgotten")
        return found

    # --- steps

    def _load(self) -> None:
        now_s = self._clock.monotonic_s()
        try:
            self._shelf.load()
            self._lived_before_ms = self._shelf.lived_ms
            self._recent.start(self._ledger.last)
            for receiver, cursor in self._cursors.load().items():
                self._ledger.attach(receiver, cursor)
            self._losses.load()
            self._shelf.mend()
        except StoreError as error:
            self._intake.degrade(error, now_s - self._config.retry_s)  # so that the first append tries again

    def _settle(self) -> None:
        """Leave as little as possible to the next start."""
        try:
            self._intake.drain()
        except StoreError as error:
            self._intake.degrade(error, self._clock.monotonic_s())
        self._save_unsaved()
        self._cursors.settle()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(f"spool {self._disk.folder} is closed")

    def _check_new(self, item: SpooledEnvelope, schemas: Mapping[bytes, bytes]) -> None:
        position, last = item.position, self._ledger.last
        if not (0 <= position.epoch < LIMIT and 0 <= position.seq < LIMIT):
            raise ValueError(f"envelope {position}: epoch and seq must be 0 to {LIMIT - 1}")
        if last is not None and position <= last:
            raise ValueError(f"envelope {position} does not follow {last}, the last one in the spool")
        for schema_id in item.schema_ids:
            if schema_id not in schemas and not self._ledger.knows(schema_id):
                raise ValueError(f"envelope {position}: schema {schema_id.hex()} is neither given nor in the spool")

    def _check_size(self, packed: Packed, schemas: Mapping[bytes, bytes]) -> None:
        size_bytes = len(packed.frame) + sum(len(schemas.get(schema_id, b"")) for schema_id in packed.schema_ids)
        if size_bytes > self._config.max_item_bytes:
            raise StoreError(
                f"envelope {packed.position} with its schemas: {size_bytes} bytes,"
                f" limit {self._config.max_item_bytes} (a quarter of max_bytes)"
            )

    def _lived_ms(self, now_s: float) -> int:
        """The clock that ages envelopes: time spent open. Unlike the wall clock nobody can set it."""
        return self._lived_before_ms + int((now_s - self._opened_s) * 1000)

    def _schema(self, schema_id: bytes, given: Mapping[bytes, bytes]) -> bytes | None:
        found = given.get(schema_id)
        if found is not None:
            return found
        try:
            return self._ledger.schema(schema_id)
        except CorruptionError:
            self._metrics.damaged()
            return None

    def _read(self, of: Receiver, places: list[Place], deadline_s: float) -> list[SpooledEnvelope]:
        taken: list[SpooledEnvelope] = []
        good: list[Place] = []
        for part, index in places:
            try:
                taken.append(part.item(index))
                good.append((part, index))
            except CorruptionError:
                self._lose(part, index)
        for part, index in good:
            of.hand_out(part, index, deadline_s)
        if len(good) < len(places):
            self._publish()
        return taken

    def _lose(self, part: Part, index: int) -> None:
        """A record that fails its checksum is given up; its file will be set aside instead of being removed."""
        if isinstance(part, Segment):
            part.damaged = True
        self._metrics.damaged()
        self._metrics.dropped(CORRUPT, 1, part.entries.sizes[index])
        self._losses.note(self._ledger.lacking(part, index, index + 1))
        self._ledger.lose(part, index)

    def _moved_on(self, of: Receiver) -> None:
        self._ledger.is_complete = True
        self._publish()
        self._losses.settle(self._view.floor)
        self._cursors.unsaved.add(of.name)
        self._save_unsaved()
        self._free()

    def _save(self, of: Receiver) -> None:
        self._cursors.save(of.name, self._ledger.cursor(of))

    def _save_unsaved(self) -> None:
        self._losses.save()
        for name in sorted(self._cursors.unsaved):
            self._save(self._ledger.receiver(name))

    def _free(self) -> None:
        try:
            self._shelf.free_settled()
        except StoreError:
            self._metrics.failed("remove")  # tried again after the next ack
        self._publish()

    def _publish(self) -> None:
        ledger = self._ledger
        lowest = ledger.raise_floor()
        stats = SpoolStats(
            bytes=self._shelf.size_bytes + ledger.memory.size_bytes,
            items=ledger.items,
            oldest_ms=ledger.oldest_ms(),
            dropped_items=self._metrics.dropped_items,
            dropped_bytes=self._metrics.dropped_bytes,
            in_memory=len(ledger.memory.entries),
            degraded=self._intake.trouble,
        )
        pending = {name: ledger.pending(ledger.receiver(name)) for name in ledger.names()}
        if self._intake.trouble:
            lowest = min(ledger.floor, self._shelf.floor)
        self._view = _View(lowest, ledger.last, stats, pending, self._losses.untold())
        self._metrics.show(stats)
