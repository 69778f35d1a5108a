"""Shipper: brings what is in the spool to one hub, fresh samples first, and forgets only what the hub signed for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Protocol, TypeVar, TypeVarTuple

import anyio
import anyio.to_thread
import stamina

from peerwatch.agent.held import Held
from peerwatch.agent.hub_schemas import Delta, HubSchemas, SentSchemas
from peerwatch.agent.membership_keeper import MembershipKeeper
from peerwatch.agent.ship_metrics import ShipMetrics
from peerwatch.errors import DecodeError, LinkError, SignatureError, StoreError
from peerwatch.fleet.membership import Membership
from peerwatch.model import Clock
from peerwatch.spool import Position, Spool, SpooledEnvelope, SpoolReader
from peerwatch.telemetry import CollectorRegistry, get_logger
from peerwatch.wire.ack import Ack
from peerwatch.wire.compression import Compressor
from peerwatch.wire.limits import DEFAULT_LIMITS
from peerwatch.wire.push import PushReply, Refusal, decode_reply, encode_request

_log = get_logger("ship")
T = TypeVar("T")
Args = TypeVarTuple("Args")


class Link(Protocol):
    """A way to one hub. Implementations translate every failure to LinkError, with `wait_s` where the hub said it."""

    async def push(self, request: bytes) -> bytes:
        """Deliver a push request and return the reply, within the link's own deadline.

        Raises DecodeError when the other side says that it cannot read this request, or that it is too large.
        """
        ...

    async def membership(self) -> bytes:
        """The hub's signed word on who the hubs are."""
        ...


@dataclass(frozen=True, slots=True)
class ShipConfig:
    """How an agent delivers. Waits grow with jitter, so that a hub that comes back is not met by all at once."""

    fresh_bytes: int = 1 << 20
    """Per request; a report is some 2 KB."""
    backfill_bytes: int = 2 << 20
    """A day of one host in ten rounds, each well within a hub's limits."""
    retry_first_s: float = 0.5
    """The first wait after a failure."""
    retry_most_s: float = 10.0
    """Waits double up to this: with the jitter, a thousand agents come back to a hub at some hundred a second."""
    retry_jitter_s: float = 2.0
    """Added by chance, up to this."""
    wait_most_s: float = 300.0
    """The longest wait that is believed, so that nobody on the way can put an agent to sleep."""
    idle_s: float = 5.0
    """How often to look without being woken, for what was released or redelivered."""
    hold_s: float = 30.0
    """How long a batch that was refused for now is kept aside, at least."""
    final_hold_s: float = 3_600.0
    """The same for one that was refused for good. It is not dropped, since refusals are not signed: see Shipper."""
    membership_gap_s: float = 15.0
    """At most one look at the membership in this time: every enrolment anywhere raises the roster's version. With a
    report every 10 s, a hub that was revoked is left within 30 s."""


@dataclass(slots=True)
class _Lane:
    """One of the two queues. `budget_bytes` shrinks when a request is too large for something on the way."""

    take: Callable[[int], list[SpooledEnvelope]]
    most_bytes: int
    leads: bool
    budget_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        self.budget_bytes = self.most_bytes


