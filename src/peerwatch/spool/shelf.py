"""Shelf: the segments on disk, oldest first, under their limits."""

from __future__ import annotations

import re
from collections.abc import Sequence

from peerwatch.errors import ConfigError, CorruptionError, StoreError
from peerwatch.spool.config import SpoolConfig
from peerwatch.spool.disk import Disk
from peerwatch.spool.ledger import Ledger
from peerwatch.spool.losses import Losses
from peerwatch.spool.metrics import AGE, CORRUPT, FULL, SpoolMetrics
from peerwatch.spool.packed import Packed, SchemaLookup
from peerwatch.spool.position import ORIGIN, Position
from peerwatch.spool.segment import SUFFIX, Draft, Segment, load_segment
from peerwatch.telemetry import get_logger

BAD_SUFFIX = ".bad"

_PROBE = "probe.tmp"
_BAD_FILES = 2  # enough to find out what happened; more would be a second spool without a bound
_SEGMENT_ITEMS = 65_536  # an index of 2 MB: what opening a sealed segment reads at most
_AGE_STEPS = 16  # a segment spans at most this part of max_age_ms, so that age drops are not coarser
_SEAL_BYTES = 64  # of a seal without its tables
_SEAL_ENTRY_BYTES = 32
_SEAL_SCHEMA_BYTES = 9 + 255
_MAX_SEGMENTS = 4096  # a failing disk leaves one small file per recovery; this many, and the oldest go

_SEGMENT_NAME = re.compile(r"[0-9a-f]{16}\.seg(\.bad)?")

_log = get_logger("spool")


