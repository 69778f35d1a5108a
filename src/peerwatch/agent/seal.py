"""Sealer: turns batches into numbered, signed envelopes. Each batch is encoded and signed once, whoever gets it."""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from peerwatch.agent.baselines import Baselines
from peerwatch.agent.open_run import OpenRun
from peerwatch.errors import DecodeError, QuotaError
from peerwatch.model import Batch, Dropped, Series
from peerwatch.spool import Position, SpooledEnvelope
from peerwatch.wire.baseline import Baseline
from peerwatch.wire.batch import decode_batch, encode_batch
from peerwatch.wire.compression import Compressor
from peerwatch.wire.envelope import Header, seal
from peerwatch.wire.identity import PrivateKey
from peerwatch.wire.leaf import BlockHead, batch_leaf, head_of
from peerwatch.wire.limits import DEFAULT_LIMITS, WireLimits
from peerwatch.wire.run_root import MAX_DROPPED, MAX_RUN_BATCHES, NEVER_SENT, Place, sign_run
from peerwatch.wire.schema import Schema, decode_schema, encode_delta, encode_schema

RUN_BATCHES = 64  # per signed Merkle root: 10 minutes at the default report interval
RUN_AGE_MS = 3_600_000  # who reports seldom signs earlier, so that what is older than an hour can be proved
_NEWS_BATCHES = 8  # what the spool dropped is signed this soon; at once would be a signature per batch of a full memory
_MAX_SERIES = 400_000  # in remembered schemas: four times the largest batch; a forgotten one is only hashed again
_MAX_HEADS = 64  # targets of one schema, of which the hash of its labels is kept
_MAX_PLACES = 4_096  # targets whose last schema is remembered, and schemas that are known as a change of another


@dataclass(frozen=True, slots=True)
class Sealed:
    """An envelope for the spool, with the records of the schemas and baselines it uses, and the drops it tells of."""

    item: SpooledEnvelope
    schemas: Mapping[bytes, bytes]
    dropped: tuple[Dropped, ...] = ()


@dataclass(frozen=True, slots=True)
class _Known:
    """A schema as it is sent. `series` is kept so that its identity stays its own; `heads` by job and target."""

    series: tuple[Series, ...]
    schema: Schema
    record: bytes
    heads: dict[tuple[str, str], BlockHead] = field(default_factory=dict)

    def head(self, job: str, target: str) -> BlockHead:
        """What the leaves of its blocks begin with."""
        found = self.heads.get((job, target))
        if found is None:
            if len(self.heads) >= _MAX_HEADS:
                self.heads.clear()
            found = self.heads[job, target] = head_of(self.series, job, target)
        return found


@dataclass(frozen=True, slots=True)
class _Sealed:
    """The batch that was sealed last: its leaf, and where the run that its envelope carries ends."""

    leaf: bytes
    time_ms: int
    place: Place
    signed_to: Place | None


