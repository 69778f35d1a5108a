"""SpoolReader: one receiver's side of the spool."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from peerwatch.spool.position import Position
from peerwatch.spool.spooled import SpooledEnvelope
from peerwatch.spool.stats import Pending

if TYPE_CHECKING:
    from peerwatch.spool.spool import Spool


class SpoolReader:
    """A handle: all state is the spool's, so two readers of one receiver share it and nothing is handed out twice.

    What was handed out comes again after `release`, after `redeliver_s`, or after a restart; never in between.
    All but `pending` may wait for the disk: call them from a worker thread. Raises StoreError once the receiver is
    forgotten or the spool is closed.
    """

    def __init__(self, spool: Spool, receiver: str) -> None:
        self._spool = spool
        self.receiver = receiver

    def fresh(self, max_bytes: int) -> list[SpooledEnvelope]:
        """What waits of the last `fresh_s` seconds and `fresh_items` envelopes, in order, up to `max_bytes`.

        At least one envelope if any waits, however large it is. Raises StoreError when the disk cannot be read now.
        """
        return self._spool.take(self.receiver, max_bytes, fresh=True)

    def backfill(self, max_bytes: int) -> list[SpooledEnvelope]:
        """What waits of everything older, oldest first, up to `max_bytes`; as `fresh` otherwise."""
        return self._spool.take(self.receiver, max_bytes, fresh=False)

    def ack(self, epoch: int, runs: Iterable[tuple[int, int]]) -> None:
        """The receiver has these inclusive runs of sequence numbers for good; persisted, and segments may be freed.

        Numbers that are not held are ignored. Raises ValueError for a run that is none.
        """
        self._spool.ack(self.receiver, epoch, runs)

    def settle(self, below: Position) -> None:
        """The receiver needs nothing below this position any more; persisted, and segments may be freed."""
        self._spool.settle(self.receiver, below)

    def release(self, positions: Iterable[Position]) -> None:
        """These did not arrive: they wait again, each in the lane of its age. Acknowledged ones stay so."""
        self._spool.release(self.receiver, positions)

    def pending(self) -> Pending:
        """What the receiver does not have, handed out or not. Never waits."""
        return self._spool.pending(self.receiver)
