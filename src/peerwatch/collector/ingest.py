"""Ingest: what becomes of one envelope. Checks run cheapest first and nothing is believed before its signature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from peerwatch.collector.config import CollectorConfig
from peerwatch.collector.dedupe import Dedupe, Verdict
from peerwatch.collector.identity_labels import with_identity
from peerwatch.collector.member import MemberState
from peerwatch.collector.sample_store import SampleStore
from peerwatch.errors import DecodeError, SignatureError
from peerwatch.model import Clock, EnvelopeEntry, Layout, Part
from peerwatch.wire.batch import WireBlock
from peerwatch.wire.compression import Compressor
from peerwatch.wire.envelope import Envelope, parse_envelope
from peerwatch.wire.identity import peer_id
from peerwatch.wire.push import Refusal, RefusalReason
from peerwatch.wire.run_root import open_run_root
from peerwatch.wire.schema import Schema


class SchemaSource(Protocol):
    """The schemas that came with a push, and those known from before."""

    def get(self, schema_id: bytes) -> Schema | None:
        """The schema of that name, or None."""
        ...


@dataclass(frozen=True, slots=True)
class Accept:
    """The envelope is good and new: commit it, then ack."""

    envelope: Envelope
    member: MemberState
    entry: EnvelopeEntry
    newest_ms: int


@dataclass(frozen=True, slots=True)
class Duplicate:
    """It is stored already: ack again."""

    envelope: Envelope


@dataclass(frozen=True, slots=True)
class NeedSchemas:
    """It cannot be understood without these schemas; nothing is stored yet."""

    ids: tuple[bytes, ...]


Decision = Accept | Duplicate | NeedSchemas | Refusal


class Ingest:
    """Decides; the collector acts. Owned by the collector's event loop."""

    def __init__(
        self,
        config: CollectorConfig,
        fleet: bytes,
        store: SampleStore,
        dedupe: Dedupe,
        member_of: Callable[[bytes], MemberState | None],
        clock: Clock,
    ) -> None:
        self._config = config
        self._fleet = fleet
        self._store = store
        self._dedupe = dedupe
        self._member_of = member_of
        self._clock = clock
        self._compressor = Compressor()

    def decide(self, raw: bytes, schemas: SchemaSource) -> Decision:
        """What to do with an envelope that came with these schemas. Never raises for what a peer sent."""
        try:
            envelope = parse_envelope(raw, self._config.limits)
        except (DecodeError, SignatureError) as error:
            return Refusal(0, 0, RefusalReason.MALFORMED, str(error))
        try:
            return self._judge(envelope, raw, schemas)
        except SignatureError as error:
            return self._refuse(envelope, RefusalReason.SIGNATURE, str(error))
        except DecodeError as error:
            return self._refuse(envelope, RefusalReason.MALFORMED, str(error))

    def _judge(self, envelope: Envelope, raw: bytes, schemas: SchemaSource) -> Decision:
        header = envelope.header
        if header.fleet != self._fleet:
            message = f"batch is for fleet {header.fleet.hex()}, this is {self._fleet.hex()}"
            return self._refuse(envelope, RefusalReason.WRONG_FLEET, message)
        member = self._member_of(header.sender)
        if member is None:
            message = f"{peer_id(header.sender)} is not a member of this fleet: peerwatch join"
            return self._refuse(envelope, RefusalReason.NOT_A_MEMBER, message)
        wait_s = member.bucket.take(len(raw), self._clock.monotonic_s())
        if wait_s:
            message = f"{member.name}: more than {self._config.max_bytes_per_s:.0f} bytes/s"
            return self._refuse(envelope, RefusalReason.QUOTA, message, wait_s)
        envelope.verify(member.verifier)
        verdict = self._dedupe.judge(envelope)
        if verdict is Verdict.DUPLICATE:
            return Duplicate(envelope)
        if verdict is Verdict.CLONED:
            message = (
                f"{member.name}: number {header.epoch}/{header.seq} came twice with different content; two machines "
                "use one identity: stop one, remove its data folder and join again"
            )
            return self._refuse(envelope, RefusalReason.CLONED, message)
        return self._understand(envelope, raw, member, schemas)

    def _understand(self, envelope: Envelope, raw: bytes, member: MemberState, schemas: SchemaSource) -> Decision:
        blocks = envelope.open(self._compressor, self._config.limits)
        if envelope.run_root:
            self._check_run_root(envelope, member)
        refusal = self._check_times(envelope, blocks, member)
        if refusal is not None:
            return refusal
        found = {block.schema_id: schemas.get(block.schema_id) for block in blocks if not self._known(block, member)}
        missing = tuple(name for name, schema in found.items() if schema is None)
        if missing:
            return NeedSchemas(missing)
        parts = []
        for block in blocks:
            layout = self._layout(block, member, found.get(block.schema_id))
            if isinstance(layout, str):
                reason = RefusalReason.MALFORMED if layout.startswith("schema") else RefusalReason.SERIES_LIMIT
                wait_s = 0.0 if reason.final else 60.0
                return self._refuse(envelope, reason, f"{member.name}: {layout}", wait_s)
            parts.append(Part(layout, block.matrix))
        return self._accepted(envelope, raw, member, tuple(parts))

    def _accepted(self, envelope: Envelope, raw: bytes, member: MemberState, parts: tuple[Part, ...]) -> Accept:
        header = envelope.header
        newest_ms = max(int(part.matrix.times_ms[-1]) for part in parts)
        entry = EnvelopeEntry(header.sender, header.epoch, header.seq, raw, parts, envelope.run_root)
        return Accept(envelope, member, entry, newest_ms)

    def _known(self, block: WireBlock, member: MemberState) -> bool:
        return (block.schema_id, block.job, block.target) in member.layouts

    def _layout(self, block: WireBlock, member: MemberState, schema: Schema | None) -> Layout | str:
        """The layout of a block, or why it has none; `schema` is given where the layout may be new."""
        key = (block.schema_id, block.job, block.target)
        layout = member.layouts.get(key)
        if layout is None:
            if schema is None:
                return "schema was forgotten between two blocks of one batch"
            series = with_identity(schema.series, member.name, block.job or self._config.default_job, block.target)
            if len({one.labels for one in series}) != len(series):
                return "schema names a series twice once the hub's labels are added"
            layout = self._store.layout(series, schema.digest)
            member.remember_layout(key, layout, self._config.max_layouts_per_sender)
        else:
            member.layouts.move_to_end(key)
        if len(block.matrix.values) != len(layout.series):
            return f"schema of {len(layout.series)} series, batch of {len(block.matrix.values)} rows"
        return member.quota.admit_layout(layout.id, layout.series_ids, self._clock.monotonic_s()) or layout

    def _check_times(self, envelope: Envelope, blocks: list[WireBlock], member: MemberState) -> Refusal | None:
        newest_ms = max(int(block.matrix.times_ms[-1]) for block in blocks)
        now_ms = self._clock.now_ms()
        if newest_ms > now_ms + self._config.future_tolerance_ms:
            ahead_s = (newest_ms - now_ms) / 1000
            message = (
                f"{member.name}: samples lie {ahead_s:.0f} s in the future, limit "
                f"{self._config.future_tolerance_ms // 1000} s; check the clocks"
            )
            return self._refuse(envelope, RefusalReason.FUTURE, message, 30.0)
        horizon_ms = self._store.horizon_ms
        if newest_ms < horizon_ms:
            message = f"{member.name}: newest sample {newest_ms} ms lies before the retention's {horizon_ms} ms"
            return self._refuse(envelope, RefusalReason.TOO_OLD, message)
        return None

    @staticmethod
    def _check_run_root(envelope: Envelope, member: MemberState) -> None:
        run = open_run_root(envelope.run_root, member.verifier)
        if run.sender != envelope.header.sender or run.fleet != envelope.header.fleet:
            raise SignatureError("run root is of another sender or fleet")

    @staticmethod
    def _refuse(envelope: Envelope, reason: RefusalReason, message: str, wait_s: float = 0.0) -> Refusal:
        return Refusal(envelope.header.epoch, envelope.header.seq, reason, message, wait_s)
