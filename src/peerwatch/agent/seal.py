"""Sealer: turns batches into numbered, signed envelopes. Each batch is encoded and signed once, whoever gets it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from peerwatch.model import Batch, Series
from peerwatch.spool import Position, SpooledEnvelope
from peerwatch.wire import merkle
from peerwatch.wire.batch import encode_batch, leaf_content
from peerwatch.wire.compression import Compressor
from peerwatch.wire.envelope import Header, seal
from peerwatch.wire.identity import PrivateKey
from peerwatch.wire.run_root import RunRoot, sign_run_root
from peerwatch.wire.schema import Schema, encode_delta, encode_schema

_RUN_BATCHES = 64  # batches per signed Merkle root: 10 minutes at the default report interval
_MAX_SCHEMAS = 256  # remembered; a schema that comes back later is only hashed again


@dataclass(frozen=True, slots=True)
class Sealed:
    """An envelope for the spool, with the records of the schemas it uses."""

    item: SpooledEnvelope
    schemas: Mapping[bytes, bytes]


class Sealer:
    """Numbers what one agent sends. Owned by the agent; not thread-safe."""

    def __init__(self, fleet: bytes, sender: bytes, key: PrivateKey, epoch: int) -> None:
        self._fleet = fleet
        self._sender = sender
        self._key = key
        self._epoch = epoch
        self._seq = 0
        self._compressor = Compressor()
        self._schemas: OrderedDict[int, tuple[tuple[Series, ...], Schema, bytes]] = OrderedDict()
        self._deltas: dict[bytes, tuple[bytes, bytes]] = {}
        self._last_schema: dict[tuple[str, str], Schema] = {}
        self._leaves: list[bytes] = []
        self._run_root = b""

    def seal(self, batch: Batch, time_ms: int, floor: Position | None) -> Sealed:
        """The next envelope. `floor` is the lowest position still to come to any receiver; None: this one."""
        position = Position(self._epoch, self._seq)
        lowest = position if floor is None else min(floor, position)
        header = Header(self._fleet, self._sender, self._epoch, self._seq, lowest.epoch, lowest.seq)
        body = encode_batch(batch, self._schema_of)
        raw = seal(self._key, header, body, self._compressor, self._run_root)
        schemas = [self._schema_of(block.series) for block in batch.blocks]
        self._note_deltas(batch, schemas)
        self._add_leaf(batch, schemas)
        self._seq += 1
        records = {entry[1].id: entry[2] for entry in (self._entry(block.series) for block in batch.blocks)}
        item = SpooledEnvelope(position, time_ms, raw, tuple(records))
        return Sealed(item, records)

    def delta(self, schema_id: bytes) -> tuple[bytes, bytes] | None:
        """(base id, record) that tells this schema as a change of the one before it, where there is one."""
        return self._deltas.get(schema_id)

    def _schema_of(self, series: tuple[Series, ...]) -> Schema:
        return self._entry(series)[1]

    def _entry(self, series: tuple[Series, ...]) -> tuple[tuple[Series, ...], Schema, bytes]:
        """By identity: the sampler hands over the same tuple while nothing changes, so nothing is hashed again."""
        found = self._schemas.get(id(series))
        if found is None:
            schema = Schema.of(series)
            found = self._schemas[id(series)] = (series, schema, encode_schema(schema))
            if len(self._schemas) > _MAX_SCHEMAS:
                self._schemas.popitem(last=False)
        return found

    def _note_deltas(self, batch: Batch, schemas: list[Schema]) -> None:
        for block, schema in zip(batch.blocks, schemas, strict=True):
            place = (block.job, block.target)
            before = self._last_schema.get(place)
            if before is None or before.id != schema.id:
                self._note_delta(before, schema)
                self._last_schema[place] = schema

    def _note_delta(self, before: Schema | None, schema: Schema) -> None:
        record = None if before is None else encode_delta(before, schema)
        if before is None or record is None:
            return
        self._deltas[schema.id] = (before.id, record)
        while len(self._deltas) > _MAX_SCHEMAS:
            del self._deltas[next(iter(self._deltas))]

    def _add_leaf(self, batch: Batch, schemas: list[Schema]) -> None:
        """Collect this batch's Merkle leaf; a full run's signed root goes into the envelope after it."""
        content = leaf_content([schema.digest for schema in schemas], [block.matrix for block in batch.blocks])
        self._leaves.append(merkle.leaf_hash(content))
        self._run_root = b""
        if len(self._leaves) == _RUN_BATCHES:
            first = self._seq - _RUN_BATCHES + 1
            run = RunRoot(self._fleet, self._sender, self._epoch, first, self._seq, merkle.root(self._leaves))
            self._run_root = sign_run_root(self._key, run)
            self._leaves = []