class Sealer:
    """Numbers what one agent sends. Owned by the agent; not thread-safe.

    Whoever calls `seal` calls `sent` once the envelope is safe in the spool; a number of which that was never said is
    signed as one that was not sent. `run_file` keeps what is not signed yet: the next start signs it.

    Schemas are found by the identity of the tuple of series: the sampler hands over the same one while nothing
    changes, so that nothing is hashed again. What is remembered is bounded; the longest unused goes.
    """

    def __init__(
        self,
        fleet: bytes,
        sender: bytes,
        key: PrivateKey,
        epoch: int,
        limits: WireLimits = DEFAULT_LIMITS,
        run_file: Path | None = None,
    ) -> None:
        self._fleet = fleet
        self._sender = sender
        self._key = key
        self._epoch = epoch
        self._limits = limits
        self._seq = 0
        self._compressor = Compressor()
        self._known: OrderedDict[int, _Known] = OrderedDict()
        self._known_series = 0
        self._deltas: OrderedDict[bytes, tuple[bytes, bytes]] = OrderedDict()
        self._last_schema: OrderedDict[tuple[str, str], Schema] = OrderedDict()
        self._baselines = Baselines()
        self._run = OpenRun(run_file, (epoch, 0))
        self._run_since_ms = 0
        self._last_ms: int | None = None
        self._last: _Sealed | None = None

    def seal(
        self,
        batch: Batch,
        time_ms: int,
        floor: Position | None,
        dropped: Sequence[Dropped] = (),
        *,
        last: bool = False,
    ) -> Sealed:
        """The next envelope. `floor` is the lowest position still to come to any receiver; None: this one.

        `dropped` is what the spool gave up and no envelope tells of: one of the next does. `last`: nothing may come
        after it, so it ends the run.

        Raises QuotaError or DecodeError for a batch that no hub would take (too large, labels that are none): it would
        only block the spool. Then no number is used and the next batch is not affected.
        """
        for block in batch.blocks:
            if len(block.series) != len(block.matrix.values):
                raise DecodeError(f"block of {len(block.matrix.values)} rows for {len(block.series)} series")
        known = [self._entry(block.series) for block in batch.blocks]
        baselines = [
            self._baselines.choose((one.schema.id, block.job, block.target), block.matrix)
            for block, one in zip(batch.blocks, known, strict=True)
        ]
        body = self._encode(batch, known, baselines)
        leaf = batch_leaf(
            batch, [one.head(block.job, block.target) for one, block in zip(known, batch.blocks, strict=True)]
        )
        run, signed_to = self._sign_run(leaf, time_ms, news := tuple(dropped[:MAX_DROPPED]), last=last)
        position = Position(self._epoch, self._seq)
        lowest = position if floor is None else min(floor, position)
        header = Header(self._fleet, self._sender, self._epoch, self._seq, lowest.epoch, lowest.seq)
        raw = seal(self._key, header, body, self._compressor, run)
        if len(raw) > self._limits.max_envelope_bytes:
            raise QuotaError(f"batch envelope of {len(raw)} bytes, limit {self._limits.max_envelope_bytes}")
        self._note_deltas(batch, known)
        self._last = _Sealed(leaf, time_ms, (self._epoch, self._seq), signed_to)
        self._seq += 1
        records = {one.schema.id: one.record for one in known}
        records |= {one.id: one.record for one in baselines if one is not None}
        told = news if run else ()
        return Sealed(SpooledEnvelope(position, time_ms, raw, tuple(records)), records, told)

    def delta(self, schema_id: bytes) -> tuple[bytes, bytes] | None:
        """(base id, record) that tells this schema as a change of the one before it, where there is one."""
        return self._deltas.get(schema_id)

    def _encode(self, batch: Batch, known: list[_Known], baselines: list[Baseline | None]) -> bytes:
        """The body, decoded once as a hub would: that costs some 50 us and keeps every hub's spool free of poison."""
        schemas = {id(one.series): one.schema for one in known}
        body = encode_batch(batch, lambda series: schemas[id(series)], baselines)
        if len(body) > self._limits.max_body_bytes:
            raise QuotaError(f"batch body of {len(body)} bytes, limit {self._limits.max_body_bytes}")
        decode_batch(body, self._limits, {one.id: one for one in baselines if one is not None}.get)
        return body

    def _entry(self, series: tuple[Series, ...]) -> _Known:
        found = self._known.get(id(series))
        if found is not None:
            self._known.move_to_end(id(series))
            return found
        try:
            schema = Schema.of(series)
        except (UnicodeEncodeError, struct.error) as error:
            raise DecodeError(f"schema of {len(series)} series cannot be written: {error}") from error
        made = _Known(series, schema, encode_schema(schema))
        decode_schema(made.record, limits=self._limits)
        self._known[id(series)] = made
        self._known_series += len(series)
        while self._known_series > _MAX_SERIES and len(self._known) > 1:
            self._known_series -= len(self._known.popitem(last=False)[1].series)
        return made

    def _note_deltas(self, batch: Batch, known: list[_Known]) -> None:
        for block, now in zip(batch.blocks, known, strict=True):
            place = (block.job, block.target)
            before = self._last_schema.get(place)
            if before is None or before.id != now.schema.id:
                self._last_schema[place] = now.schema
                if before is not None:
                    self._note_delta(before, now)
            self._last_schema.move_to_end(place)
            if len(self._last_schema) > _MAX_PLACES:
                self._last_schema.popitem(last=False)

    def _note_delta(self, before: Schema, now: _Known) -> None:
        record = encode_delta(before, now.schema)
        if record is None or len(record) >= len(now.record):
            return
        self._deltas[now.schema.id] = (before.id, record)
        if len(self._deltas) > _MAX_PLACES:
            self._deltas.popitem(last=False)

    def sent(self) -> None:
        """What was sealed last is safe in the spool."""
        last, self._last = self._last, None
        if last is None:
            return
        self._last_ms = last.time_ms
        if last.signed_to is None:
            self._add(last.leaf, last.time_ms)
        elif last.signed_to == last.place:
            self._run.begin((self._epoch, self._seq), last.place)
        else:  # the run of the last start, which this envelope brought: its own leaf is in the next one
            self._run.begin(last.place, last.signed_to)
            self._add(last.leaf, last.time_ms)

    def close(self) -> None:
        """Let the run's file go."""
        self._run.close()

    def _add(self, leaf: bytes, time_ms: int) -> None:
        if not self._run.leaves:
            self._run_since_ms = time_ms
        self._run.add(leaf)

    def _sign_run(
        self, leaf: bytes, time_ms: int, dropped: tuple[Dropped, ...], *, last: bool
    ) -> tuple[bytes, Place | None]:
        """(signed run for the envelope with this leaf, where it ends), if one is due, or left by the last start."""
        self._note_unsent()
        run, here = self._run, (self._epoch, self._seq)
        if run.first[0] != self._epoch and not run.leaves:
            run.begin(here, run.before if run.before < here else (0, 0))
        leaves, end = run.leaves, run.end
        if run.first[0] == self._epoch:
            news = bool(dropped) and len(leaves) + 1 >= _NEWS_BATCHES
            if not (last or news or self._is_due(time_ms)):
                return b"", None
            leaves, end = [*leaves, leaf], here
        return sign_run(self._key, self._fleet, self._sender, run.first, leaves, run.before, dropped), end

    def _is_due(self, time_ms: int) -> bool:
        """Whether a run that ends with a batch of this time is full, or would be too old by the next one."""
        if len(self._run.leaves) + 1 >= RUN_BATCHES:
            return True
        if not self._run.leaves or time_ms < self._run_since_ms:  # or the clock was set back
            self._run_since_ms = time_ms
        step_ms = 0 if self._last_ms is None else max(0, time_ms - self._last_ms)
        return time_ms + step_ms - self._run_since_ms >= RUN_AGE_MS

    def _note_unsent(self) -> None:
        """The number that was sealed last never reached the spool: the run says so, once there is one of this epoch."""
        last, self._last = self._last, None
        if last is None or self._run.first[0] != self._epoch:
            return
        if len(self._run.leaves) < MAX_RUN_BATCHES - 1:
            self._add(NEVER_SENT, last.time_ms)
        else:  # nothing reaches the spool: what was sent before that stays without a signature
            self._run.begin((self._epoch, self._seq), self._run.before)
