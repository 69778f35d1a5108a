"""RosterFollower: how a node that runs alone knows who is a member: it asks the hubs, again and again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

import anyio
import anyio.to_thread

from peerwatch.errors import ConfigError, LinkError, PeerError, StoreError
from peerwatch.fleet.exchange import Asker
from peerwatch.fleet.keys import MemberKeys
from peerwatch.fleet.membership import Membership
from peerwatch.fleet.roster import RosterEntry
from peerwatch.links.https import HttpsConfig, HttpsLink, fetch_pinned
from peerwatch.model import Clock
from peerwatch.telemetry import CollectorRegistry, Gauge, get_logger
from peerwatch.wire.identity import peer_id

_log = get_logger("roster")
_HTTPS = HttpsConfig(connect_s=3.0, answer_s=10.0)
_MOST_ASK_S = 15.0  # of one hub, over both ways
_MOST_P2P_S = 5.0
"""For one answer over libp2p where HTTPS is there too: the node itself waits longer than a hub is given in all."""
_HANG_REST_S = 60.0
_MOST_PARTS = 64  # of 2 MiB: the largest roster there is
STALE_S = 600.0
"""How long a roster counts after the last word of a hub. Shorter, and a hub's restart would be an outage of all that
come through this node; longer, and whoever was revoked meanwhile would stay."""

Ask = Callable[[bytes, bytes], Awaitable[bytes]]
"""A hub and a question to its answer, over libp2p. Raises LinkError, PeerError."""


class RosterFollower:
    """Keeps a membership equal to the hubs', on disk. Also who is let in (`node.roster_view.Members`).

    Until a hub has answered, and again when none has for ten minutes, that is hubs only: it fails closed. Each hub is
    asked in turn at each interval, over libp2p where it is connected, else over HTTPS where its entry says; where
    libp2p hangs, over HTTPS only for a minute.
    """

    def __init__(
        self,
        membership: Membership,
        keys: MemberKeys,
        ask: Ask,
        interval_s: float,
        clock: Clock,
        registry: CollectorRegistry,
    ) -> None:
        self._membership = membership
        self._me = keys.peer.public
        self._asker = Asker(membership, keys, clock, membership.save)
        self._ask = ask
        self._interval_s = interval_s
        self._clock = clock
        self._heard_ms = 0
        self._fresh_until_s = 0.0
        self._trouble: dict[bytes, str] = {}
        self._hung_until_s: dict[bytes, float] = {}
        heard = Gauge(
            "peerwatch_roster_heard_timestamp_seconds",
            "When a hub last said who the members are; without that for ten minutes only hubs are let in.",
            registry=registry,
        )
        heard.set_function(lambda: self._heard_ms / 1000)

    @property
    def is_fresh(self) -> bool:
        """Whether a hub has answered lately."""
        return self._clock.monotonic_s() < self._fresh_until_s

    @property
    def is_revoked(self) -> bool:
        """Whether this node was put out of its fleet."""
        return self._membership.roster.is_revoked_key(self._me)

    # ---- who is let in

    @property
    def version(self) -> int:
        """The roster's."""
        return self._membership.roster.version

    @property
    def changes(self) -> int:
        """Another number whenever somebody else is let in."""
        return 2 * self._membership.roster.changes + self.is_fresh

    def __iter__(self) -> Iterator[RosterEntry]:
        if self.is_revoked:
            return iter(())
        everybody = self._membership.roster
        return iter(everybody) if self.is_fresh else (one for one in everybody if one.is_hub)

    def may_act(self, entry: RosterEntry, now_ms: int) -> bool:
        """See `Roster.may_act`."""
        return self._membership.roster.may_act(entry, now_ms)

    # ---- asking

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            await self.ask_all()
            await anyio.sleep(self._interval_s)

    async def ask_all(self) -> None:
        """Ask every hub once, one after the other. A hub that does not answer is logged when that begins and ends."""
        for hub in self._hubs():
            try:
                with anyio.fail_after(_MOST_ASK_S):
                    await self._talk(hub)
            except (LinkError, PeerError, ConfigError, StoreError, TimeoutError) as error:
                self._failed(hub, str(error) or "too slow")
            else:
                self._heard_ms = self._clock.now_ms()
                self._fresh_until_s = self._clock.monotonic_s() + STALE_S
                if self._trouble.pop(hub.member, ""):
                    _log.info("hub is reached again", hub=hub.name)

    def _hubs(self) -> list[RosterEntry]:
        roster, now_ms = self._membership.roster, self._clock.now_ms()
        return [one for one in roster if one.is_hub and roster.may_act(one, now_ms)]

    def _failed(self, hub: RosterEntry, reason: str) -> None:
        if hub.member not in self._trouble:
            _log.warning("roster not heard", hub=hub.name, peer_id=peer_id(hub.member), reason=reason)
        self._trouble[hub.member] = reason

    async def _talk(self, hub: RosterEntry) -> None:
        """One exchange, in as many parts as it takes."""
        if not hub.addresses:
            await self._exchange(lambda question: self._ask(hub.member, question), hub.member)
            return
        try:
            await self._exchange(lambda question: self._over_p2p(hub.member, question), hub.member)
        except LinkError as error:
            await self._over_https(hub, error)

    async def _over_p2p(self, hub: bytes, question: bytes) -> bytes:
        """The answer, soon. Raises LinkError when it is late, and without asking where it was late lately."""
        if self._clock.monotonic_s() < self._hung_until_s.get(hub, 0.0):
            raise LinkError("libp2p rests, as it hung")
        try:
            with anyio.fail_after(_MOST_P2P_S):
                answer = await self._ask(hub, question)
        except TimeoutError as error:
            self._hung_until_s[hub] = self._clock.monotonic_s() + _HANG_REST_S
            raise LinkError(f"no answer over libp2p within {_MOST_P2P_S:g} s") from error
        self._hung_until_s.pop(hub, None)
        return answer

    async def _over_https(self, hub: RosterEntry, before: LinkError) -> None:
        failures = [str(before)]
        for address in hub.addresses:
            try:
                pin = hub.tls_pin
                certificate = await anyio.to_thread.run_sync(fetch_pinned, address, pin) if pin else ""
                async with HttpsLink(address, certificate, _HTTPS) as link:
                    self._membership.absorb(await link.membership(), self._clock.now_ms())  # it may say: revoked
                    await self._exchange(link.exchange, hub.member)
                return
            except (LinkError, ConfigError) as error:
                failures.append(str(error))
        raise LinkError("; ".join(failures))

    async def _exchange(self, ask: Callable[[bytes], Awaitable[bytes]], hub: bytes) -> None:
        if self._asker.take(await ask(self._asker.first_question(hub))).agrees:
            return
        for _ in range(_MOST_PARTS):
            before = self._membership.roster.changes
            heard = self._asker.take(await ask(self._asker.second_question(hub)))
            if heard.agrees or self._membership.roster.changes == before:
                return
