"""Schemas and baselines that the collector knows, and those of one push, looked at only when a batch needs them."""

from __future__ import annotations

from peerwatch.wire.baseline import Baseline, decode_baseline
from peerwatch.wire.compression import Compressor
from peerwatch.wire.limits import WireLimits
from peerwatch.wire.named_cache import NamedCache
from peerwatch.wire.push import PushedRecords
from peerwatch.wire.schema import MissingBaseError, Schema, decode_schema, schema_id_of


class PushedSchemas:
    """The records of one push, behind the caches. A record is decompressed and read when what it holds is asked for.

    They are unsigned: a record is believed because its content hashes to the name that a signed batch gives it.
    """

    def __init__(
        self,
        records: PushedRecords,
        cache: NamedCache[Schema],
        baselines: NamedCache[Baseline],
        compressor: Compressor,
        limits: WireLimits,
    ) -> None:
        self._packed = records
        self._cache = cache
        self._baselines = baselines
        self._compressor = compressor
        self._limits = limits
        self._records: dict[bytes, bytes] | None = None
        self._found: dict[bytes, Schema] = {}

    def cost_bytes(self, name: bytes) -> int:
        """How many bytes `get` or `baseline` would have to open first."""
        if self._records is not None or self._known(name) is not None or self._baselines.get(name) is not None:
            return 0
        return self._packed.size_bytes

    def baseline(self, name: bytes) -> Baseline | None:
        """The baseline of that name, or None. Raises DecodeError when the record of that name is not that baseline."""
        known = self._baselines.get(name)
        if known is not None:
            return known
        record = self._opened().pop(name, None)
        if record is None:
            return None
        baseline = decode_baseline(record, self._limits)
        self._baselines.put(baseline)
        return baseline

    def get(self, schema_id: bytes) -> Schema | None:
        """The schema of that name, or None. Raises DecodeError when the record of that name is not that schema."""
        known = self._known(schema_id)
        if known is not None:
            return known
        record = self._opened().pop(schema_id, None)  # popped: a delta that leads back to itself ends here
        if record is None:
            return None
        try:
            schema = decode_schema(record, self.get, self._limits)
        except MissingBaseError:
            return None  # whoever needs it is asked for the whole schema
        self._found[schema.id] = schema
        self._cache.put(schema)
        return schema

    def _known(self, schema_id: bytes) -> Schema | None:
        return self._found.get(schema_id) or self._cache.get(schema_id)

    def _opened(self) -> dict[bytes, bytes]:
        if self._records is None:
            self._records = {}
            records = self._packed.unpack(self._compressor, self._limits)
            self._records = {schema_id_of(record): record for record in records}
        return self._records
