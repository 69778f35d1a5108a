"""Collector: takes pushes in, makes them durable, acknowledges them, and knows who reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import anyio
from anyio.abc import TaskStatus

from peerwatch.collector.committer import Committer, Ticket
from peerwatch.collector.config import CollectorConfig
from peerwatch.collector.dedupe import Dedupe
from peerwatch.collector.ingest import Accept, Duplicate, Ingest, NeedSchemas
from peerwatch.collector.member import AgentStatus, MemberState
from peerwatch.collector.presence import presence_rows
from peerwatch.collector.sample_store import SampleStore
from peerwatch.collector.schemas import PushedSchemas, SchemaCache
from peerwatch.errors import QuotaError, StoreError
from peerwatch.fleet.authority import Authority
from peerwatch.fleet.roster import AGENT, HUB, RosterEntry
from peerwatch.model import Clock, Part, RowsEntry
from peerwatch.telemetry import CollectorRegistry, Counter, Gauge, get_logger
from peerwatch.wire.ack import AckBody, sign_acks
from peerwatch.wire.compression import Compressor
from peerwatch.wire.envelope import Header
from peerwatch.wire.identity import peer_id
from peerwatch.wire.push import Refusal, RefusalReason, ReplyDraft, decode_request

_log = get_logger("collector")
_NUMBER = tuple[bytes, int, int]


@dataclass(frozen=True, slots=True)
class PushResult:
    """The reply to a push. `wait_s` is set where nothing was taken because the hub is full: HTTP 429."""

    reply: bytes
    wait_s: float | None = None


class Collector:
    """One per hub, owned by its event loop. `push` may be called by any number of tasks at once."""

    def __init__(
        self,
        store: SampleStore,
        authority: Authority,
        config: CollectorConfig,
        clock: Clock,
        registry: CollectorRegistry,
    ) -> None:
        self._store = store
        self._authority = authority
        self._config = config
        self._clock = clock
        self._members: dict[bytes, MemberState] = {}
        self._schemas = SchemaCache()
        self._compressor = Compressor()
        self._dedupe = Dedupe(store.marks())
        self._in_flight: dict[_NUMBER, Ticket] = {}
        self._started_ms = clock.now_ms()
        self._ingest = Ingest(config, authority.fleet, store, self._dedupe, self._member_of, clock)
        self._committer = Committer(
            store, self._settled, config.max_group, config.max_waiting_bytes, config.retry_wait_s, registry
        )
        self._batches = Counter(
            "peerwatch_collector_batches_total",
            "Batches received, by what became of them.",
            ["result"],
            registry=registry,
        )
        self._samples = Counter("peerwatch_collector_samples_total", "Samples made durable.", registry=registry)
        self._bytes = Counter("peerwatch_collector_received_bytes_total", "Bytes of push requests.", registry=registry)
        reporting = Gauge("peerwatch_collector_members_reporting", "Members that report now.", registry=registry)
        reporting.set_function(lambda: sum(status.up for status in self.agents()))

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Commit and write `up` until cancelled or `close`d; what was accepted is committed before it returns."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._write_presence)
            task_status.started()
            await self._committer.run()
            tasks.cancel_scope.cancel()

    async def push(self, raw: bytes) -> PushResult:
        """Store what is good in a push request and say what became of each envelope. Raises DecodeError for junk.

        Returns after everything it acknowledges is on disk. Cancelling the caller loses the answer, never the data.
        """
        self._bytes.inc(len(raw))
        envelopes, records = decode_request(raw, self._compressor, self._config.limits)
        draft = ReplyDraft(self._clock.now_ms())
        schemas = PushedSchemas(records, self._schemas, self._config.limits)
        tickets: list[Ticket] = []
        repeated: list[AckBody] = []
        for envelope in envelopes:
            decision = self._ingest.decide(envelope, schemas)
            if isinstance(decision, Accept):
                self._accept(decision, draft, tickets)
            elif isinstance(decision, Duplicate):
                repeated.append(self._ack_body(decision.envelope.header))
            else:
                self._decline(decision, draft)
        self._acknowledge_again(repeated, draft)
        for ticket in tickets:
            await ticket.done.wait()
            self._report(ticket, draft)
        return self._result(draft)

    def _acknowledge_again(self, repeated: list[AckBody], draft: ReplyDraft) -> None:
        if repeated:
            self._batches.labels("duplicate").inc(len(repeated))
            draft.acks.extend(sign_acks(self._authority.keys.signing, self._authority.member, repeated))

    def _decline(self, decision: NeedSchemas | Refusal, draft: ReplyDraft) -> None:
        if isinstance(decision, NeedSchemas):
            self._batches.labels("need_schema").inc()
            draft.need_schemas.extend(decision.ids)
        else:
            self._refused(decision, draft)

    def _accept(self, accept: Accept, draft: ReplyDraft, tickets: list[Ticket]) -> None:
        header = accept.envelope.header
        number = (header.sender, header.epoch, header.seq)
        ticket = self._in_flight.get(number)
        if ticket is None:
            try:
                ticket = self._committer.submit([accept.entry], len(accept.entry.raw), [accept])
            except QuotaError as error:
                wait_s = error.wait_s or self._config.retry_wait_s
                self._refused(Refusal(header.epoch, header.seq, RefusalReason.QUOTA, str(error), wait_s), draft)
                return
            self._in_flight[number] = ticket
            self._dedupe.remember(accept.envelope)
        tickets.append(ticket)

    def _refused(self, refusal: Refusal, draft: ReplyDraft) -> None:
        self._batches.labels(refusal.reason.name.lower()).inc()
        draft.refusals.append(refusal)
        if refusal.reason is not RefusalReason.QUOTA:
            _log.warning("batch refused", reason=refusal.reason.name.lower(), detail=refusal.message)

    def _settled(self, group: list[Ticket], error: StoreError | None) -> None:
        """A group commit has ended: note its numbers and sign its acks, all under one signature, or let them go."""
        accepts = [accept for ticket in group for accept in ticket.accepts]
        for accept in accepts:
            header = accept.envelope.header
            self._in_flight.pop((header.sender, header.epoch, header.seq), None)
            if error is None:
                self._stored(accept)
            else:
                self._dedupe.forget(accept.envelope)
        if error is not None or not accepts:
            return
        bodies = [self._ack_body(accept.envelope.header) for accept in accepts]
        acks = iter(sign_acks(self._authority.keys.signing, self._authority.member, bodies))
        for ticket in group:
            ticket.acks = [next(acks) for _ in ticket.accepts]

    def _stored(self, accept: Accept) -> None:
        accept.member.saw(accept.envelope.header, accept.newest_ms, self._clock.now_ms())
        self._samples.inc(sum(part.matrix.sample_count for part in accept.entry.parts))
        for sender, epoch in self._dedupe.stored(accept.envelope):
            self._store.drop_marks(sender, epoch)

    def _ack_body(self, header: Header) -> AckBody:
        return AckBody(
            fleet=header.fleet,
            sender=header.sender,
            epoch=header.epoch,
            runs=((header.seq, header.seq),),
            roster_version=self._authority.membership.roster.version,
            hub_time_ms=self._clock.now_ms(),
        )

    def _report(self, ticket: Ticket, draft: ReplyDraft) -> None:
        if ticket.error is None:
            self._batches.labels("stored").inc(len(ticket.accepts))
            draft.acks.extend(ticket.acks)
            return
        wait_s = self._config.retry_wait_s
        for accept in ticket.accepts:
            header = accept.envelope.header
            self._refused(Refusal(header.epoch, header.seq, RefusalReason.STORE, str(ticket.error), wait_s), draft)

    def _result(self, draft: ReplyDraft) -> PushResult:
        full = [one.wait_s for one in draft.refusals if one.reason is RefusalReason.QUOTA]
        nothing_taken = not draft.acks and not draft.need_schemas and len(full) == len(draft.refusals)
        return PushResult(draft.encode(), max(full) if full and nothing_taken else None)

    def _member_of(self, sender: bytes) -> MemberState | None:
        """The state of an active member; None for strangers, the revoked, the expired and open invites."""
        entry = self._authority.membership.roster.get(sender)
        if entry is None or not _may_push(entry, self._clock.now_ms()):
            self._members.pop(sender, None)
            return None
        state = self._members.get(sender)
        if state is None or state.verifier.public != entry.signing_key or state.name != entry.name:
            state = MemberState(entry.name, entry.signing_key, self._config, self._clock.monotonic_s())
            self._members[sender] = state
        return state

    def agents(self) -> list[AgentStatus]:
        """Who reports, by name: every active member with the role of an agent."""
        now_ms = self._clock.now_ms()
        entries = [
            entry for entry in self._authority.membership.roster if AGENT in entry.roles and _may_push(entry, now_ms)
        ]
        return [self._status(entry, now_ms) for entry in sorted(entries, key=lambda entry: entry.name)]

    def _status(self, entry: RosterEntry, now_ms: int) -> AgentStatus:
        state = self._members.get(entry.member)
        if state is None:
            return AgentStatus(entry.name, peer_id(entry.member), False, 0, 0, 0, 0, 0, 0)
        return AgentStatus(
            name=entry.name,
            peer_id=peer_id(entry.member),
            up=now_ms - state.last_seen_ms <= self._config.silent_after_ms,
            since_ms=state.epoch,
            last_seen_ms=state.last_seen_ms,
            newest_sample_ms=state.newest_ms,
            behind_batches=state.behind_batches,
            active_series=state.quota.active,
            refused_batches=state.refused,
        )

    async def _write_presence(self) -> None:
        """Write `up` at every interval. A refusal is counted by the committer; the next interval tries again."""
        while True:
            await anyio.sleep(self._config.presence_interval_ms / 1000)
            now_ms = self._clock.now_ms()
            judged = [
                (status.name, status.last_seen_ms)
                for status in self.agents()
                if status.last_seen_ms or now_ms - self._started_ms > self._config.silent_after_ms
            ]
            made = presence_rows(judged, self._config.default_job, now_ms, self._config.silent_after_ms)
            if made is None:
                continue
            series, matrix = made
            entry = RowsEntry((Part(self._store.layout(series), matrix),))
            try:
                await self._committer.commit([entry], matrix.values.nbytes)
            except (StoreError, QuotaError) as error:
                _log.warning("presence not written", error=str(error))

    def close(self) -> None:
        """Take nothing more; `run` ends when everything accepted is durable."""
        self._committer.close()


def _may_push(entry: RosterEntry, now_ms: int) -> bool:
    return entry.active(now_ms) and (AGENT in entry.roles or HUB in entry.roles)


def statuses_as_rows(statuses: Sequence[AgentStatus]) -> list[dict[str, object]]:
    """The statuses as plain JSON objects, for the API and `--json`."""
    return [{name: getattr(status, name) for name in AgentStatus.__slots__} for status in statuses]
