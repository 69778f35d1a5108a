"""Pairing: who measures whom. Decisions only: the same members and time give the same pairs, on every hub.

Each member has a pool of partners by rendezvous hash, four times as many as it measures at once; a window moves over
its pool, one place per `ROTATE_MS`. So the pairs that a member ever has are as many as its pool (decisions/0020), a
member that comes or goes changes few pools, and how many measure one member is even but for chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

ROTATE_MS = 300_000
"""How long each place of the window stays: with ten partners a pair is measured for 50 minutes of every 200."""
_POOL = 4  # of what is measured at once
_FEWEST = 3
_ROWS = 64  # at once: 64 x 5,000 scores are 3 MB
_NOBODY = -1

_Ids = NDArray[np.uint64]
_Places = NDArray[np.int64]


def partners_at_once(candidates: int) -> int:
    """About log2 of the fleet, at least three; fewer where there are no more."""
    return min(candidates, max(_FEWEST, (candidates - 1).bit_length()))


class Pairing:
    """A value, for one set of members; 30 ms for a thousand. `probers` measure, `candidates` are measured."""

    def __init__(self, probers: Sequence[bytes], candidates: Sequence[bytes]) -> None:
        self._probers = {member: row for row, member in enumerate(probers)}
        self._names = tuple(probers)
        self._candidates = tuple(candidates)
        self._places = {member: place for place, member in enumerate(candidates)}
        self.at_once = partners_at_once(len(candidates))
        ids = _ids(candidates)
        self._phases = _ids(probers) % np.uint64(ROTATE_MS)
        size = min(_POOL * self.at_once, len(candidates))
        own = np.fromiter((self._places.get(member, _NOBODY) for member in probers), dtype=np.int64, count=len(probers))
        self._pools = _pools(_ids(probers), ids, own, size)
        self._sizes = np.count_nonzero(self._pools != _NOBODY, axis=1)

    def partners(self, member: bytes, now_ms: int) -> list[bytes]:
        """Whom this member measures now; nobody where it is not known here."""
        row = self._probers.get(member)
        if row is None or not self._sizes[row]:
            return []
        turn = (now_ms + int(self._phases[row])) // ROTATE_MS
        slots = (turn + np.arange(self.at_once)) % self._sizes[row]
        return [self._candidates[place] for place in dict.fromkeys(self._pools[row][slots].tolist())]

    def visitors(self, member: bytes, now_ms: int) -> list[bytes]:
        """Who may measure this member now: who does, did one turn ago, or will in the next one."""
        place = self._places.get(member)
        if place is None:
            return []
        rows, slots = np.nonzero(self._pools == place)
        turns = (now_ms + self._phases[rows].astype(np.int64)) // ROTATE_MS
        due = (slots - turns + 1) % self._sizes[rows] < self.at_once + 2
        return [self._names[row] for row in rows[due].tolist()]


def _ids(members: Sequence[bytes]) -> _Ids:
    digests = b"".join(sha256(b"peerwatch/pairing/1\n" + member).digest()[:8] for member in members)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def _pools(probers: _Ids, candidates: _Ids, own: _Places, size: int) -> _Places:
    """For each prober the places of its `size` best candidates, best first; itself counts as nobody, and last."""
    pools = np.full((len(probers), size), _NOBODY, dtype=np.int64)
    if not size:
        return pools
    for start in range(0, len(probers), _ROWS):
        rows = slice(start, start + _ROWS)
        scores = _mixed(probers[rows, None] * np.uint64(3) ^ candidates[None, :])
        itself = np.nonzero(own[rows] != _NOBODY)[0]
        scores[itself, own[rows][itself]] = 0
        best = np.argpartition(scores, len(candidates) - size, axis=1)[:, -size:]
        order = np.argsort(np.take_along_axis(scores, best, axis=1), axis=1)[:, ::-1]
        pools[rows] = np.take_along_axis(best, order, axis=1)
    pools[pools == own[:, None]] = _NOBODY
    return pools


def _mixed(values: _Ids) -> _Ids:
    """splitmix64's finaliser (Vigna): every bit of the input moves half of the output's."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
