"""RosterSync: keeps a hub's roster and bans equal to those of every other hub, over HTTPS."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread

from peerwatch.cli.ban_sync import BanSync
from peerwatch.cli.known_hub import load_known_hub
from peerwatch.errors import ConfigError, DecodeError, LinkError, PeerError, PeerwatchError, StoreError
from peerwatch.fleet.authority import Authority
from peerwatch.fleet.exchange import Exchange
from peerwatch.fleet.keys import load_or_create_keys
from peerwatch.fleet.membership import Membership
from peerwatch.fleet.roster import RosterEntry
from peerwatch.links.https import HttpsConfig, HttpsLink, fetch_pinned
from peerwatch.model import Clock
from peerwatch.telemetry import CollectorRegistry, Counter, Gauge, get_logger
from peerwatch.wire.identity import peer_id

_log = get_logger("roster")
_HTTPS = HttpsConfig(connect_s=3.0, answer_s=10.0)  # a hub that hangs must not delay what the next round would tell
_MOST_AT_ONCE = 8


@dataclass(slots=True)
class _Other:
    """Another hub: how it is reached, and what is wrong with it. A link is made anew when its addresses change."""

    link: HttpsLink | None = None
    entry: RosterEntry | None = None
    trouble: str = ""

    async def drop(self) -> None:
        """Let the link go; its connections with it."""
        link, self.link = self.link, None
        if link is not None:
            await link.aclose()


class RosterSync:
    """Asks every other hub at each interval, and at once when something has changed here. Owned by the hub's role.

    A hub that cannot be reached is logged when that begins and when it ends, and asked again at the next interval.
    """

    def __init__(
        self, authority: Authority, bans: BanSync, interval_s: float, clock: Clock, registry: CollectorRegistry
    ) -> None:
        self._authority = authority
        self._bans = bans
        self._exchange = Exchange(authority, clock)
        self._interval_s = interval_s
        self._others: dict[bytes, _Other] = {}
        self._wake = anyio.Event()
        expiry = Gauge(
            "peerwatch_hub_certificate_expiry_timestamp_seconds",
            "When the root's certificate of this hub ends; without a new one nobody believes its acks then.",
            registry=registry,
        )
        trust = authority.membership.trust
        expiry.set_function(lambda: trust.certificate_expiry_ms(authority.member) / 1000)
        self._rounds = Counter(
            "peerwatch_roster_exchanges_total", "Exchanges with other hubs, by result.", ["result"], registry=registry
        )

    def wake(self) -> None:
        """Something has changed here: tell the others."""
        self._wake.set()

    def digests(self) -> tuple[bytes, bytes]:
        """Of the roster and of the bans, as known here: what other hubs compare with theirs."""
        return self._exchange.digest(), self._bans.digest()

    async def run(self) -> None:
        """Exchange until cancelled."""
        self._wake = anyio.Event()
        try:
            while True:
                await self._round()
                with anyio.move_on_after(self._interval_s):
                    await self._wake.wait()
                self._wake = anyio.Event()
        finally:
            with anyio.CancelScope(shield=True):
                for other in self._others.values():
                    await other.drop()

    async def _round(self) -> None:
        if self._authority.is_revoked:
            return
        try:
            self._authority.renew_certificates()
        except (ConfigError, StoreError) as error:
            _log.error("hub certificates not renewed", reason=str(error))
        limiter = anyio.CapacityLimiter(_MOST_AT_ONCE)
        async with anyio.create_task_group() as tasks:
            for entry in self._authority.others():
                tasks.start_soon(self._with, entry, limiter)

    async def _with(self, entry: RosterEntry, limiter: anyio.CapacityLimiter) -> None:
        other = self._others.setdefault(entry.member, _Other())
        async with limiter:
            try:
                link = await self._linked(other, entry)
                await self._talk(link, entry.member)
                await self._bans.talk(link.share_bans, entry.member)
            except (LinkError, PeerError, ConfigError, StoreError) as error:
                await other.drop()
                self._failed(other, entry, error)
                return
        self._rounds.labels("done").inc()
        if other.trouble:
            _log.info("hub is reached again", hub=entry.name)
        other.trouble = ""

    def _failed(self, other: _Other, entry: RosterEntry, error: PeerwatchError) -> None:
        self._rounds.labels("failed").inc()
        if not other.trouble:
            _log.warning("roster not exchanged", hub=entry.name, peer_id=peer_id(entry.member), reason=str(error))
        other.trouble = str(error)

    async def _linked(self, other: _Other, entry: RosterEntry) -> HttpsLink:
        """A link to the first of its addresses that answers."""
        known = other.entry
        if other.link is not None and known is not None and known.addresses == entry.addresses:
            return other.link
        await other.drop()
        failures = []
        for address in entry.addresses:
            try:
                link = await _open(address, entry.tls_pin)
                await link.membership()
            except (LinkError, DecodeError, ConfigError) as error:
                failures.append(str(error))
                continue
            other.link, other.entry = link, entry
            return link
        raise LinkError("; ".join(failures))

    async def _talk(self, link: HttpsLink, hub: bytes) -> None:
        """One exchange. A hub that refuses us may know that we were revoked: its signed word on that counts."""
        try:
            heard = self._exchange.take(await link.exchange(self._exchange.first_question(hub)))
            if heard.agrees:
                return
            heard = self._exchange.take(await link.exchange(self._exchange.second_question(hub)))
            if heard.lacking:
                self._exchange.take(await link.exchange(self._exchange.third_question(hub, heard.lacking)))
        except LinkError:
            self._authority.absorb(await link.membership())
            raise


async def _open(address: str, tls_pin: bytes) -> HttpsLink:
    certificate = await anyio.to_thread.run_sync(fetch_pinned, address, tls_pin) if tls_pin else ""
    return HttpsLink(address, certificate, _HTTPS)


async def learn_at_start(folder: Path, clock: Clock) -> None:
    """A hub that has joined and holds no certificate yet asks the hubs that it knows. Silent where none answers."""
    try:
        membership = Membership.load(folder / "membership.bin", clock.now_ms())
        known = load_known_hub(folder)
    except (FileNotFoundError, ConfigError):  # it founds its own fleet, or what is wrong is said when it starts
        return
    if membership.trust.certificate_expiry_ms(load_or_create_keys(folder).peer.public) > clock.now_ms():
        return
    for address in known.addresses:
        try:
            async with HttpsLink(address, known.certificate_pem, _HTTPS) as link:
                membership.absorb(await link.membership(), clock.now_ms())
            membership.save()
        except (LinkError, PeerError) as error:
            _log.warning("hub not reached for a certificate", address=address, reason=str(error))
