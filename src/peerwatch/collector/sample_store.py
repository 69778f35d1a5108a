"""SampleStore: the little that the collector needs of a store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from peerwatch.model import EnvelopeEntry, Layout, Marks, RowsEntry, Series


class SampleStore(Protocol):
    """Where accepted batches go. `append` blocks; the collector calls it from one worker thread, one at a time."""

    def layout(self, series: tuple[Series, ...], origin: bytes = b"") -> Layout:
        """The handle for these series, made if it is new; `origin` is kept beside it for provenance."""
        ...

    def append(self, entries: Sequence[EnvelopeEntry | RowsEntry]) -> None:
        """Make all of them durable and readable, or raise StoreError (DiskFullError) and store none."""
        ...

    def marks(self) -> Marks:
        """Which numbers of which sender are stored."""
        ...

    def close_epochs(self, sender: bytes, below: int) -> None:
        """Its sender has closed all epochs below this one: `marks` keeps that, and may forget their numbers."""
        ...

    @property
    def horizon_ms(self) -> int:
        """Samples older than this are beyond retention and are not kept."""
        ...
