"""OtherHub: one hub that this one compares roster and bans with, over HTTPS, in a task of its own."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import anyio.to_thread

from peerwatch.cli.ban_sync import BanSync
from peerwatch.errors import ConfigError, DecodeError, LinkError, PeerError, PeerwatchError, StoreError
from peerwatch.fleet.authority import Authority
from peerwatch.fleet.exchange import Exchange
from peerwatch.fleet.roster import RosterEntry
from peerwatch.links.https import HttpsConfig, HttpsLink, fetch_pinned
from peerwatch.telemetry import get_logger
from peerwatch.wire.identity import peer_id

_log = get_logger("roster")
TO_HUBS = HttpsConfig(connect_s=3.0, answer_s=10.0)  # a hub that hangs is asked anew soon after it goes on
_LEAST_GAP_S = 0.1  # between two exchanges: a rack that joins at once is one exchange or two, not forty


class SyncBounds:
    """What the exchanges with all hubs share, so that no number of hubs takes all of this one's memory or threads.

    A first question is 200 bytes and waits for nobody, so a hub that is frozen holds none of these for long: it has
    not answered yet.
    """

    def __init__(self) -> None:
        self.large = anyio.CapacityLimiter(8)
        """Exchanges of two hubs that do not agree: some megabytes each way."""
        self.threads = anyio.CapacityLimiter(32)
        """In which certificates are compared with their pins, for up to 10 s at a hub that is frozen."""


class OtherHub:
    """Owned by `RosterSync`, which runs it. A link is made anew when the hub's addresses change, or after trouble.

    A hub that cannot be reached is logged when that begins and when it ends, and asked again at the next interval.
    """

    def __init__(
        self,
        entry: RosterEntry,
        authority: Authority,
        exchange: Exchange,
        bans: BanSync,
        bounds: SyncBounds,
        count: Callable[[str], None],
    ) -> None:
        self.entry = entry
        """Its newest entry in the roster, kept so by the owner."""
        self._authority = authority
        self._exchange = exchange
        self._bans = bans
        self._bounds = bounds
        self._count = count
        self._link: HttpsLink | None = None
        self._linked_at: tuple[str, ...] = ()
        self._trouble = ""
        self._wake = anyio.Event()
        self._scope = anyio.CancelScope()

    def wake(self) -> None:
        """Something has changed here: tell it. During an exchange this means another one right after."""
        self._wake.set()

    def end(self) -> None:
        """It is no hub of this fleet any more: let it go."""
        self._scope.cancel()

    async def run(self, interval_s: float) -> None:
        """One exchange after the other, until cancelled or ended."""
        try:
            with self._scope:
                while True:
                    self._wake = anyio.Event()  # what changes from here on may not be in this exchange
                    await self._compare()
                    await anyio.sleep(_LEAST_GAP_S)
                    with anyio.move_on_after(interval_s):
                        await self._wake.wait()
        finally:
            with anyio.CancelScope(shield=True):
                await self._drop()

    async def _compare(self) -> None:
        entry = self.entry
        try:
            link = await self._linked(entry)
            await self._talk(link)
            await self._bans.talk(link.share_bans, entry.member, self._bounds.large)
        except (LinkError, PeerError, ConfigError, StoreError) as error:
            await self._drop()
            self._failed(entry, error)
            return
        self._count("done")
        if self._trouble:
            _log.info("hub is reached again", hub=entry.name)
        self._trouble = ""

    def _failed(self, entry: RosterEntry, error: PeerwatchError) -> None:
        self._count("failed")
        if not self._trouble:
            _log.warning("roster not exchanged", hub=entry.name, peer_id=peer_id(entry.member), reason=str(error))
        self._trouble = str(error)

    async def _linked(self, entry: RosterEntry) -> HttpsLink:
        """A link to the first of its addresses that answers."""
        if self._link is not None and self._linked_at == entry.addresses:
            return self._link
        await self._drop()
        failures = []
        for address in entry.addresses:
            try:
                self._link = await self._open(address, entry.tls_pin)
                await self._link.membership()
            except (LinkError, DecodeError, ConfigError) as error:
                failures.append(str(error))
                await self._drop()
                continue
            self._linked_at = entry.addresses
            return self._link
        raise LinkError("; ".join(failures))

    async def _open(self, address: str, tls_pin: bytes) -> HttpsLink:
        if not tls_pin:
            return HttpsLink(address, "", TO_HUBS)
        threads = self._bounds.threads  # one that waits at a frozen hub ends by itself, and keeps nobody from leaving
        certificate = await anyio.to_thread.run_sync(
            fetch_pinned, address, tls_pin, limiter=threads, abandon_on_cancel=True
        )
        return HttpsLink(address, certificate, TO_HUBS)

    async def _talk(self, link: HttpsLink) -> None:
        """One exchange. A hub that refuses us may know that we were revoked: its signed word on that counts."""
        hub = self.entry.member
        try:
            heard = self._exchange.take(await link.exchange(self._exchange.first_question(hub)))
            if heard.agrees:
                return
            async with self._bounds.large:
                heard = self._exchange.take(await link.exchange(self._exchange.second_question(hub)))
                if heard.lacking:
                    self._exchange.take(await link.exchange(self._exchange.third_question(hub, heard.lacking)))
        except LinkError:
            self._authority.absorb(await link.membership())
            raise

    async def _drop(self) -> None:
        """Let the link go; its connections with it."""
        link, self._link = self._link, None
        if link is not None:
            await link.aclose()
