"""Collector: takes pushes in, makes them durable, acknowledges them, and knows who reports."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import anyio
import anyio.lowlevel
from anyio.abc import TaskStatus

from peerwatch.collector.bucket import TokenBucket
from peerwatch.collector.committer import Committer, Ticket
from peerwatch.collector.config import CollectorConfig
from peerwatch.collector.dedupe import Dedupe, Number, number_of
from peerwatch.collector.ingest import Accept, Decision, Duplicate, Ingest, NeedSchemas, NewLayouts, Pending, Refused
from peerwatch.collector.member import AgentStatus, LayoutKey, SenderLayout
from peerwatch.collector.members import Members
from peerwatch.collector.metrics import CollectorMetrics
from peerwatch.collector.presence import Presence
from peerwatch.collector.sample_store import SampleStore
from peerwatch.collector.schemas import PushedSchemas
from peerwatch.errors import DecodeError, QuotaError, StoreError
from peerwatch.fleet.authority import Authority
from peerwatch.model import Clock, Part, RowsEntry
from peerwatch.telemetry import CollectorRegistry, get_logger
from peerwatch.wire.ack import AckBody, SignedAck, sign_acks
from peerwatch.wire.baseline import Baseline
from peerwatch.wire.compression import Compressor
from peerwatch.wire.envelope import Header
from peerwatch.wire.named_cache import NamedCache
from peerwatch.wire.push import Refusal, RefusalReason, ReplyDraft, decode_request
from peerwatch.wire.schema import Schema

_log = get_logger("collector")
_TURN_BYTES = 128 << 10  # after so much of one request others get their turn: some 5 ms of work
_MAX_SCHEMA_ROWS = 1_000_000  # over all senders; equal hosts share a schema
_MAX_BASELINE_ROWS = 4_000_000  # 36 MB; a baseline that was forgotten is asked for again
_PRESENCE_GAP_S = 0.5  # between two rounds of `up`, however often the roster changes: a thousand may join at once
_LOGGED_AT_ONCE, _LOGGED_PER_S = 20.0, 1.0  # refusals: anybody can cause one, so they must not fill a disk


@dataclass(frozen=True, slots=True)
class PushResult:
    """The reply to a push. `wait_s` is set where nothing was taken because the hub is full: HTTP 429.

    `closes`: it came from somebody who is no member, or no longer; the connection should end with the reply.
    `refused` says for which reasons envelopes were not taken, `repeated` by whom those were sent that came again.
    """

    reply: bytes
    wait_s: float | None = None
    closes: bool = False
    refused: frozenset[RefusalReason] = frozenset()
    repeated: frozenset[bytes] = frozenset()


@dataclass(slots=True, eq=False)
class _Push:
    """One request in the making of its answer: decided envelope by envelope, answered when all its tickets are settled.

    `unsettled` counts those, and one more for as long as envelopes are left to decide.
    """

    schemas: PushedSchemas
    draft: ReplyDraft
    answer: Callable[[PushResult], None]
    envelopes: deque[bytes]
    tickets: dict[Number, Ticket] = field(default_factory=dict)
    repeated: dict[Number, Header] = field(default_factory=dict)
    unsettled: int = 1


class Collector:
    """One per hub, owned by its event loop. `take` and `push` may be called any number of times while `run` runs.

    `on_stored` is called in the event loop after every group of new samples.
    """

    def __init__(
        self,
        store: SampleStore,
        authority: Authority,
        config: CollectorConfig,
        clock: Clock,
        registry: CollectorRegistry,
        on_stored: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_stored = on_stored
        self._authority = authority
        self._config = config
        self._clock = clock
        self._members = Members(authority.membership.roster, config, clock)
        self._schemas: NamedCache[Schema] = NamedCache(_MAX_SCHEMA_ROWS)
        self._baselines: NamedCache[Baseline] = NamedCache(_MAX_BASELINE_ROWS)
        self._compressor = Compressor()
        self._dedupe = Dedupe(store.marks(), config.max_runs_per_sender)
        self._in_flight: dict[Number, Ticket] = {}
        self._ingest = Ingest(
            config, authority.fleet, lambda: store.horizon_ms, self._dedupe, self._members, self._compressor, clock
        )
        self._committer = Committer(
            store, self._settled, config.max_group, config.max_waiting_bytes, config.retry_wait_s, registry
        )
        # One per connection or caller that waits for its answer, each charged to its member's rate.
        self._delayed: deque[tuple[_Push, NewLayouts | None]] = deque()
        self._more_delayed = anyio.Event()
        self._roster_changed = anyio.Event()
        self._log_budget = TokenBucket(_LOGGED_AT_ONCE, _LOGGED_PER_S, clock.monotonic_s())
        self._metrics = CollectorMetrics(registry, self._members.reporting)

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Commit and write `up` until cancelled or `close`d; what was accepted is committed before it returns."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._write_presence)
            tasks.start_soon(self._decide_delayed)
            task_status.started()
            await self._committer.run()
            tasks.cancel_scope.cancel()

    def close(self) -> None:
        """Take nothing more; `run` ends when everything accepted is durable."""
        self._committer.close()

    def keep_out(self, blocking: Callable[[bytes], str]) -> None:
        """Refuse the batches of whom this names a reason for, on every road; they stay with their sender."""
        self._ingest.blocking = blocking

    @property
    def committer(self) -> Committer:
        """Where rows go that no member signed: remote write."""
        return self._committer

    def agents(self, *, revoked: bool = False) -> list[AgentStatus]:
        """Who reports, by name: every active member with the role of an agent, and on demand the revoked ones."""
        return self._members.statuses(revoked=revoked)

    def roster_changed(self) -> None:
        """Somebody joined or was revoked: let `up` say so now."""
        self._roster_changed.set()

    def agent(self, name: str) -> AgentStatus | None:
        """The active agent of that name; None for any other name."""
        return self._members.status(name)

    def take(self, raw: bytes, answer: Callable[[PushResult], None]) -> None:
        """Store what is good in a push request and say what became of each envelope. Raises DecodeError for junk.

        `answer` is called once, in the event loop, maybe before this returns, when everything that it acknowledges is
        on disk. It must not raise.
        """
        self._metrics.received_bytes.inc(len(raw))
        limits = self._config.limits
        try:
            request = decode_request(raw, limits)
        except DecodeError:
            self._metrics.junk.inc()
            raise
        schemas = PushedSchemas(request.schemas, self._schemas, self._baselines, self._compressor, limits)
        draft = ReplyDraft(self._clock.now_ms(), self._authority.member)
        self._decide(_Push(schemas, draft, answer, deque(request.envelopes)))

    async def push(self, raw: bytes) -> PushResult:
        """`take`, for callers that wait. Cancelling the caller loses the answer, never the data."""
        answered, results = anyio.Event(), list[PushResult]()

        def answer(result: PushResult) -> None:
            results.append(result)
            answered.set()

        self.take(raw, answer)
        await answered.wait()
        return results[0]

    def _decide(self, push: _Push) -> None:
        """Decide envelopes until the turn is over, one needs layouts, or none is left."""
        turn_bytes = 0
        while push.envelopes:
            if turn_bytes > _TURN_BYTES:
                self._delay(push, None)
                return
            envelope = push.envelopes.popleft()
            turn_bytes += len(envelope)
            decision = self._ingest.decide(envelope, push.schemas)
            if isinstance(decision, NewLayouts):
                self._delay(push, decision)
                return
            self._act(decision, push)
        self._acknowledge_again(push)
        self._settle_one(push)

    def _delay(self, push: _Push, new: NewLayouts | None) -> None:
        self._delayed.append((push, new))
        self._more_delayed.set()

    async def _decide_delayed(self) -> None:
        """Go on with pushes whose turn was over, or that need what only the store can make: each a turn at a time."""
        try:
            while True:
                while self._delayed:
                    push, new = self._delayed[0]
                    try:
                        if new is not None:
                            self._act(await self._lay_out(new, push), push)
                        self._decide(push)
                    except Exception:  # a bug that one push brings out must not stop the others
                        self._metrics.batches("failed").inc()
                        _log.exception("push failed")
                        self._settle_one(push)
                    self._delayed.popleft()
                    await anyio.lowlevel.checkpoint()
                self._more_delayed = anyio.Event()
                await self._more_delayed.wait()
        finally:
            for push, _ in self._delayed:  # they hear of what is stored; what is not mentioned comes again
                self._settle_one(push)
            self._delayed.clear()

    async def _lay_out(self, new: NewLayouts, push: _Push) -> Decision:
        """Have the store make what a batch needs, outside the event loop, and judge the batch by what is true then."""
        member = new.verified.member
        made: dict[LayoutKey, SenderLayout] = {}
        for wanted in new.wanted:
            try:
                layout = await self._committer.layout(wanted.series, wanted.origin)
            except StoreError as error:
                header = new.verified.envelope.header
                return Refused(
                    Refusal(header.epoch, header.seq, RefusalReason.STORE, str(error), self._config.retry_wait_s)
                )
            made[wanted.key] = SenderLayout(layout, wanted.prints)
            member.remember_layout(wanted.key, made[wanted.key], self._config.max_layouts_per_sender)
        return self._ingest.resume(new.verified, push.schemas, made)

    def _act(self, decision: Decision, push: _Push) -> None:
        if isinstance(decision, Accept):
            self._accept(decision, push)
        elif isinstance(decision, Pending):
            self._metrics.batches("duplicate").inc()
            self._await(push, decision.number, self._in_flight[decision.number])
        elif isinstance(decision, Duplicate):
            self._metrics.batches("duplicate").inc()
            push.repeated[number_of(decision.envelope.header)] = decision.envelope.header
        elif isinstance(decision, NeedSchemas):
            self._metrics.batches("need_schema").inc()
            push.draft.need_schemas.extend(one for one in decision.ids if one not in push.draft.need_schemas)
        elif isinstance(decision, Refused):
            self._refuse(decision.refusal, push.draft)
        else:
            raise AssertionError(f"{decision} was laid out and still lacks layouts")

    def _accept(self, accept: Accept, push: _Push) -> None:
        header = accept.envelope.header
        try:
            ticket = self._committer.submit(accept.entry, accept.size_bytes, accept)
        except QuotaError as error:
            wait_s = error.wait_s or self._config.retry_wait_s
            self._refuse(Refusal(header.epoch, header.seq, RefusalReason.QUOTA, str(error), wait_s), push.draft)
            return
        number = number_of(header)
        self._in_flight[number] = ticket
        self._await(push, number, ticket)
        self._dedupe.accepted(accept.envelope)

    def _await(self, push: _Push, number: Number, ticket: Ticket) -> None:
        if number not in push.tickets:
            push.tickets[number] = ticket
            push.unsettled += 1
            ticket.waiters.append(partial(self._settle_one, push))

    def _settle_one(self, push: _Push) -> None:
        """One thing less to wait for; after the last one the push is answered."""
        push.unsettled -= 1
        if push.unsettled:
            return
        for ticket in push.tickets.values():
            self._report(ticket, push.draft)
        push.answer(_result(push))

    def _refuse(self, refusal: Refusal, draft: ReplyDraft) -> None:
        reason = refusal.reason.name.lower()
        self._metrics.batches(reason).inc()
        draft.refusals.append(refusal)
        if not self._log_budget.take(1, self._clock.monotonic_s()):
            _log.warning("batch refused", reason=reason, detail=refusal.message)

    def _acknowledge_again(self, push: _Push) -> None:
        if push.repeated:
            push.draft.acks.extend(self._sign(list(push.repeated.values())))

    def _settled(self, group: list[Ticket], error: StoreError | None) -> None:
        """A group commit has ended: note its numbers and sign its acks, all under one signature, or let them go."""
        accepts = [(ticket, ticket.accept) for ticket in group if ticket.accept is not None]
        for _, accept in accepts:
            self._in_flight.pop(number_of(accept.envelope.header), None)
            if error is not None:
                self._dedupe.failed(accept.envelope)
        if error is None:
            self._on_stored()
        if error is not None or not accepts:
            return
        now_ms = self._clock.now_ms()
        for _, accept in accepts:
            self._stored(accept, now_ms)
        self._metrics.batches("stored").inc(len(accepts))
        self._metrics.samples.inc(sum([accept.sample_count for _, accept in accepts]))
        acks = self._sign([accept.envelope.header for _, accept in accepts])
        for (ticket, _), ack in zip(accepts, acks, strict=True):
            ticket.ack = ack

    def _stored(self, accept: Accept, now_ms: int) -> None:
        header = accept.envelope.header
        accept.member.saw(header, accept.newest_ms, now_ms)
        if self._dedupe.stored(accept.envelope):
            self._committer.close_epochs(header.sender, header.floor_epoch)

    def _sign(self, headers: Sequence[Header]) -> list[SignedAck]:
        version = self._authority.membership.roster.version
        bodies = [
            AckBody(header.fleet, header.sender, header.epoch, ((header.seq, header.seq),), version)
            for header in headers
        ]
        return sign_acks(self._authority.keys.signing, bodies)

    def _report(self, ticket: Ticket, draft: ReplyDraft) -> None:
        if ticket.ack is not None:
            draft.acks.append(ticket.ack)
        elif ticket.error is not None and ticket.accept is not None:
            header, wait_s = ticket.accept.envelope.header, self._config.retry_wait_s
            self._refuse(Refusal(header.epoch, header.seq, RefusalReason.STORE, str(ticket.error), wait_s), draft)

    async def _write_presence(self) -> None:
        """Write `up` at every interval and when the roster has changed; what is refused waits for the next one."""
        presence = Presence(self._config.default_job)
        self._roster_changed = anyio.Event()
        while True:
            with anyio.move_on_after(self._config.presence_interval_ms / 1000):
                await self._roster_changed.wait()
            self._roster_changed = anyio.Event()
            now_ms = self._clock.now_ms()
            made = presence.rows(self._members.judged(now_ms), now_ms)
            if made is None:
                continue
            series, matrix = made
            try:
                part = Part(await self._committer.layout(series), matrix)
                await self._committer.commit(RowsEntry((part,)), matrix.values.nbytes)
            except (StoreError, QuotaError) as error:
                _log.warning("presence not written", error=str(error))
            await anyio.sleep(min(_PRESENCE_GAP_S, self._config.presence_interval_ms / 1000))


def _result(push: _Push) -> PushResult:
    draft = push.draft
    full = [one.wait_s for one in draft.refusals if one.reason is RefusalReason.QUOTA]
    nothing_taken = not draft.acks and not draft.need_schemas and len(full) == len(draft.refusals)
    closes = any(one.reason is RefusalReason.NOT_A_MEMBER for one in draft.refusals)
    return PushResult(
        draft.encode(),
        max(full) if full and nothing_taken else None,
        closes,
        frozenset([one.reason for one in draft.refusals]),
        frozenset([header.sender for header in push.repeated.values()]),
    )


def statuses_as_rows(statuses: Sequence[AgentStatus]) -> list[dict[str, object]]:
    """The statuses as plain JSON objects, for the API and `--json`."""
    return [{name: getattr(status, name) for name in AgentStatus.__slots__} for status in statuses]
