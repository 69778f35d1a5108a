"""Part: a stretch of the spool, on disk or in memory. The books do not care which."""

from __future__ import annotations

from collections.abc import Container
from typing import Protocol

from peerwatch.spool.entries import Entries
from peerwatch.spool.spooled import SpooledEnvelope


class Part(Protocol):
    """Two real ones: `Segment` on disk and `MemoryPart`."""

    @property
    def entries(self) -> Entries:
        """Its index."""
        ...

    @property
    def schemas(self) -> Container[bytes]:
        """The ids of the schemas that it carries."""
        ...

    def item(self, index: int) -> SpooledEnvelope:
        """Read an envelope. Raises CorruptionError when it is lost, StoreError when it cannot be read just now."""
        ...

    def schema(self, schema_id: bytes) -> bytes | None:
        """A schema that this part carries, or None. Errors as `item`."""
        ...
