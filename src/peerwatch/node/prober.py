"""Prober: measures the partners that the main process names: round trips over libp2p's ping, loss, connections."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random

import anyio
import anyio.abc

from peerwatch.errors import LinkError, PeerError
from peerwatch.model import Clock
from peerwatch.node.connection import Stream, read_exactly
from peerwatch.node.gater import Direction
from peerwatch.node.host import PING, PING_BYTES, Host
from peerwatch.node.messages import Probe
from peerwatch.node.metrics import NodeMetrics
from peerwatch.wire.identity import peer_id

ANSWER_S = 5.0
"""Without an answer for so long a ping is lost: ten times the round trip of the worst link that is of use."""
_MOST_WAITS = 8  # intervals between dials of a partner that is not reached: two minutes

Tell = Callable[[Probe], None]


@dataclass(slots=True)
class _Partner:
    """One that is measured. Mutable; owned by the task that measures it."""

    addresses: tuple[str, ...]
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    stream: Stream | None = None
    waits: int = 1
    dial_due_s: float = 0.0


class Prober:
    """Mutable; owned by the node's event loop. As many tasks and kept streams as there are partners.

    Each partner is pinged once per interval, at a moment of its own. A ping that is not answered within `ANSWER_S` is
    lost; a partner that is not connected is dialled, with growing waits, and not reached until that works.
    """

    def __init__(self, host: Host, tell: Tell, metrics: NodeMetrics, clock: Clock, random: Random) -> None:
        self._host = host
        self._tell = tell
        self._metrics = metrics
        self._clock = clock
        self._random = random
        self._interval_s = 0.0
        self._partners: dict[bytes, _Partner] = {}
        self._tasks: anyio.abc.TaskGroup | None = None

    async def run(self) -> None:
        """Measure until cancelled."""
        async with anyio.create_task_group() as self._tasks:
            for member, partner in self._partners.items():
                self._tasks.start_soon(self._measure, member, partner)
            await anyio.sleep_forever()

    def measure(self, partners: Mapping[bytes, tuple[str, ...]], interval_s: float) -> None:
        """From now on these and nobody else. Who stays goes on as it was, with the addresses that are said now."""
        self._interval_s = interval_s
        for member in self._partners.keys() - partners.keys():
            self._partners.pop(member).scope.cancel()
        for member, addresses in partners.items():
            known = self._partners.get(member)
            if known is not None:
                known.addresses = addresses
                continue
            partner = self._partners[member] = _Partner(addresses)
            if self._tasks is not None:
                self._tasks.start_soon(self._measure, member, partner)

    async def _measure(self, member: bytes, partner: _Partner) -> None:
        try:
            with partner.scope:
                await anyio.sleep(self._random.random() * self._interval_s)
                while True:
                    began_s = anyio.current_time()
                    self._tell(await self._probe(member, partner))
                    due_s = began_s + self._interval_s * self._random.uniform(0.9, 1.1)
                    await anyio.sleep(max(0.0, due_s - anyio.current_time()))
        finally:
            with anyio.CancelScope(shield=True):
                await self._drop_stream(partner)

    async def _probe(self, member: bytes, partner: _Partner) -> Probe:
        """One look at a partner."""
        opened = failed = 0
        if not self._host.is_connected(member):
            if anyio.current_time() < partner.dial_due_s:
                return self._found(member)
            try:
                await self._host.dial(member, partner.addresses)
            except (LinkError, PeerError):  # the host has told of it
                failed = 1
                partner.dial_due_s = anyio.current_time() + partner.waits * self._interval_s
                partner.waits = min(2 * partner.waits, _MOST_WAITS)
                return self._found(member, failed=failed)
            opened = 1
        partner.waits, partner.dial_due_s = 1, 0.0
        try:
            rtt_s = await self._ping(member, partner)
        except (LinkError, PeerError):
            return self._found(member, sent=1, opened=opened)
        return self._found(member, sent=1, rtts_us=[round(rtt_s * 1e6)], opened=opened)

    def _found(
        self, member: bytes, *, sent: int = 0, rtts_us: list[int] | None = None, opened: int = 0, failed: int = 0
    ) -> Probe:
        return Probe(peer_id(member), sent, rtts_us or [], self._clock.now_ms(), opened, failed)

    async def _ping(self, member: bytes, partner: _Partner) -> float:
        """Round trip in seconds, on the stream of the last time where it still is one. Raises LinkError, QuotaError."""
        question = secrets.token_bytes(PING_BYTES)
        try:
            with anyio.fail_after(ANSWER_S):
                if partner.stream is not None:
                    try:
                        return await self._asked(partner.stream, question)
                    except LinkError:  # others end such a stream after a while, which says nothing of the network
                        await self._drop_stream(partner)
                partner.stream = await self._host.open_stream(member, PING)
                return await self._asked(partner.stream, question)
        except BaseException as error:
            with anyio.CancelScope(shield=True):
                await self._drop_stream(partner)
            if isinstance(error, TimeoutError):
                raise LinkError(f"{peer_id(member)}: no answer to a ping within {ANSWER_S:g} s") from error
            raise

    async def _asked(self, stream: Stream, question: bytes) -> float:
        began_s = anyio.current_time()
        self._metrics.message(Direction.OUT, PING)
        await stream.write(question)
        answer = await read_exactly(stream, len(question))
        if answer != question:
            raise LinkError(f"{peer_id(stream.member)}: the answer to a ping is another than the question")
        return anyio.current_time() - began_s

    @staticmethod
    async def _drop_stream(partner: _Partner) -> None:
        stream, partner.stream = partner.stream, None
        if stream is not None:
            await stream.reset()
