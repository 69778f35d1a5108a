"""Ingest: what becomes of one envelope. Checks run cheapest first and nothing is believed before its signature."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np

from peerwatch.collector.config import CollectorConfig
from peerwatch.collector.dedupe import Dedupe, Number, Verdict, number_of
from peerwatch.collector.member import LayoutKey, MemberState, SenderLayout
from peerwatch.collector.members import Members
from peerwatch.collector.series_quota import fingerprints
from peerwatch.errors import DecodeError, PeerError, SignatureError
from peerwatch.model import Clock, EnvelopeEntry, Int64Array, Part, Series
from peerwatch.wire.baseline import Baseline
from peerwatch.wire.batch import MissingBaselineError, WireBlock
from peerwatch.wire.compression import Compressor
from peerwatch.wire.envelope import Envelope, parse_envelope
from peerwatch.wire.identity import peer_id
from peerwatch.wire.identity_labels import with_identity
from peerwatch.wire.leaf import origin_of
from peerwatch.wire.push import Refusal, RefusalReason
from peerwatch.wire.run_root import open_run
from peerwatch.wire.schema import Schema

_FUTURE_WAIT_S = 30.0
_LIMIT_WAIT_S = 60.0
_CLONE_WAIT_S = 300.0
_BANNED_WAIT_S = 60.0


class SchemaSource(Protocol):
    """The schemas and baselines that came with a push, and those known from before."""

    def cost_bytes(self, name: bytes) -> int:
        """How many bytes `get` or `baseline` would have to open first."""
        ...

    def baseline(self, name: bytes) -> Baseline | None:
        """The baseline of that name, or None. Raises DecodeError."""
        ...

    def get(self, schema_id: bytes) -> Schema | None:
        """The schema of that name, or None. Raises DecodeError."""
        ...


@dataclass(frozen=True, slots=True)
class Verified:
    """An envelope whose signature is its member's."""

    envelope: Envelope
    raw: bytes
    member: MemberState


@dataclass(frozen=True, slots=True)
class Accept:
    """The envelope is good and new: commit it, then ack. `size_bytes` is what it holds in memory until then."""

    envelope: Envelope
    member: MemberState
    entry: EnvelopeEntry
    newest_ms: int
    size_bytes: int
    sample_count: int


@dataclass(frozen=True, slots=True)
class Pending:
    """The same envelope is on its way to the disk: wait for it."""

    number: Number


@dataclass(frozen=True, slots=True)
class Duplicate:
    """It is stored already: ack again."""

    envelope: Envelope


@dataclass(frozen=True, slots=True)
class NeedSchemas:
    """It cannot be understood without these schemas or baselines; nothing is stored yet."""

    ids: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class WantedLayout:
    """Series that the store must learn first; the quota has admitted them."""

    key: LayoutKey
    series: tuple[Series, ...]
    origin: bytes
    prints: Int64Array


