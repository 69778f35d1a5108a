"""Shipper: brings what is in the spool to one hub, fresh samples first, and forgets only what the hub signed for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import anyio
import anyio.to_thread
import stamina

from peerwatch.errors import DecodeError, LinkError, PeerError, SignatureError, StoreError
from peerwatch.fleet.membership import Membership
from peerwatch.model import Clock
from peerwatch.spool import Position, Spool, SpooledEnvelope, SpoolReader
from peerwatch.telemetry import CollectorRegistry, Counter, Gauge, get_logger
from peerwatch.wire.ack import Ack
from peerwatch.wire.compression import Compressor
from peerwatch.wire.push import PushReply, Refusal, decode_reply, encode_request

_log = get_logger("ship")
_MAX_KNOWN = 4096
_Take = Callable[[int], list[SpooledEnvelope]]


class Link(Protocol):
    """A way to one hub. Implementations translate every failure to LinkError, with `wait_s` where the hub said it."""

    async def push(self, request: bytes) -> bytes:
        """Deliver a push request and return the reply, within the link's own deadline."""
        ...

    async def membership(self) -> bytes:
        """The hub's signed word on who the hubs are."""
        ...


@dataclass(frozen=True, slots=True)
class ShipConfig:
    """How an agent delivers. Waits grow with jitter, so that a hub that comes back is not met by all at once."""

    fresh_bytes: int = 1 << 20  # per request; a report is some 2 KB
    backfill_bytes: int = 2 << 20  # a day of one host in ten requests, each well within a hub's limits
    retry_first_s: float = 0.5
    retry_most_s: float = 30.0
    retry_jitter_s: float = 2.0
    idle_s: float = 5.0  # how often to look without being woken, for what was released or redelivered


