"""Newcomers: keeps in the spool what every hub has already, for a hub that joins and begins with a snapshot of another.

The snapshot ends at some moment, and each agent hears of the new hub at some other. What lies between would be nowhere
for it, if agents kept only what a hub still lacks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import anyio.to_thread

from peerwatch.errors import StoreError
from peerwatch.model import Clock, Dropped
from peerwatch.spool import Position, Spool
from peerwatch.telemetry import get_logger

RECEIVER = "newcomers"
_MARKS = 60

_log = get_logger("ship")


class Newcomers:
    """A receiver of the spool that acknowledges by age, so that a new receiver, which starts at the floor, gets it all.

    Owned by the agent's delivery. The age is counted by the monotonic clock from when this process saw the envelope: a
    restart keeps a little more. Within the spool's limits, which drop these first, being the oldest.
    """

    def __init__(self, spool: Spool, keep_s: float, clock: Clock) -> None:
        self._spool = spool
        self._reader = spool.reader(RECEIVER)
        self._keep_s = keep_s
        self._clock = clock
        self._marks: deque[tuple[float, Position]] = deque(maxlen=_MARKS + 1)

    async def let_go(self) -> None:
        """Give up what is too old; to be called often. One small file is written for each sixtieth of the time."""
        now_s = self._clock.monotonic_s()
        last = self._spool.last_position()
        if last is None or (self._marks and now_s - self._marks[-1][0] < self._keep_s / _MARKS):
            return
        self._marks.append((now_s, last))
        below = None
        while self._marks[0][0] <= now_s - self._keep_s:
            below = self._marks.popleft()[1].next()
        if below is None:
            return
        try:
            await anyio.to_thread.run_sync(self._reader.settle, below)
        except StoreError as error:
            _log.warning("spool not settled", reason=str(error))


def by_hubs(dropped: Sequence[Dropped]) -> tuple[list[Dropped], list[Dropped]]:
    """(what the spool dropped that some hub lacks, what every hub had and was only kept for one that never came)."""
    spare = [one for one in dropped if one.receivers == (RECEIVER,)]
    return [one for one in dropped if one not in spare], spare