class Shipper:
    """One per hub, owned by the agent. Runs two lanes side by side, so that back-fill never delays fresh samples.

    The fresh lane leads: while its deliveries fail, back-fill waits. So after an outage the newest samples arrive
    first, and a hub that comes back is asked by one request of each agent and not by two.
    Only an ack that verifies, from this hub (`hub`; empty: from any of the fleet), moves the spool's cursor. A batch
    that the hub refuses by itself is kept aside for a while and does not block those behind it. Refusals are not
    signed, so none makes the agent forget: what is refused for good is counted, logged, tried seldom, and goes when
    the spool's age or size limit takes it. At every end of `run` nothing stays handed out.
    """

    def __init__(
        self,
        spool: Spool,
        receiver: str,
        link: Link,
        membership: Membership,
        sender: bytes,
        delta: Delta,
        config: ShipConfig,
        clock: Clock,
        registry: CollectorRegistry,
        *,
        hub: bytes = b"",
        random: Random | None = None,
        metrics: ShipMetrics | None = None,
    ) -> None:
        self._spool = spool
        self._reader: SpoolReader = spool.reader(receiver)
        self._link = link
        self._membership = membership
        self._keeper = MembershipKeeper(membership, link, config.membership_gap_s, clock)
        self._sender = sender
        self._hub = hub
        self._config = config
        self._clock = clock
        self._random = random or Random()
        self._compressor = Compressor()
        self._schemas = HubSchemas(delta)
        self._held = Held()
        self._wake = anyio.Event()
        self._fresh_flows = anyio.Event()
        self._acked = 0
        self.last_ack_ms = 0
        made = metrics or ShipMetrics(registry)
        self._metrics = made.of(receiver, lambda: self.pending, lambda: len(self._held))

    def wake(self) -> None:
        """Something new is in the spool."""
        self._wake.set()
        self._wake = anyio.Event()

    @property
    def pending(self) -> int:
        """Batches that this hub has not acknowledged; none once the spool was told to forget it."""
        try:
            return self._reader.pending().count
        except StoreError:
            return 0

    async def run(self) -> None:
        """Deliver until cancelled."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._run_lane, self._fresh())
                tasks.start_soon(self._run_lane, _Lane(self._reader.backfill, self._config.backfill_bytes, leads=False))
                tasks.start_soon(self._keeper.run)
        finally:
            await self._release(self._held.clear())

    def end(self) -> None:
        """Nothing is delivered to this hub any more: its metrics end. Call after `run`."""
        self._metrics.end()

    async def drain(self, most_s: float) -> int:
        """Deliver what is fresh, for at most `most_s` and until the first failure; how many batches remain."""
        lane = self._fresh()
        with anyio.move_on_after(most_s):
            try:
                while await self._deliver(lane):
                    pass
            except LinkError as error:
                _log.info("not everything delivered before stopping", reason=str(error))
        await self._release(self._held.clear())
        return self.pending

    def _fresh(self) -> _Lane:
        return _Lane(self._reader.fresh, self._config.fresh_bytes, leads=True)

    async def _run_lane(self, lane: _Lane) -> None:
        """Deliver one lane for ever. A failed delivery is released first, so the next try takes what is freshest."""
        config = self._config
        while True:
            wake = self._wake
            progressed = False
            async for attempt in stamina.retry_context(
                on=self._wait_of,
                attempts=None,
                timeout=None,
                wait_initial=config.retry_first_s,
                wait_max=config.retry_most_s,
                wait_jitter=config.retry_jitter_s,
            ):
                with attempt:
                    progressed = await self._try(lane)
            if not progressed:
                with anyio.move_on_after(config.idle_s):
                    await wake.wait()

    async def _try(self, lane: _Lane) -> bool:
        """One round of a lane, the back-fill's only while the fresh one's go well."""
        if not lane.leads:
            await self._fresh_flows.wait()
            return await self._deliver(lane)
        acked = self._acked
        try:
            progressed = await self._deliver(lane)
        except LinkError:
            if self._fresh_flows.is_set():  # else somebody may wait for this very event
                self._fresh_flows = anyio.Event()
            raise
        if not progressed or self._acked > acked:  # a hub that asks for schemas has taken nothing yet
            self._fresh_flows.set()
        return progressed

    def _wait_of(self, error: Exception) -> bool | float:
        """stamina's hook: how long to wait after this error; True for its own growing wait, False for no retry."""
        if not isinstance(error, LinkError):
            return False
        if not error.wait_s:
            return True
        return min(error.wait_s, self._config.wait_most_s) * self._random.uniform(1.0, 1.5)

    async def _deliver(self, lane: _Lane) -> bool:
        """One round of a lane; whether there was anything to send. Raises LinkError when it must be tried again."""
        waiting: set[Position] = set()
        try:
            await self._let_go()
            items = await _from_spool(lane.take, lane.budget_bytes)
            fresh = self._held.without(items)
            waiting.update(item.position for item in fresh)
            for request in _requests(fresh):
                if not await self._exchange(request, waiting, lane):
                    break  # the others would be asked for the same schemas
        except LinkError:
            self._metrics.failed()
            raise
        finally:
            await self._release(waiting)  # also when cancelled: nothing may stay handed out
        return bool(items)

    async def _exchange(self, items: Sequence[SpooledEnvelope], waiting: set[Position], lane: _Lane) -> bool:
        """One request; False when the hub lacks schemas for some of it. Raises LinkError when nothing came of it."""
        used = {schema_id: None for item in items for schema_id in item.schema_ids}
        sent = await self._records(used)
        if sent.lost:
            items = await self._hold_lost(items, sent.lost, waiting)
        if not items:
            return True
        request = encode_request([item.envelope for item in items], sent.records, self._compressor)
        self._metrics.sent(len(request))
        try:
            answer = await self._link.push(request)
        except DecodeError as error:
            await self._too_much(error, items, waiting, lane)
            return True
        try:
            reply = decode_reply(answer)
        except DecodeError as error:
            raise LinkError(f"hub answered with something else than a reply: {error}") from error
        lane.budget_bytes = min(lane.most_bytes, lane.budget_bytes * 2)
        needs = used.keys() & set(reply.need_schemas)
        await self._settle(reply, bool(needs), [item.position for item in items], waiting)
        if not self._schemas.answered(used, sent, needs):
            raise LinkError(f"hub asks again for schemas that it was sent, {len(needs)} in all")
        return not needs

    async def _records(self, used: Iterable[bytes]) -> SentSchemas:
        """What the hub asked for of the schemas that these batches use."""
        wanted = self._schemas.wanted(used)
        if not wanted:
            return SentSchemas()
        whole = await _from_spool(lambda: {one: self._spool.schema(one) for one in wanted})
        return self._schemas.choose(wanted, whole)

    async def _hold_lost(
        self, items: Sequence[SpooledEnvelope], lost: frozenset[bytes], waiting: set[Position]
    ) -> list[SpooledEnvelope]:
        """Damage took a schema from the spool: nobody can read its batches. Those that do not need it go on."""
        for item in items:
            if not lost.isdisjoint(item.schema_ids):
                _log.error("batch cannot be sent: its schema is lost", position=str(item.position))
                await self._hold(item.position, "lost_schema", self._config.final_hold_s, waiting)
        return [item for item in items if lost.isdisjoint(item.schema_ids)]

    async def _too_much(
        self, error: DecodeError, items: Sequence[SpooledEnvelope], waiting: set[Position], lane: _Lane
    ) -> None:
        """Something on the way does not take this request: try smaller ones, down to a single batch."""
        if len(items) > 1:
            lane.budget_bytes = max(1, min(lane.budget_bytes, sum(len(item.envelope) for item in items)) // 2)
            raise LinkError(f"request of {len(items)} batches refused: {error}")
        _log.error("batch refused for good", position=str(items[0].position), detail=str(error))
        await self._hold(items[0].position, "malformed", self._config.final_hold_s, waiting)

    async def _settle(
        self, reply: PushReply, needs_schemas: bool, sent: Sequence[Position], waiting: set[Position]
    ) -> None:
        """Cross off what the hub signed for, put aside what it will not take. Raises LinkError when nothing came."""
        before = len(waiting)
        for ack in reply.acks:
            await self._take_ack(ack, reply.hub, waiting)
        left = [] if needs_schemas else [position for position in sent if position in waiting]
        for refusal in _numbered(reply.refusals, left):
            await self._take_refusal(refusal, waiting)
        if len(waiting) < before or needs_schemas:
            return
        if not reply.refusals:
            raise LinkError(f"hub did not answer for any of {len(sent)} batches")
        first = reply.refusals[0]
        raise LinkError(f"hub took nothing: {first.message}", first.wait_s or None)

    async def _take_ack(self, ack: Ack, hub: bytes, waiting: set[Position]) -> None:
        try:
            self._check_ack(ack, hub)
        except SignatureError as error:
            self._metrics.batches("bad_ack")
            _log.error("ack not believed", reason=str(error))
            self._keeper.refresh()
            return
        await _from_spool(self._reader.ack, ack.epoch, ack.runs)
        acked = {one for one in waiting if any(one.epoch == ack.epoch and a <= one.seq <= b for a, b in ack.runs)}
        waiting -= acked
        self._acked += len(acked)
        self._metrics.batches("acknowledged", len(acked))
        self.last_ack_ms = self._clock.now_ms()
        self._keeper.heard_of(ack.roster_version)

    def _check_ack(self, ack: Ack, hub: bytes) -> None:
        if self._hub and hub != self._hub:
            raise SignatureError(f"ack is from hub {hub.hex()[:64]}, expected {self._hub.hex()}")
        verifier = self._membership.hub_verifier(hub, self._clock.now_ms())
        ack.verify(verifier, self._membership.fleet, self._sender)

    async def _take_refusal(self, refusal: Refusal, waiting: set[Position]) -> None:
        reason, position = refusal.reason.name.lower(), Position(refusal.epoch, refusal.seq)
        if position not in waiting:
            return
        if refusal.reason.final:
            _log.error("batch refused for good", reason=reason, position=str(position), detail=refusal.message)
            await self._hold(position, reason, self._config.final_hold_s, waiting)
        elif refusal.reason.of_one_batch:
            _log.warning("batch refused for now", reason=reason, position=str(position), detail=refusal.message)
            await self._hold(position, reason, max(refusal.wait_s, self._config.hold_s), waiting)
        else:
            self._metrics.batches(reason)  # the LinkError that follows from it says why

    async def _hold(self, position: Position, result: str, hold_s: float, waiting: set[Position]) -> None:
        """Keep a batch aside: it stays handed out, so the spool offers what is behind it."""
        self._metrics.batches(result)
        waiting.discard(position)
        hold_s = min(hold_s, max(self._config.wait_most_s, self._config.final_hold_s))
        await self._release(self._held.put(position, self._clock.monotonic_s() + hold_s))

    async def _let_go(self) -> None:
        await self._release(self._held.due(self._clock.monotonic_s()))

    async def _release(self, positions: Iterable[Position]) -> None:
        """Let batches wait again. A spool that is closed or has forgotten this hub has nothing handed out any more."""
        given = list(positions)
        if not given:
            return
        with anyio.CancelScope(shield=True):
            try:
                await anyio.to_thread.run_sync(self._reader.release, given)
            except StoreError as error:
                _log.warning("batches not released", reason=str(error), batches=len(given))


async def _from_spool(call: Callable[[*Args], T], *args: *Args) -> T:
    """A call that may wait for the disk; one that the disk refuses is tried again like one that the hub refuses."""
    try:
        return await anyio.to_thread.run_sync(call, *args)
    except StoreError as error:
        raise LinkError(f"spool: {error}") from error


def _requests(items: Sequence[SpooledEnvelope]) -> Iterator[Sequence[SpooledEnvelope]]:
    """The items in as many requests as a hub's limit on envelopes asks for."""
    for start in range(0, len(items), DEFAULT_LIMITS.max_envelopes):
        yield items[start : start + DEFAULT_LIMITS.max_envelopes]


def _numbered(refusals: Sequence[Refusal], left: Sequence[Position]) -> list[Refusal]:
    """The refusals by number. A hub cannot tell the number of what it cannot read: those are what else is `left`."""
    named = [refusal for refusal in refusals if refusal.epoch]
    unnamed = [refusal for refusal in refusals if not refusal.epoch]
    numbers = {Position(refusal.epoch, refusal.seq) for refusal in named}
    rest = [position for position in left if position not in numbers]
    if len(rest) != len(unnamed):
        return named
    return named + [
        replace(refusal, epoch=position.epoch, seq=position.seq)
        for position, refusal in zip(rest, unnamed, strict=True)
    ]
