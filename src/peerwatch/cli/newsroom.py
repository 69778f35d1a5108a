"""Newsroom: what this hub tells all hubs by gossip, and what it makes of what they tell.

Gossip only wakes: roster and bans are exchanged over HTTPS, where every entry is verified by itself (decision 0018).
What is lost on the way is said again with the next round, or noticed by the exchange that runs anyway.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import anyio

from peerwatch.errors import LinkError, PeerError
from peerwatch.fleet.authority import Authority
from peerwatch.fleet.hub_news import HubNews, HubState, NewsReader, NewsWriter
from peerwatch.model import Clock
from peerwatch.node.messages import Heard
from peerwatch.telemetry import CollectorRegistry, Counter, Gauge, get_logger
from peerwatch.wire.identity import peer_id, public_key_of

_log = get_logger("hub")
_EVERY_S = 15.0  # a message of 300 bytes costs each hub 8 ms of CPU: 256 hubs take a seventh of a core
_SILENT_S = 50.0  # three rounds and some
_LEAST_GAP_S = 1.0  # between two messages, however often the roster changes

Publish = Callable[[bytes], Awaitable[None]]
"""To every hub. Raises LinkError, QuotaError."""


@dataclass(frozen=True, slots=True)
class _Said:
    """The newest of one hub."""

    news: HubNews
    heard_s: float


class Newsroom:
    """Owned by the hub's role and its event loop. `run` tells until cancelled; `hear` is called for each note.

    `digests` are those of roster and bans here; `on_difference` is called when another hub has others.
    """

    def __init__(
        self,
        authority: Authority,
        publish: Publish,
        digests: Callable[[], tuple[bytes, bytes]],
        on_difference: Callable[[], None],
        clock: Clock,
        registry: CollectorRegistry,
    ) -> None:
        self._authority = authority
        self._publish = publish
        self._digests = digests
        self._on_difference = on_difference
        self._clock = clock
        self._writer = NewsWriter(authority, clock)
        self._reader = NewsReader(authority.membership, clock)
        self._said: dict[bytes, _Said] = {}
        self._wake = anyio.Event()
        self._news = Counter(
            "peerwatch_hub_news_total", "News of other hubs, by what became of it.", ["result"], registry=registry
        )
        for result in ("believed", "refused"):
            self._news.labels(result)
        hubs = Gauge(
            "peerwatch_hubs",
            "Other hubs of the fleet, by what they say of themselves by gossip.",
            ["state"],
            registry=registry,
        )
        for state in ("here", "leaving", "silent"):
            hubs.labels(state).set_function(partial(self._count, state))

    # ---- telling

    def wake(self) -> None:
        """Roster or bans have changed: tell soon."""
        self._wake.set()

    async def run(self) -> None:
        """Tell at each interval, and at once when there is something new."""
        while True:
            self._wake = anyio.Event()
            await self._tell(HubState.HERE)
            await anyio.sleep(_LEAST_GAP_S)
            with anyio.move_on_after(_EVERY_S - _LEAST_GAP_S):
                await self._wake.wait()

    async def leave(self) -> None:
        """Tell that this hub stops, so that nobody waits for it."""
        await self._tell(HubState.LEAVING)

    async def _tell(self, state: HubState) -> None:
        if self._authority.is_revoked:  # nobody would believe it
            return
        try:
            await self._publish(self._writer.write(state, *self._digests()))
        except (LinkError, PeerError) as error:  # the node is down: said again with the next round
            _log.debug("hub news not published", reason=str(error))

    # ---- hearing

    def hear(self, note: Heard) -> None:
        """News as the node hands it over; what is not believed is counted and logged."""
        try:
            news = self._reader.read(note.body, public_key_of(note.peer))
        except PeerError as error:
            self._news.labels("refused").inc()
            _log.warning("hub news not believed", peer_id=note.peer, reason=str(error))
            return
        self._news.labels("believed").inc()
        before = self._said.get(news.hub)
        if before is None or news.seq > before.news.seq:
            self._said[news.hub] = _Said(news, self._clock.monotonic_s())
            self._note_leaving(news, before)
            if (news.roster_digest, news.bans_digest) != self._digests():
                self._on_difference()

    def _note_leaving(self, news: HubNews, before: _Said | None) -> None:
        if before is None or before.news.state is not news.state:
            _log.info("hub is here" if news.state is HubState.HERE else "hub leaves", peer_id=peer_id(news.hub))

    def state_of(self, hub: bytes) -> str:
        """`here`, `leaving`, or `silent` where nothing was heard for three rounds."""
        said = self._said.get(hub)
        if said is None or self._clock.monotonic_s() - said.heard_s > _SILENT_S:
            return "silent"
        return "here" if said.news.state is HubState.HERE else "leaving"

    def _count(self, state: str) -> int:
        roster, now_ms = self._authority.membership.roster, self._clock.now_ms()
        hubs = [one.member for one in roster if one.is_hub and one.member != self._authority.member]
        acting = [one for one in hubs if (entry := roster.get(one)) is not None and roster.may_act(entry, now_ms)]
        return sum(self.state_of(one) == state for one in acting)
