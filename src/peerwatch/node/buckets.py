"""Buckets: a token bucket per peer, in a bounded number (requirement B31)."""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice

from peerwatch.node.bucket import TokenBucket

_LOOKED_AT = 16  # of the least recently used: enough to find a full one in honest times, cheap in others


class Buckets:
    """One bucket per peer id, whatever connection it comes by. Owned by the node's event loop.

    At `max_peers` the least recently used bucket that is full again makes room: it is as good as a new one, so nobody
    resets a bucket by leaving and coming back, nor by having others come. Where none of the 16 least recently used is
    full, newcomers share one bucket until there is room: a crowd of new names gets what one peer gets.
    """

    def __init__(self, capacity: float, rate_per_s: float, max_peers: int, now_s: float) -> None:
        self._capacity = capacity
        self._rate_per_s = rate_per_s
        self._max_peers = max_peers
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()
        self._crowd = TokenBucket(capacity, rate_per_s, now_s)

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, peer: str, tokens: float, factor: float, now_s: float) -> float:
        """0.0 when granted, else how long to wait. `factor` scales the peer's capacity and rate: its reputation's."""
        return self._tuned(peer, factor, now_s).take(tokens, now_s)

    def lacks(self, peer: str, tokens: float, factor: float, now_s: float) -> float:
        """What `take` would answer; nothing is taken."""
        return self._tuned(peer, factor, now_s).lacks(tokens, now_s)

    def _tuned(self, peer: str, factor: float, now_s: float) -> TokenBucket:
        bucket = self._bucket(peer, now_s)
        if bucket is not self._crowd:
            bucket.tune(self._capacity * factor, self._rate_per_s * factor, now_s)
        return bucket

    def _bucket(self, peer: str, now_s: float) -> TokenBucket:
        known = self._buckets.get(peer)
        if known is not None:
            self._buckets.move_to_end(peer)
            return known
        if len(self._buckets) >= self._max_peers and not self._make_room(now_s):
            return self._crowd
        made = self._buckets[peer] = TokenBucket(self._capacity, self._rate_per_s, now_s)
        return made

    def _make_room(self, now_s: float) -> bool:
        for peer, bucket in islice(self._buckets.items(), _LOOKED_AT):
            if bucket.is_full(now_s):
                del self._buckets[peer]
                return True
        return False
