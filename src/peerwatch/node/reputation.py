"""Reputation: what a peer did, as far as code can prove it, fading with time (requirements B28, B31).

A score begins at 0, falls with misdeeds, rises a little with deliveries, and halves its distance to 0 every half-life.
Peers are judged by their id. Neighbourhoods (/24, /64) are judged too, more mildly, so that many names from one place
are limited as one; strangers, who have no id that counts, are judged by their place alone. A member that has delivered
answers for itself: what its neighbours do is not held against it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from math import inf
from types import MappingProxyType

from peerwatch.node.address import IP, subnet_of
from peerwatch.node.config import ReputationConfig

_LOOKED_AT = 16  # of the least recently touched when there is no room: the mildest goes
_FORGETTABLE = 1.0  # points: less than the smallest misdeed


class Deed(Enum):
    """What counts. The value is the `kind` label of p2p_deeds_total."""

    BAD_SIGNATURE = "bad_signature"
    """Signed by another key than it claims. No bad link does this."""
    REPLAY = "replay"
    """A number with other content, or another sender's old envelope. A plain repeat after a lost ack is no misdeed."""
    MALFORMED = "malformed"
    """Bytes that do not follow their format, under a transport that keeps bytes whole."""
    OVERSIZE = "oversize"
    """More than the limit that was announced."""
    FLOOD = "flood"
    """Sent on after it was told to wait."""
    TIMEOUT = "timeout"
    """Did not finish in time. Bad links do this too."""
    STRANGER = "stranger"
    """Tried to get in without being a member, or did not finish the handshake."""
    DENIED = "denied"
    """Asked for what it may not have."""
    DELIVERED = "delivered"
    """A delivery was acknowledged."""


@dataclass(frozen=True, slots=True)
class Weight:
    """`points` are added; a score below `worst` is not lowered further by this deed. 0 points: not counted there."""

    points: float
    subnet_points: float
    worst: float = -inf


WEIGHTS: Mapping[Deed, Weight] = MappingProxyType(
    {
        Deed.BAD_SIGNATURE: Weight(-50.0, -50.0),
        Deed.REPLAY: Weight(-25.0, -25.0),
        Deed.MALFORMED: Weight(-20.0, -20.0),
        Deed.OVERSIZE: Weight(-20.0, -20.0),
        Deed.FLOOD: Weight(-4.0, -4.0),
        Deed.TIMEOUT: Weight(-3.0, -1.0, worst=-40.0),  # slows, never bans: it proves nothing
        Deed.DENIED: Weight(-4.0, 0.0, worst=-40.0),  # an older hub denies what a newer member may ask: no ban for that
        Deed.STRANGER: Weight(0.0, -10.0),  # its id costs nothing to change
        Deed.DELIVERED: Weight(0.2, 0.0),  # else one member's diligence would pay for its neighbours
    }
)


@dataclass(frozen=True, slots=True)
class BanOrder:
    """What the caller is to carry out by `Bans.ban_temporary`. `subject` is a peer id or a network.

    `since_s` is when its trouble began: when its score last left 0. `reason` is what a peer did last, and what a
    network began with: once it is known for that, most of it is refused before anybody can see what it is up to.
    """

    subject: str
    duration_s: float
    reason: str
    since_s: float = 0.0


def bucket_factor(score: float, config: ReputationConfig) -> float:
    """How large a bucket goes with a score: 1 in the middle, straight lines to both ends.

    From `slow_below` it falls, to `slowest_factor` at `ban_below`; from 0 it rises, to `fastest_factor` at `best`.
    """
    if score >= 0.0:
        share = min(1.0, score / config.best) if config.best else 0.0
        return 1.0 + share * (config.fastest_factor - 1.0)
    if score >= config.slow_below:
        return 1.0
    share = min(1.0, (config.slow_below - score) / (config.slow_below - config.ban_below))
    return 1.0 - share * (1.0 - config.slowest_factor)


