"""MemoryPart: what the disk would not take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from peerwatch.spool.entries import Entries
from peerwatch.spool.packed import Packed, SchemaLookup, unpack
from peerwatch.spool.record import parse
from peerwatch.spool.spooled import SpooledEnvelope


class MemoryPart:
    """The last part of the spool, empty while the disk works. Mutable; owned by the Intake.

    It does not bound itself: the Intake drops from the head, counted, before `size_bytes` passes `memory_bytes`.
    """

    def __init__(self) -> None:
        self.entries = Entries()
        self.size_bytes = 0
        self._packed: list[Packed] = []
        self.schemas: dict[bytes, bytes] = {}
        self._uses: Counter[bytes] = Counter()

    def item(self, index: int) -> SpooledEnvelope:
        """An envelope."""
        record = parse(memoryview(self._packed[index].frame))
        if record is None:
            raise RuntimeError(f"envelope {self._packed[index].position} changed in memory")
        return unpack(record)[1]

    def schema(self, schema_id: bytes) -> bytes | None:
        """A schema that one of the envelopes names."""
        return self.schemas.get(schema_id)

    def cost_bytes(self, packed: Packed, lookup: SchemaLookup) -> int:
        """By how much `size_bytes` would grow."""
        new = (lookup(schema_id) for schema_id in set(packed.schema_ids) if schema_id not in self.schemas)
        return len(packed.frame) + sum(len(schema) for schema in new if schema is not None)

    def append(self, packed: Packed, lookup: SchemaLookup) -> None:
        """Take an envelope and the schemas it needs."""
        self.size_bytes += self.cost_bytes(packed, lookup)
        for schema_id in set(packed.schema_ids):
            self._uses[schema_id] += 1
            if schema_id not in self.schemas and (schema := lookup(schema_id)) is not None:
                self.schemas[schema_id] = schema
        self.entries.append(packed.position, packed.time_ms, 0, len(packed.frame))
        self._packed.append(packed)

    def head(self, max_bytes: int) -> Sequence[Packed]:
        """The oldest envelopes up to `max_bytes`, at least one."""
        total = 0
        for count, packed in enumerate(self._packed):
            total += len(packed.frame)
            if count and total > max_bytes:
                return self._packed[:count]
        return self._packed[:]

    def cut_head(self, count: int) -> None:
        """Forget the oldest `count` envelopes, and the schemas that only they needed."""
        for packed in self._packed[:count]:
            self.size_bytes -= len(packed.frame)
            for schema_id in set(packed.schema_ids):
                self._release(schema_id)
        del self._packed[:count]
        self.entries.cut_head(count)

    def _release(self, schema_id: bytes) -> None:
        self._uses[schema_id] -= 1
        if not self._uses[schema_id]:
            del self._uses[schema_id]
            self.size_bytes -= len(self.schemas.pop(schema_id, b""))
