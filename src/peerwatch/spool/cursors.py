"""Cursors: the receivers' files in the spool's folder."""

from __future__ import annotations

from peerwatch.errors import CorruptionError, StoreError
from peerwatch.spool.cursor import SUFFIX, Cursor, cursor_name, cursor_receiver, decode_cursor, encode_cursor
from peerwatch.spool.disk import Disk
from peerwatch.spool.metrics import SpoolMetrics
from peerwatch.telemetry import get_logger

_TEMPORARY = ".tmp"

_log = get_logger("spool")


class Cursors:
    """Each file is replaced at once, so a crash leaves the old one or the new one. Losing one only causes resends.

    Mutable (what still has to be saved); owned by one Spool, under its lock. Holds at most one name per receiver.
    """

    def __init__(self, disk: Disk, metrics: SpoolMetrics, *, sync: bool) -> None:
        self._disk = disk
        self._metrics = metrics
        self._sync = sync
        self.unsaved: set[str] = set()

    def load(self) -> dict[str, Cursor | None]:
        """Every receiver that was known, and what it has; None where the file is damaged. Raises StoreError."""
        found: dict[str, Cursor | None] = {}
        for name in self._disk.names():
            if name.endswith(SUFFIX):
                found[cursor_receiver(name)] = self._load(name)
            elif name.endswith(_TEMPORARY):
                self._remove(name)
        return found

    def save(self, receiver: str, cursor: Cursor) -> None:
        """Replace a receiver's file. A disk that refuses is counted and costs nothing but resends after a crash."""
        name = cursor_name(receiver)
        try:
            self._disk.write(name + _TEMPORARY, 0, encode_cursor(cursor))
            if self._sync:
                self._disk.sync(name + _TEMPORARY)
            self._disk.rename(name + _TEMPORARY, name)
        except StoreError as error:
            self.unsaved.add(receiver)
            self._metrics.failed("cursor")
            _log.debug("spool cursor not saved", receiver=receiver, reason=str(error))
            self._remove(name + _TEMPORARY)
        else:
            self.unsaved.discard(receiver)

    def settle(self) -> None:
        """Put the replaced files' names on the medium, so that not even a power cut brings old ones back."""
        if self._sync:
            try:
                self._disk.sync_folder()
            except StoreError:
                self._metrics.failed("cursor")

    def remove(self, receiver: str) -> None:
        """Forget a receiver's file. Raises StoreError when it cannot be removed."""
        self.unsaved.discard(receiver)
        self._disk.remove(cursor_name(receiver))

    def _load(self, name: str) -> Cursor | None:
        try:
            return decode_cursor(self._disk.read(name, 0, self._disk.size(name)), name)
        except CorruptionError as error:
            _log.warning("spool cursor damaged", reason=str(error))
            self._metrics.damaged()
            return None

    def _remove(self, name: str) -> None:
        try:
            self._disk.remove(name)
        except StoreError:
            self._metrics.failed("remove")