class Shipper:
    """One per hub, owned by the agent. Runs two lanes side by side, so that back-fill never delays fresh samples."""

    def __init__(
        self,
        spool: Spool,
        receiver: str,
        link: Link,
        membership: Membership,
        sender: bytes,
        delta: Callable[[bytes], tuple[bytes, bytes] | None],
        config: ShipConfig,
        clock: Clock,
        registry: CollectorRegistry,
    ) -> None:
        self._spool = spool
        self._reader: SpoolReader = spool.reader(receiver)
        self._link = link
        self._membership = membership
        self._sender = sender
        self._delta = delta
        self._config = config
        self._clock = clock
        self._compressor = Compressor()
        self._hub_knows: set[bytes] = set()
        self._hub_needs: dict[bytes, int] = {}  # schema id -> how often it was sent since the hub asked
        self._wake = anyio.Event()
        self._roster_version = membership.roster.version
        self.last_ack_ms = 0
        self._batches = Counter(
            "peerwatch_ship_batches_total", "Batches, by what the hub made of them.", ["result"], registry=registry
        )
        self._failures = Counter(
            "peerwatch_ship_link_failures_total", "Deliveries that failed and are tried again.", registry=registry
        )
        self._bytes = Counter("peerwatch_ship_sent_bytes_total", "Bytes of push requests.", registry=registry)
        pending = Gauge("peerwatch_ship_pending_batches", "Batches not yet acknowledged.", registry=registry)
        pending.set_function(lambda: self._reader.pending().count)

    def wake(self) -> None:
        """Something new is in the spool."""
        self._wake.set()
        self._wake = anyio.Event()

    @property
    def pending(self) -> int:
        """Batches that this hub has not acknowledged."""
        return self._reader.pending().count

    async def run(self) -> None:
        """Deliver until cancelled."""
        async with anyio.create_task_group() as lanes:
            lanes.start_soon(self._lane, self._reader.fresh, self._config.fresh_bytes)
            lanes.start_soon(self._lane, self._reader.backfill, self._config.backfill_bytes)

    async def drain(self, most_s: float) -> int:
        """Deliver what is fresh, for at most `most_s` and until the first failure; how many batches remain."""
        with anyio.move_on_after(most_s):
            try:
                while await self._deliver(self._reader.fresh, self._config.fresh_bytes):
                    pass
            except LinkError as error:
                _log.info("not everything delivered before stopping", reason=str(error))
        return self.pending

    async def _lane(self, take: _Take, most_bytes: int) -> None:
        """Deliver one lane for ever. A failed delivery is released first, so the next try takes what is freshest."""
        config = self._config
        while True:
            wake = self._wake
            progressed = False
            async for attempt in stamina.retry_context(
                on=_wait_of,
                attempts=None,
                timeout=None,
                wait_initial=config.retry_first_s,
                wait_max=config.retry_most_s,
                wait_jitter=config.retry_jitter_s,
            ):
                with attempt:
                    progressed = await self._deliver(take, most_bytes)
            if not progressed:
                with anyio.move_on_after(config.idle_s):
                    await wake.wait()

    async def _deliver(self, take: _Take, most_bytes: int) -> bool:
        """One request; whether there was anything to send. Raises LinkError when it must be tried again."""
        items = await anyio.to_thread.run_sync(take, most_bytes)
        if not items:
            return False
        open_positions = {item.position for item in items}
        try:
            reply = await self._exchange(items)
            await self._settle(reply, open_positions)
        except (LinkError, StoreError) as error:
            self._failures.inc()
            raise LinkError(str(error), getattr(error, "wait_s", None)) from error
        finally:
            if open_positions:  # also when cancelled: nothing may stay handed out
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(self._reader.release, open_positions)
        return True

    async def _exchange(self, items: Sequence[SpooledEnvelope]) -> PushReply:
        used = {schema_id for item in items for schema_id in item.schema_ids}
        schemas = await anyio.to_thread.run_sync(self._records, used & self._hub_needs.keys())
        request = encode_request([item.envelope for item in items], schemas, self._compressor)
        self._bytes.inc(len(request))
        try:
            reply = decode_reply(await self._link.push(request))
        except DecodeError as error:
            raise LinkError(f"hub answered with something else than a reply: {error}") from error
        if len(self._hub_knows) > _MAX_KNOWN:
            self._hub_knows.clear()  # only costs whole schemas where a change would have done
        self._hub_knows |= used - set(reply.need_schemas)
        for schema_id in used - set(reply.need_schemas):
            self._hub_needs.pop(schema_id, None)
        return reply

    def _records(self, wanted: set[bytes]) -> list[bytes]:
        """The asked-for schemas: as a change of one that the hub has, at first, and then whole."""
        records = []
        for schema_id in sorted(wanted):
            delta = self._delta(schema_id)
            if self._hub_needs[schema_id] == 0 and delta is not None and delta[0] in self._hub_knows:
                records.append(delta[1])
            else:
                whole = self._spool.schema(schema_id)
                if whole is None:
                    raise StoreError(f"spool lacks schema {schema_id.hex()}")
                records.append(whole)
            self._hub_needs[schema_id] += 1
        return records

    async def _settle(self, reply: PushReply, waiting: set[Position]) -> None:
        """Cross off what the hub signed for or will never take. Raises LinkError when nothing came of the request."""
        before = len(waiting)
        for ack in reply.acks:
            await self._take_ack(ack, waiting)
        for refusal in reply.refusals:
            await self._take_refusal(refusal, waiting)
        stuck = [one for one in reply.need_schemas if self._hub_needs.get(one, 0) > 1]
        for schema_id in reply.need_schemas:
            self._hub_needs.setdefault(schema_id, 0)
        if len(waiting) < before or (reply.need_schemas and not stuck):
            return
        if not reply.refusals:
            raise LinkError(f"hub took nothing and asks again for {len(stuck)} schemas that it was sent")
        first = reply.refusals[0]
        raise LinkError(f"hub took nothing: {first.message}", first.wait_s or None)

    async def _take_ack(self, ack: Ack, waiting: set[Position]) -> None:
        body = ack.body
        try:
            if body.fleet != self._membership.fleet or body.sender != self._sender:
                raise SignatureError("ack is for another fleet or sender")
            ack.verify(self._membership.trust.hub_verifier(ack.hub, self._clock.now_ms()))
        except SignatureError as error:
            self._batches.labels("bad_ack").inc()
            _log.error("ack not believed", reason=str(error))
            await self._refresh_membership()
            return
        await anyio.to_thread.run_sync(self._reader.ack, body.epoch, body.runs)
        acked = {one for one in waiting if any(one.epoch == body.epoch and a <= one.seq <= b for a, b in body.runs)}
        waiting -= acked
        self._batches.labels("acknowledged").inc(len(acked))
        self.last_ack_ms = self._clock.now_ms()
        if body.roster_version > self._roster_version:
            self._roster_version = body.roster_version
            await self._refresh_membership()

    async def _take_refusal(self, refusal: Refusal, waiting: set[Position]) -> None:
        """A final refusal is given up, counted and logged; any other stays in the spool."""
        self._batches.labels(refusal.reason.name.lower()).inc()
        position = Position(refusal.epoch, refusal.seq)
        if not refusal.reason.final or position not in waiting:
            _log.warning("batch refused for now", reason=refusal.reason.name.lower(), detail=refusal.message)
            return
        _log.error("batch refused for good", reason=refusal.reason.name.lower(), detail=refusal.message)
        await anyio.to_thread.run_sync(self._reader.ack, position.epoch, [(position.seq, position.seq)])
        waiting.discard(position)

    async def _refresh_membership(self) -> None:
        """Learn of new hubs and renewed certificates; a failure is tried again at the next ack."""
        try:
            self._membership.absorb(await self._link.membership(), self._clock.now_ms())
            await anyio.to_thread.run_sync(self._membership.save)
        except (LinkError, PeerError, StoreError) as error:
            _log.warning("membership not refreshed", reason=str(error))


def _wait_of(error: Exception) -> bool | float:
    """stamina's hook: how long to wait after this error; True for its own growing wait, False for no retry."""
    if not isinstance(error, LinkError):
        return False
    return error.wait_s if error.wait_s else True
