"""Places: where members have come from lately, so that nobody is kept out for what its neighbours do."""

from __future__ import annotations

from collections import OrderedDict

from peerwatch.node.address import IP, Network, subnet_of

_KEPT_S = 86_400.0
_MAX_PLACES = 16_384  # twice the connections of the largest preset; 200 bytes each


class Places:
    """Addresses and neighbourhoods of members, for a day after each was last seen. Owned by the node's event loop.

    When it is full the one not seen for longest goes. Not kept across restarts: members come back within a minute.
    """

    def __init__(self, max_places: int = _MAX_PLACES) -> None:
        self._max_places = max_places
        self._seen_s: OrderedDict[IP | Network, float] = OrderedDict()

    def saw(self, ip: IP, now_s: float) -> None:
        """A member is connected from there."""
        for place in (ip, subnet_of(ip)):
            self._seen_s[place] = now_s
            self._seen_s.move_to_end(place)
        while len(self._seen_s) > self._max_places:
            self._seen_s.popitem(last=False)

    def is_home(self, place: IP | Network, now_s: float) -> bool:
        """Whether a member came from this address, or this neighbourhood."""
        return now_s - self._seen_s.get(place, -_KEPT_S) < _KEPT_S