class Shelf:
    """Mutable; owned by one Spool, under its lock. Total size stays within `max_bytes`: the oldest segment goes first.

    The newest segment always stays: it knows the last position, the floor and how long the spool has lived.
    """

    def __init__(self, disk: Disk, config: SpoolConfig, ledger: Ledger, losses: Losses, metrics: SpoolMetrics) -> None:
        self._disk = disk
        self._config = config
        self._ledger = ledger
        self._losses = losses
        self._metrics = metrics
        self._segments: list[Segment] = []
        self._number = 0
        self._is_loaded = False
        self._is_mended = False
        self.size_bytes = 0

    @property
    def lived_ms(self) -> int:
        """How long the spool had been open when the last envelope was written."""
        return self._segments[-1].last_lived_ms if self._segments else 0

    @property
    def floor(self) -> Position:
        """The floor that the newest segment keeps: what a crash cannot undo."""
        return self._segments[-1].floor if self._segments else ORIGIN

    def load(self) -> None:
        """Take up what is on disk. Damage is set aside and counted; what cannot be read now is left where it is.

        Raises StoreError when the folder cannot be had, ConfigError when another process has it.
        """
        self._disk.prepare()
        found = [segment for name in self._disk.names() if (segment := self._load(name)) is not None]
        _cut_copies(found)
        for segment in found[:-1]:
            segment.writable = False
        self._ledger.floor = max((segment.floor for segment in found), default=self._ledger.floor)
        for segment in found:
            self._segments.append(segment)
            self._ledger.add(segment)
            self.size_bytes += segment.size_bytes + segment.torn_bytes
        self._is_loaded = True

    def mend(self) -> None:
        """See that files can be made, cut torn tails, and keep the limits. Raises StoreError.

        A power cut may bring back segments that every receiver had: they are not sent again, but take room.
        """
        self._disk.write(_PROBE, 0, b"x")
        self._disk.remove(_PROBE)
        for segment in self._segments:
            if segment.torn_bytes and not segment.damaged:  # what is damaged is kept as it was found
                self._disk.truncate(segment.name, segment.size_bytes)
                self._metrics.torn()
                self.size_bytes -= segment.torn_bytes
                segment.torn_bytes = 0
        self._make_room(0, 0)
        self._is_mended = True

    def write(self, batch: Sequence[Packed], lookup: SchemaLookup, *, new_items: int) -> Segment:
        """Put envelopes at the end, durably if configured, and return where they are. The ledger is told by the caller.

        `new_items` of them are not held yet. Raises StoreError (DiskFullError when there is no room); then none of
        them counts as written.
        """
        self._make_ready()
        segment, draft = self._place(batch, lookup)
        self._make_room(len(draft.data) + _seal_bytes(segment, draft), new_items)
        is_new = not segment.size_bytes
        try:
            self._disk.write(segment.name, segment.size_bytes, draft.data)
        except StoreError:
            self._cut(segment)
            raise
        try:
            self._sync(segment, is_new)
        except StoreError:
            segment.writable = False
            self._cut(segment)
            raise
        if is_new:
            self._segments.append(segment)
            self._ledger.add(segment)
        segment.commit(draft)
        self.size_bytes += len(draft.data)
        return segment

    def drop_oldest(self, reason: str) -> bool:
        """Give up the oldest segment; False when only the newest is left. Raises StoreError when it cannot go."""
        if len(self._segments) < 2:
            return False
        segment = self._segments[0]
        items, size_bytes = self._ledger.unsettled(segment, len(segment.entries))
        self._losses.note(self._ledger.lacking(segment, 0, len(segment.entries)))
        self._remove(segment)
        if items:
            self._metrics.dropped(reason, items, size_bytes)
            _log.warning("spool segment dropped", reason=reason, items=items, size_bytes=size_bytes)
            # The floor rises now, and the next envelope may tell it without reaching the disk: no crash may undo this.
            self._disk.sync_folder()
        return True

    def expire(self, lived_ms: int) -> None:
        """Give up segments whose last envelope is too old. Raises StoreError when one cannot be removed."""
        while self._segments and lived_ms - self._segments[0].last_lived_ms > self._config.max_age_ms:
            if not self.drop_oldest(AGE):
                return

    def free_settled(self) -> None:
        """Remove what every receiver has. Raises StoreError when it cannot be removed."""
        for segment in self._segments[:-1]:
            if self._ledger.settled(segment):
                self._remove(segment)

    def _make_ready(self) -> None:
        """Make up for what could not be done at opening."""
        if not self._is_loaded:
            self._claim()
        if not self._is_mended:
            self.mend()

    def _claim(self) -> None:
        """Take a folder that could not be had before. What it may hold was never counted, so it must be empty."""
        try:
            self._disk.prepare()
        except ConfigError as error:
            raise StoreError(str(error)) from error
        if any(_SEGMENT_NAME.fullmatch(name) for name in self._disk.names()):
            raise StoreError(
                f"{self._disk.folder} holds segments that could not be read at the start: restart to use them"
            )
        self._is_loaded = True

    def _load(self, name: str) -> Segment | None:
        if not _SEGMENT_NAME.fullmatch(name):
            return None
        number = int(name[:16], 16)
        self._number = max(self._number, number + 1)
        if not name.endswith(SUFFIX):
            return None
        try:
            segment = load_segment(self._disk, number)
            if segment.entries:
                return self._admit(segment)
            self._discard(segment)
        except CorruptionError as error:
            _log.warning("spool file damaged", reason=str(error))
            self._metrics.damaged()
            self._metrics.dropped(CORRUPT, 1, 0)  # at least one: nobody knows
            self._try_set_aside(name)
        except StoreError as error:
            _log.warning("spool file unreadable", reason=str(error))
            self._metrics.damaged()
        return None

    def _admit(self, segment: Segment) -> Segment:
        if segment.damaged:
            _log.warning("spool file damaged", reason=f"{segment.name}: {segment.lost} unreadable stretches")
            self._metrics.damaged()
            self._metrics.dropped(CORRUPT, segment.lost, 0)
        return segment

    def _discard(self, segment: Segment) -> None:
        """Remove a file that holds no envelope; on a read-only disk it may stay."""
        try:
            self._disk.remove(segment.name)
        except StoreError:
            self._metrics.failed("remove")

    def _place(self, batch: Sequence[Packed], lookup: SchemaLookup) -> tuple[Segment, Draft]:
        newest = self._segments[-1] if self._segments else None
        if newest is not None and newest.writable:
            draft = newest.draft(batch, lookup)
            if self._fits(newest, draft):
                return newest, draft
            self._seal(newest)
        segment = Segment(self._disk, self._number)
        self._number += 1  # never used again, even if this file cannot be written or removed
        return segment, segment.draft(batch, lookup)

    def _fits(self, segment: Segment, draft: Draft) -> bool:
        config = self._config
        size = segment.size_bytes + len(draft.data) + _seal_bytes(segment, draft)
        count = len(segment.entries) + len(draft.packed)
        span_ms = draft.packed[-1].lived_ms - segment.first_lived_ms
        return (
            size <= config.segment_bytes
            and count <= min(_SEGMENT_ITEMS, max(1, config.max_items // 4))
            and span_ms <= config.max_age_ms // _AGE_STEPS
        )

    def _seal(self, segment: Segment) -> None:
        """Finish a segment. Without its seal it is only slower to open, so errors do not matter; nor is it synced."""
        segment.writable = False
        seal = segment.seal()
        try:
            self._disk.write(segment.name, segment.size_bytes, seal)
        except StoreError:
            self._cut(segment)
        else:
            segment.size_bytes += len(seal)
            self.size_bytes += len(seal)

    def _make_room(self, need_bytes: int, new_items: int) -> None:
        config = self._config
        while (
            self.size_bytes + need_bytes > config.max_bytes
            or self._ledger.items + new_items > config.max_items
            or len(self._segments) >= _MAX_SEGMENTS
        ):
            if not self.drop_oldest(FULL):
                return

    def _sync(self, segment: Segment, is_new: bool) -> None:
        if self._config.sync:
            self._disk.sync(segment.name)
            if is_new:
                self._disk.sync_folder()

    def _cut(self, segment: Segment) -> None:
        """Undo a failed write; where that fails too, the next opening sees a torn tail."""
        try:
            if segment.size_bytes:
                self._disk.truncate(segment.name, segment.size_bytes)
            else:
                self._disk.remove(segment.name)
        except StoreError:
            segment.writable = False

    def _remove(self, segment: Segment) -> None:
        if segment.damaged:
            self._set_aside(segment.name)
        else:
            self._disk.remove(segment.name)
        self._segments.remove(segment)
        self._ledger.remove(segment)
        self.size_bytes -= segment.size_bytes + segment.torn_bytes

    def _set_aside(self, name: str) -> None:
        """Keep a damaged file for whoever looks into it; the newest two of them. Raises StoreError."""
        self._disk.rename(name, name + BAD_SUFFIX)
        bad = [other for other in self._disk.names() if other.endswith(BAD_SUFFIX)]
        for other in bad[:-_BAD_FILES]:
            self._disk.remove(other)

    def _try_set_aside(self, name: str) -> None:
        """At opening a read-only disk is no reason to stop: the file is left out, and met again next time."""
        try:
            self._set_aside(name)
        except StoreError:
            self._metrics.failed("remove")


def _cut_copies(found: list[Segment]) -> None:
    """Where a failed write came through after all, an older segment ends in copies of what a newer one begins with."""
    first: Position | None = None
    for segment in reversed(found):
        if first is not None:
            segment.entries.cut_tail(segment.entries.lower(first))
        if segment.entries:
            first = segment.entries.position(0)


def _seal_bytes(segment: Segment, draft: Draft) -> int:
    """An upper bound of what sealing will add."""
    entries = len(segment.entries) + len(draft.packed)
    schemas = len(segment.schemas) + len(draft.schemas)
    return _SEAL_BYTES + entries * _SEAL_ENTRY_BYTES + schemas * _SEAL_SCHEMA_BYTES