@dataclass(frozen=True, slots=True)
class NewLayouts:
    """It is good and needs layouts that the store must make: make them, then ask again with `resume`."""

    verified: Verified
    wanted: tuple[WantedLayout, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """It is not taken."""

    refusal: Refusal


Decision = Accept | Pending | Duplicate | NeedSchemas | NewLayouts | Refused
Made = Mapping[LayoutKey, SenderLayout]


class _RefusedError(Exception):
    """Carries a refusal out of a check; never leaves this file."""

    def __init__(self, reason: RefusalReason, message: str, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.reason = reason
        self.wait_s = wait_s


class Ingest:
    """Decides; the collector acts. Owned by the collector's event loop."""

    def __init__(
        self,
        config: CollectorConfig,
        fleet: bytes,
        horizon_ms: Callable[[], int],
        dedupe: Dedupe,
        members: Members,
        compressor: Compressor,
        clock: Clock,
    ) -> None:
        self._config = config
        self._fleet = fleet
        self._horizon_ms = horizon_ms
        self._dedupe = dedupe
        self._members = members
        self._compressor = compressor
        self._clock = clock
        self.blocking: Callable[[bytes], str] = lambda sender: ""
        """Why a member's batches are not taken for now; empty when they are."""

    def decide(self, raw: bytes, schemas: SchemaSource) -> Decision:
        """What to do with an envelope that came with these schemas. Never raises for what a peer sent."""
        try:
            envelope = parse_envelope(raw, self._config.limits)
        except PeerError as error:
            return Refused(Refusal(0, 0, RefusalReason.MALFORMED, str(error)))
        try:
            member = self._verified_sender(envelope, raw)
        except (_RefusedError, PeerError) as error:
            return Refused(_refusal(envelope, error))
        return self.resume(Verified(envelope, raw, member), schemas, {})

    def resume(self, verified: Verified, schemas: SchemaSource, made: Made) -> Decision:
        """`decide` from after the signature, with layouts that were made for it meanwhile."""
        try:
            if made:  # time has passed since the signature was looked at
                self._member(verified.envelope.header.sender)
            return self._judge(verified, schemas, made)
        except (_RefusedError, PeerError) as error:
            verified.member.refused += 1
            return Refused(_refusal(verified.envelope, error))

    def _verified_sender(self, envelope: Envelope, raw: bytes) -> MemberState:
        """The member whose signature this is, charged for what it sent. Strangers cannot use up a member's quota."""
        header = envelope.header
        if header.fleet != self._fleet:
            message = f"batch is for fleet {header.fleet.hex()}, this is {self._fleet.hex()}"
            raise _RefusedError(RefusalReason.WRONG_FLEET, message)
        member = self._member(header.sender)
        limits = self._config.limits
        if envelope.body_bytes > limits.max_body_bytes:
            raise DecodeError(f"batch body of {envelope.body_bytes} bytes, limit {limits.max_body_bytes}")
        size_bytes = max(len(raw), envelope.body_bytes)
        self._check_rate(member, member.bucket.wait_s(size_bytes, self._clock.monotonic_s()))
        envelope.verify(member.verifier)
        member.bucket.spend(size_bytes)
        return member

    def _member(self, sender: bytes) -> MemberState:
        member = self._members.get(sender)
        if member is not None:
            if banned := self.blocking(sender):
                raise _RefusedError(RefusalReason.QUOTA, banned, _BANNED_WAIT_S)
            return member
        if self._members.is_revoked(sender):
            message = f"{peer_id(sender)} was revoked: this fleet takes nothing from it any more"
        else:
            message = f"{peer_id(sender)} is not a member of this fleet: peerwatch join"
        raise _RefusedError(RefusalReason.NOT_A_MEMBER, message)

    def _check_rate(self, member: MemberState, wait_s: float) -> None:
        if wait_s:
            message = f"{member.name}: sends more than {self._config.max_bytes_per_s:.0f} bytes/s, the limit"
            raise _RefusedError(RefusalReason.QUOTA, message, wait_s)

    def _judge(self, verified: Verified, schemas: SchemaSource, made: Made) -> Decision:
        envelope, member = verified.envelope, verified.member
        verdict = self._dedupe.judge(envelope)
        if verdict is Verdict.DUPLICATE:
            return Duplicate(envelope)
        if verdict is Verdict.PENDING:
            return Pending(number_of(envelope.header))
        if verdict is not Verdict.NEW:
            raise self._bad_number(verdict, envelope, member)
        try:
            blocks = envelope.open(self._compressor, self._config.limits, partial(self._baseline, schemas, member))
        except MissingBaselineError as missing:
            return NeedSchemas((missing.name,))
        if envelope.run_root:
            _check_run(envelope, member)
        newest_ms = max([block.matrix.times_ms.item(-1) for block in blocks])
        self._check_times(newest_ms, member)
        return self._understand(verified, blocks, newest_ms, schemas, made)

    def _understand(
        self, verified: Verified, blocks: list[WireBlock], newest_ms: int, schemas: SchemaSource, made: Made
    ) -> Decision:
        """The blocks with the store's layouts, or what is missing for that."""
        member = verified.member
        parts: list[Part] = []
        missing: dict[bytes, None] = {}
        wanted: dict[LayoutKey, WantedLayout] = {}
        for block in blocks:
            key = (block.schema_id, block.job, block.target)
            known = member.layouts.get(key) or made.get(key)
            if known is not None:
                member.used_layout(key)
                _check_rows(block, len(known.prints), member)
                self._admit(member, key, known.prints)
                parts.append(Part(known.layout, block.matrix))
            elif key not in wanted:
                schema = self._schema(block.schema_id, schemas, member)
                if schema is None:
                    missing[block.schema_id] = None
                    continue
                _check_rows(block, len(schema.series), member)
                wanted[key] = self._wanted(key, schema, member)
        if missing:
            return NeedSchemas(tuple(missing))
        if wanted:
            return NewLayouts(verified, tuple(wanted.values()))
        context = {block.baseline.id: block.baseline.record for block in blocks if block.baseline is not None}
        return _accept(verified, tuple(parts), newest_ms, tuple(context.items()))

    def _baseline(self, schemas: SchemaSource, member: MemberState, name: bytes) -> Baseline | None:
        self._pay(schemas.cost_bytes(name), member)
        return schemas.baseline(name)

    def _schema(self, schema_id: bytes, schemas: SchemaSource, member: MemberState) -> Schema | None:
        self._pay(schemas.cost_bytes(schema_id), member)
        return schemas.get(schema_id)

    def _pay(self, cost_bytes: int, member: MemberState) -> None:
        if cost_bytes:
            self._check_rate(member, member.bucket.take(cost_bytes, self._clock.monotonic_s()))

    def _wanted(self, key: LayoutKey, schema: Schema, member: MemberState) -> WantedLayout:
        """The series of a schema under this member's name, within its quota."""
        limit = self._config.max_series_per_sender
        if len(schema.series) > limit:
            message = f"{member.name}: schema of {len(schema.series)} series, limit {limit} per sender"
            raise _RefusedError(RefusalReason.SERIES_LIMIT, message, _LIMIT_WAIT_S)
        series = with_identity(schema.series, member.name, key[1] or self._config.default_job, key[2])
        if len({one.labels for one in series}) != len(series):
            raise DecodeError(f"{member.name}: schema names a series twice once the hub's labels are added")
        prints = np.array(fingerprints(series), np.int64)
        self._admit(member, key, prints)
        return WantedLayout(key, series, origin_of(key[1], key[2]), prints)

    def _admit(self, member: MemberState, key: LayoutKey, prints: Int64Array) -> None:
        too_much = member.quota.admit(key, prints, self._clock.monotonic_s())
        if too_much:
            raise _RefusedError(RefusalReason.SERIES_LIMIT, f"{member.name}: {too_much} per sender", _LIMIT_WAIT_S)

    def _check_times(self, newest_ms: int, member: MemberState) -> None:
        now_ms = self._clock.now_ms()
        tolerance_ms = self._config.future_tolerance_ms
        if newest_ms > now_ms + tolerance_ms:
            message = (
                f"{member.name}: samples lie {(newest_ms - now_ms) / 1000:.0f} s in the future, limit "
                f"{tolerance_ms / 1000:.0f} s; check the clocks"
            )
            raise _RefusedError(RefusalReason.FUTURE, message, _FUTURE_WAIT_S)
        horizon_ms = self._horizon_ms()
        if newest_ms < horizon_ms:
            message = f"{member.name}: newest sample at {newest_ms} ms, retention begins at {horizon_ms} ms"
            raise _RefusedError(RefusalReason.TOO_OLD, message)

    def _bad_number(self, verdict: Verdict, envelope: Envelope, member: MemberState) -> _RefusedError:
        header = envelope.header
        number = f"{member.name}: number {header.epoch}/{header.seq}"
        if verdict is Verdict.SCATTERED:
            message = (
                f"{number} would be run {self._config.max_runs_per_sender + 1} of this sender's numbers, limit "
                f"{self._config.max_runs_per_sender}; a restart of the agent closes them"
            )
            return _RefusedError(RefusalReason.QUOTA, message, _LIMIT_WAIT_S)
        remedy = "two machines use one identity: stop one, remove its data folder and join again"
        if verdict is Verdict.CLOSED:
            epoch, seq = self._dedupe.floor(header.sender)
            message = f"{number} lies below {epoch}/{seq}, which it called its lowest still to come; {remedy}"
        else:
            message = f"{number} came twice with different content; {remedy}"
        return _RefusedError(RefusalReason.CLONED, message, _CLONE_WAIT_S)


def _accept(
    verified: Verified, parts: tuple[Part, ...], newest_ms: int, context: tuple[tuple[bytes, bytes], ...]
) -> Accept:
    envelope, raw = verified.envelope, verified.raw
    header = envelope.header
    entry = EnvelopeEntry(header.sender, header.epoch, header.seq, raw, parts, envelope.run_root, context)
    size_bytes, samples = len(raw), 0
    for part in parts:
        samples += part.matrix.sample_count
        size_bytes += 8 * part.matrix.rows * len(part.matrix.times_ms)  # what its values will take
    return Accept(envelope, verified.member, entry, newest_ms, size_bytes, samples)


def _check_rows(block: WireBlock, series: int, member: MemberState) -> None:
    rows = block.matrix.rows
    if rows != series:
        raise DecodeError(f"{member.name}: block of {rows} rows, its schema has {series} series")


def _check_run(envelope: Envelope, member: MemberState) -> None:
    run, header = open_run(envelope.run_root, member.verifier).root, envelope.header
    if run.sender != header.sender or run.fleet != header.fleet:
        raise SignatureError(f"{member.name}: run root is of another sender or fleet")
    if (run.epoch, run.last_seq) > (header.epoch, header.seq):
        raise SignatureError(f"{member.name}: run root reaches {run.epoch}/{run.last_seq}, ahead of its envelope")


def _refusal(envelope: Envelope, error: _RefusedError | PeerError) -> Refusal:
    header = envelope.header
    if isinstance(error, _RefusedError):
        return Refusal(header.epoch, header.seq, error.reason, str(error), error.wait_s)
    reason = RefusalReason.SIGNATURE if isinstance(error, SignatureError) else RefusalReason.MALFORMED
    return Refusal(header.epoch, header.seq, reason, str(error))
