"""Schemas that the collector knows, and those of one push, looked at only when a verified batch needs them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from peerwatch.wire.limits import WireLimits
from peerwatch.wire.schema import MissingBaseError, Schema, decode_schema


class SchemaCache:
    """Recently used schemas by name, over all senders; equal hosts share one. Owned by the collector.

    Bounded by the number of series it holds; the least recently used go, and are asked for again when needed.
    """

    def __init__(self, max_series: int = 1_000_000) -> None:
        self._max_series = max_series
        self._series = 0
        self._schemas: OrderedDict[bytes, Schema] = OrderedDict()

    def get(self, schema_id: bytes) -> Schema | None:
        """The schema of that name, or None."""
        schema = self._schemas.get(schema_id)
        if schema is not None:
            self._schemas.move_to_end(schema_id)
        return schema

    def put(self, schema: Schema) -> None:
        """Remember a schema."""
        if schema.id in self._schemas:
            return
        self._schemas[schema.id] = schema
        self._series += len(schema.series)
        while self._series > self._max_series and len(self._schemas) > 1:
            _, old = self._schemas.popitem(last=False)
            self._series -= len(old.series)


class PushedSchemas:
    """The schema records of one push, in front of the cache. Decoding waits until something verified asks."""

    def __init__(self, records: Sequence[bytes], cache: SchemaCache, limits: WireLimits) -> None:
        self._records = records
        self._cache = cache
        self._limits = limits
        self._found: dict[bytes, Schema] | None = None

    def get(self, schema_id: bytes) -> Schema | None:
        """The schema of that name, or None. Raises DecodeError when a record of this push is not a schema."""
        if self._found is None:
            self._found = self._decode()
        return self._found.get(schema_id) or self._cache.get(schema_id)

    def _decode(self) -> dict[bytes, Schema]:
        found: dict[bytes, Schema] = {}
        for record in self._records:
            try:
                schema = decode_schema(record, lambda base: found.get(base) or self._cache.get(base), self._limits)
            except MissingBaseError:
                continue  # whoever needs it is asked for the whole schema
            found[schema.id] = schema
            self._cache.put(schema)
        return found
