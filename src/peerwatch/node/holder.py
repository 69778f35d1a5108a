"""Holder: connections that are to be open at all times, dialled again with growing waits."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

import anyio

from peerwatch.errors import LinkError, PeerError
from peerwatch.model import Clock
from peerwatch.node.host import Host
from peerwatch.telemetry import get_logger
from peerwatch.wire.identity import peer_id

_log = get_logger("node")
_FIRST_WAIT_S, _MOST_WAIT_S = 0.5, 30.0  # between dials of a peer that is to be held, with jitter

Lookup = Callable[[bytes], Awaitable[Sequence[str]]]
"""Further addresses of a member, asked for where those that are known have failed."""


async def _nowhere(_: bytes) -> Sequence[str]:
    return ()


@dataclass(slots=True)
class _Held:
    """A peer to which a connection is to be open. `asked` is what the main process said, not only the roster's word."""

    addresses: tuple[str, ...]
    asked: bool
    wait_s: float = _FIRST_WAIT_S
    due_s: float = 0.0
    trouble: str = ""
    dial: anyio.CancelScope | None = None
    """Of the dial that is under way: one at a time, however many addresses lead nowhere."""


class Holder:
    """Mutable; owned by the node's event loop. Bounded by the roster: who is no member is not dialled.

    `more` names addresses that are known from elsewhere, to be tried after those that were given; `lookup` asks others.
    """

    def __init__(
        self,
        host: Host,
        clock: Clock,
        more: Callable[[bytes], Sequence[str]] = lambda _: (),
        lookup: Lookup = _nowhere,
    ) -> None:
        self._host = host
        self._clock = clock
        self._more = more
        self._lookup = lookup
        self._held: dict[bytes, _Held] = {}
        self._wake = anyio.Event()

    async def hold(self, member: bytes, addresses: Sequence[str], within_s: float) -> None:
        """Stay connected to a member from now on; returns once that is so. Raises LinkError and goes on trying."""
        self.drop(member)
        due_s = self._clock.monotonic_s() + _FIRST_WAIT_S
        held = self._held[member] = _Held(tuple(addresses), asked=True, due_s=due_s)
        self.wake()
        try:
            with anyio.fail_after(within_s):
                await self._dial_alone(member, held)
        except TimeoutError as error:
            raise LinkError(f"{peer_id(member)}: no connection within {within_s:g} s") from error

    def want(self, members: Iterable[bytes]) -> None:
        """Stay connected to these as well, wherever they are known to be; replaces what was wanted before."""
        wanted = set(members)
        for member in [one for one, held in self._held.items() if not held.asked and one not in wanted]:
            self.drop(member)
        for member in wanted:
            self._held.setdefault(member, _Held((), asked=False))
        self.wake()

    def drop(self, member: bytes) -> None:
        """Hold it no longer; a dial of it ends."""
        held = self._held.pop(member, None)
        if held is not None and held.dial is not None:
            held.dial.cancel()

    def wake(self) -> None:
        """A connection has ended: look now."""
        self._wake.set()

    async def run(self) -> None:
        """Dial whoever is not connected, until cancelled."""
        async with anyio.create_task_group() as dials:
            while True:
                now_s = self._clock.monotonic_s()
                for member, held in self._held.items():
                    if held.dial is None and held.due_s <= now_s and not self._host.is_connected(member):
                        held.due_s = now_s + held.wait_s * random.uniform(0.5, 1.0)
                        held.wait_s = min(held.wait_s * 2, _MOST_WAIT_S)
                        held.dial = anyio.CancelScope()
                        dials.start_soon(self._try_dial, member, held)
                self._wake = anyio.Event()
                with anyio.move_on_after(_FIRST_WAIT_S / 2):
                    await self._wake.wait()

    async def _dial(self, member: bytes, held: _Held) -> None:
        known = dict.fromkeys([*held.addresses, *self._more(member)])
        try:
            await self._host.dial(member, list(known))
        except (LinkError, PeerError):
            found = [one for one in await self._lookup(member) if one not in known]
            if not found:
                raise
            await self._host.dial(member, found)
        self._host.watch(member)
        held.wait_s = _FIRST_WAIT_S
        held.trouble = ""

    async def _dial_alone(self, member: bytes, held: _Held) -> None:
        """Raises LinkError when it is held no longer, or told anew where it is."""
        held.dial = held.dial or anyio.CancelScope()
        try:
            with held.dial as scope:
                await self._dial(member, held)
            if scope.cancelled_caught:
                raise LinkError(f"{peer_id(member)} is not to be dialled any more, or not there")
        finally:
            held.dial = None

    async def _try_dial(self, member: bytes, held: _Held) -> None:
        try:
            await self._dial_alone(member, held)
        except (LinkError, PeerError) as error:
            if not held.trouble:  # else one that is switched off would fill the log
                _log.info("peer not reached", peer=peer_id(member), reason=str(error), again_s=round(held.wait_s, 1))
            held.trouble = str(error)
        except Exception:  # of the library's; all others that are held must not go with it
            _log.exception("dial failed", peer=peer_id(member), again_s=round(held.wait_s, 1))
