"""Held: the memory that requests take before they are answered, shared out among members (requirements B7, B26)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import anyio

from peerwatch.errors import QuotaError


class Share:
    """What one request holds. Read it inside `scope`: when others need its room it is cancelled there, and `lost`."""

    def __init__(self, held: Held, member: bytes) -> None:
        self.member = member
        self.bytes = 0
        self.lost = False
        self.scope = anyio.CancelScope()
        self.began_s = 0.0
        self._held = held

    def add(self, size_bytes: int) -> None:
        """So many more. Raises QuotaError past the limit of its member, or of all where nobody else must give way."""
        self._held.add(self, size_bytes)

    def age_s(self) -> float:
        """Since its first byte came."""
        return anyio.current_time() - self.began_s

    def settle(self) -> None:
        """It is whole and being answered: its place is not taken any more."""
        self._held.settle(self)


class Held:
    """Bytes of requests that are in memory. Mutable; owned by one carrier.

    A member holds at most `share_bytes`. Where all together would hold more than `limit_bytes`, the member that holds
    most of what is not whole yet gives up its oldest request, if that member holds more than the one that asks: so
    neither slow senders nor many large ones keep a small request out, and whoever sends at a usual speed is through
    before its turn to give way comes.
    """

    def __init__(self, limit_bytes: int, share_bytes: int) -> None:
        self.bytes = 0
        self.limit_bytes = limit_bytes
        self.share_bytes = share_bytes
        self.lost = 0
        self._by_member: dict[bytes, int] = {}
        self._unsettled: dict[bytes, dict[Share, None]] = {}

    @contextmanager
    def share(self, member: bytes) -> Iterator[Share]:
        """What one request takes, given back at the end."""
        share = Share(self, member)
        try:
            yield share
        finally:
            self.settle(share)
            self._give_back(share)

    def add(self, share: Share, size_bytes: int) -> None:
        """See `Share.add`."""
        mine = self._by_member.get(share.member, 0) + size_bytes
        if mine > self.share_bytes:
            raise QuotaError(f"requests of {mine} bytes of one member in memory, limit {self.share_bytes}", 1.0)
        while self.bytes + size_bytes > self.limit_bytes:
            loser = self._loser(share.member, mine)
            if loser is None:
                held = self.bytes + size_bytes
                raise QuotaError(f"requests of {held} bytes in memory, limit {self.limit_bytes}", 1.0)
            self._take_away(loser)
        if not share.bytes:
            share.began_s = anyio.current_time()
            self._unsettled.setdefault(share.member, {})[share] = None
        self.bytes += size_bytes
        share.bytes += size_bytes
        self._by_member[share.member] = mine

    def settle(self, share: Share) -> None:
        """See `Share.settle`."""
        shares = self._unsettled.get(share.member, {})
        shares.pop(share, None)
        if not shares:
            self._unsettled.pop(share.member, None)

    def _loser(self, member: bytes, mine: int) -> Share | None:
        held = {one: sum(share.bytes for share in shares) for one, shares in self._unsettled.items() if one != member}
        most = max(held, key=lambda one: held[one], default=None)
        if most is None or held[most] <= mine:
            return None
        return next(iter(self._unsettled[most]))

    def _take_away(self, share: Share) -> None:
        share.lost = True
        self.lost += 1
        self.settle(share)
        self._give_back(share)
        share.scope.cancel()

    def _give_back(self, share: Share) -> None:
        self.bytes -= share.bytes
        left = self._by_member.get(share.member, 0) - share.bytes
        share.bytes = 0
        if left > 0:
            self._by_member[share.member] = left
        else:
            self._by_member.pop(share.member, None)