class _Score:
    """One subject's points at a time."""

    __slots__ = ("at_s", "first", "points", "since_s")

    def __init__(self, now_s: float, first: Deed) -> None:
        self.points = 0.0
        self.first = first
        self.at_s = self.since_s = now_s

    def fade(self, half_life_s: float, now_s: float) -> float:
        passed_s = max(0.0, now_s - self.at_s)
        if passed_s:
            self.points *= 0.5 ** (passed_s / half_life_s)
            self.at_s = now_s
        return self.points


class Reputation:
    """The scores of peers and subnets. Owned by the node's event loop; not kept across restarts, as bans are.

    Bounded by `max_subjects`: first everything that has faded goes, then the mildest of the 16 least recently touched.
    So a bad score is pushed out only by worse ones.
    """

    def __init__(self, config: ReputationConfig, weights: Mapping[Deed, Weight] = WEIGHTS) -> None:
        self._config = config
        self._weights = weights
        self._scores: OrderedDict[str, _Score] = OrderedDict()
        self._swept_s = -inf

    def __len__(self) -> int:
        return len(self._scores)

    def record(self, deed: Deed, peer: str | None, ip: IP | None, now_s: float, times: int = 1) -> list[BanOrder]:
        """Count a deed of a peer (None: it has not proved who it is) at an address (None: relayed), and judge both.

        Returns the bans that follow, none or up to two.
        """
        weight = self._weights[deed]
        orders: list[BanOrder] = []
        if peer is not None and weight.points:
            score = self._add(peer, deed, weight.points * times, weight.worst, now_s)
            if score.points <= self._config.ban_below and weight.points < 0:
                orders.append(BanOrder(peer, self._config.ban_s, _reason(deed, score.points), score.since_s))
        if ip is not None and weight.subnet_points:
            subnet, tolerance = str(subnet_of(ip)), self._config.subnet_tolerance
            score = self._add(subnet, deed, weight.subnet_points * times, weight.worst * tolerance, now_s)
            if score.points <= self._config.ban_below * tolerance and weight.subnet_points < 0:
                reason = _reason(score.first, score.points)
                orders.append(BanOrder(subnet, self._config.subnet_ban_s, reason, score.since_s))
        return orders

    def score(self, subject: str, now_s: float) -> float:
        """The points of a peer id or a network in its text form; 0.0 for who is not known."""
        known = self._scores.get(subject)
        return 0.0 if known is None else known.fade(self._config.half_life_s, now_s)

    def factor(self, peer: str, ip: IP | None, now_s: float) -> float:
        """What the peer's bucket is scaled by: its own standing, or its neighbourhood's where that is worse.

        The neighbourhood does not count for a peer that has earned credit of its own.
        """
        score = self.score(peer, now_s)
        own = bucket_factor(score, self._config)
        if ip is None or score > 0.0:
            return own
        around = self.score(str(subnet_of(ip)), now_s) / self._config.subnet_tolerance
        return min(own, bucket_factor(around, self._config)) if around < 0 else own

    def forget(self, subject: str) -> None:
        """Begin anew with it: somebody has lifted its ban."""
        self._scores.pop(subject, None)

    def _add(self, subject: str, deed: Deed, points: float, worst: float, now_s: float) -> _Score:
        score = self._scores.get(subject)
        if score is None:
            self._make_room(now_s)
            score = self._scores[subject] = _Score(now_s, deed)
        self._scores.move_to_end(subject)
        before = score.fade(self._config.half_life_s, now_s)
        if before > -_FORGETTABLE:
            score.since_s, score.first = now_s, deed
        after = min(self._config.best, before + points)
        score.points = after if points > 0 else max(after, min(before, worst))
        return score

    def _make_room(self, now_s: float) -> None:
        if len(self._scores) < self._config.max_subjects:
            return
        if now_s - self._swept_s >= self._config.half_life_s / 8:  # seldom: it looks at every one
            self._swept_s = now_s
            faded = [one for one in self._scores if abs(self.score(one, now_s)) < _FORGETTABLE]
            for one in faded:
                del self._scores[one]
        if len(self._scores) >= self._config.max_subjects:
            oldest = islice(self._scores, _LOOKED_AT)
            del self._scores[max(oldest, key=lambda one: self.score(one, now_s))]


def _reason(deed: Deed, score: float) -> str:
    return f"{deed.value}: score {score:.0f}"
