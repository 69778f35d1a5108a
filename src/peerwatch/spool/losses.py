"""Losses: what the spool gave up, until receivers were told of it."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from peerwatch.errors import CorruptionError, StoreError
from peerwatch.model import Dropped
from peerwatch.spool.disk import Disk
from peerwatch.spool.metrics import SpoolMetrics
from peerwatch.spool.position import Position
from peerwatch.spool.record import HEADER_BYTES, Kind, check_header, file_header, frame, parse
from peerwatch.telemetry import get_logger

NAME = "losses"

_TEMPORARY = NAME + ".tmp"
_MOST = 1024  # stretches: each restart and each gap makes a new one; beyond it the oldest are forgotten
_HEAD = struct.Struct("<qqqH")  # epoch, first, last, receivers
_LENGTH = struct.Struct("<H")

_log = get_logger("spool")


class Losses:
    """Stretches of numbers, oldest first. Mutable; owned by one Spool, under its lock.

    Written before what it tells of is removed: a crash at worst tells of something that is still delivered. A disk
    that refuses is tried again; what a crash loses of it meanwhile, and what is beyond 1024 stretches, nobody is told.
    """

    def __init__(self, disk: Disk, metrics: SpoolMetrics, *, sync: bool) -> None:
        self._disk = disk
        self._metrics = metrics
        self._sync = sync
        self._told: dict[Dropped, Position | None] = {}
        self.is_saved = True

    def load(self) -> None:
        """Take up what the last run left: all of it is to be told again. Raises StoreError when it cannot be read."""
        if NAME not in self._disk.names():
            return
        try:
            self._told = dict.fromkeys(decode_losses(self._disk.read(NAME, 0, self._disk.size(NAME))))
        except CorruptionError as error:
            _log.warning("spool file damaged", reason=str(error))
            self._metrics.damaged()

    def note(self, dropped: Iterable[Dropped]) -> None:
        """These are about to be given up."""
        for one in dropped:
            self._forget_told_in(one)
            self._put(one)
            self.is_saved = False
        while len(self._told) > _MOST:
            del self._told[next(iter(self._told))]
        self.save()

    def untold(self) -> tuple[Dropped, ...]:
        """What no envelope tells of."""
        return tuple(one for one, at in self._told.items() if at is None)

    def told(self, at: Position, dropped: Iterable[Dropped]) -> None:
        """The envelope at this position tells of them."""
        for one in dropped:
            if one in self._told:
                self._told[one] = at

    def settle(self, floor: Position | None) -> None:
        """Forget what was told in envelopes below the floor (None: in any): everybody has these."""
        done = [one for one, at in self._told.items() if at is not None and (floor is None or at < floor)]
        for one in done:
            del self._told[one]
        if done:
            self.is_saved = False
            self.save()

    def save(self) -> None:
        """Replace the file, if it is not what is known."""
        if self.is_saved:
            return
        try:
            self._disk.write(_TEMPORARY, 0, encode_losses(self._told))
            if self._sync:
                self._disk.sync(_TEMPORARY)
            self._disk.rename(_TEMPORARY, NAME)
        except StoreError as error:
            self._metrics.failed("losses")
            _log.debug("spool losses not saved", reason=str(error))
        else:
            self.is_saved = True

    def _put(self, one: Dropped) -> None:
        """As part of the newest stretch where it follows that."""
        newest = next(reversed(self._told), None)
        if newest is not None and _follows(one, newest):
            del self._told[newest]
            one = Dropped(one.epoch, newest.first, max(newest.last, one.last), one.receivers)
        self._told[one] = None

    def _forget_told_in(self, one: Dropped) -> None:
        """What the dropped envelopes told of is to be told again."""
        for told, at in self._told.items():
            if at is not None and at.epoch == one.epoch and one.first <= at.seq <= one.last:
                self._told[told] = None


def _follows(one: Dropped, newest: Dropped) -> bool:
    of_same = (newest.epoch, newest.receivers) == (one.epoch, one.receivers)
    return of_same and newest.first <= one.first <= newest.last + 1


def encode_losses(dropped: Iterable[Dropped]) -> bytes:
    """The whole file."""
    body = []
    for one in dropped:
        body.append(_HEAD.pack(one.epoch, one.first, one.last, len(one.receivers)))
        for name in one.receivers:
            raw = name.encode()
            body += [_LENGTH.pack(len(raw)), raw]
    return file_header() + frame(Kind.LOSSES, b"".join(body))


def decode_losses(data: bytes) -> list[Dropped]:
    """What `encode_losses` was given. Raises CorruptionError for anything else."""
    record = parse(memoryview(data), HEADER_BYTES) if check_header(data, NAME) else None
    if record is None or record.kind is not Kind.LOSSES:
        raise CorruptionError(f"{NAME}: damaged")
    try:
        return _decode_body(bytes(record.body))
    except (struct.error, UnicodeDecodeError) as error:
        raise CorruptionError(f"{NAME}: right checksum and wrong content: {error}") from error


def _decode_body(body: bytes) -> list[Dropped]:
    found, at = [], 0
    while at < len(body):
        epoch, first, last, count = _HEAD.unpack_from(body, at)
        at += _HEAD.size
        receivers = []
        for _ in range(count):
            (length,) = _LENGTH.unpack_from(body, at)
            at += _LENGTH.size + length
            receivers.append(body[at - length : at].decode())
        found.append(Dropped(epoch, first, last, tuple(receivers)))
    return found
