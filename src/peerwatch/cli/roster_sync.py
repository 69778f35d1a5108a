"""RosterSync: keeps a hub's roster and bans equal to those of every other hub, over HTTPS."""

from __future__ import annotations

from pathlib import Path

import anyio
import anyio.abc

from peerwatch.cli.ban_sync import BanSync
from peerwatch.cli.known_hub import load_known_hub
from peerwatch.cli.other_hub import TO_HUBS, OtherHub, SyncBounds
from peerwatch.errors import ConfigError, LinkError, PeerError, StoreError
from peerwatch.fleet.authority import Authority
from peerwatch.fleet.exchange import Exchange
from peerwatch.fleet.keys import load_or_create_keys
from peerwatch.fleet.membership import Membership
from peerwatch.links.https import HttpsLink
from peerwatch.model import Clock
from peerwatch.telemetry import CollectorRegistry, Counter, Gauge, get_logger

_log = get_logger("roster")


class RosterSync:
    """Asks every other hub at each interval, and at once when something has changed here. Owned by the hub's role.

    Each in a task of its own, so that a hub that is frozen delays nobody but itself. A hub that leaves the roster is
    let go, with its link.
    """

    def __init__(
        self, authority: Authority, bans: BanSync, interval_s: float, clock: Clock, registry: CollectorRegistry
    ) -> None:
        self._authority = authority
        self._bans = bans
        self._exchange = Exchange(authority, clock)
        self._interval_s = interval_s
        self._others: dict[bytes, OtherHub] = {}
        self._wake = anyio.Event()
        self._trouble = ""
        expiry = Gauge(
            "peerwatch_hub_certificate_expiry_timestamp_seconds",
            "When the root's certificate of this hub ends; without a new one nobody believes its acks then.",
            registry=registry,
        )
        trust = authority.membership.trust
        expiry.set_function(lambda: trust.certificate_expiry_ms(authority.member) / 1000)
        self._exchanges = Counter(
            "peerwatch_roster_exchanges_total", "Exchanges with other hubs, by result.", ["result"], registry=registry
        )

    def wake(self) -> None:
        """Something has changed here: tell the others."""
        self._wake.set()
        for other in self._others.values():
            other.wake()

    def digests(self) -> tuple[bytes, bytes]:
        """Of the roster and of the bans, as known here: what other hubs compare with theirs."""
        return self._exchange.digest(), self._bans.digest()

    async def run(self) -> None:
        """Exchange until cancelled."""
        bounds = SyncBounds()
        async with anyio.create_task_group() as tasks:
            while True:
                self._wake = anyio.Event()
                self._renew()
                self._follow(tasks, bounds)
                with anyio.move_on_after(self._interval_s):
                    await self._wake.wait()

    def _renew(self) -> None:
        if self._authority.is_revoked:
            return
        try:
            self._authority.renew_certificates()
            self._authority.keep()
        except (ConfigError, StoreError) as error:
            if not self._trouble:  # else a full disk would fill its log, too
                _log.error("fleet not kept, or its certificates not renewed", reason=str(error))
            self._trouble = str(error)
        else:
            self._trouble = ""

    def _follow(self, tasks: anyio.abc.TaskGroup, bounds: SyncBounds) -> None:
        """A task for each other hub of the roster, and for no other; none once this hub was revoked."""
        entries = {} if self._authority.is_revoked else {entry.member: entry for entry in self._authority.others()}
        for member in self._others.keys() - entries.keys():
            self._others.pop(member).end()
        for member, entry in entries.items():
            other = self._others.get(member)
            if other is not None:
                other.entry = entry
                continue
            other = OtherHub(entry, self._authority, self._exchange, self._bans, bounds, self._count)
            self._others[member] = other
            tasks.start_soon(other.run, self._interval_s)

    def _count(self, result: str) -> None:
        self._exchanges.labels(result).inc()


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
            async with HttpsLink(address, known.certificate_pem, TO_HUBS) as link:
                membership.absorb(await link.membership(), clock.now_ms())
            membership.save()
        except (LinkError, PeerError) as error:
            _log.warning("hub not reached for a certificate", address=address, reason=str(error))
