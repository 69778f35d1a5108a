"""WatchedStore: the collector's way to the store, which remembers whether the last append was taken."""

from __future__ import annotations

from collections.abc import Sequence

from peerwatch.errors import StoreError
from peerwatch.model import EnvelopeEntry, Layout, Marks, RowsEntry, Series
from peerwatch.store.store import Store


class WatchedStore:
    """A SampleStore. `refusal` is why the last append was refused: a disk may be full or broken below every guard.

    The hub writes `up` every few seconds, so it is no older than that. Written by the collector's one worker thread.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.refusal: str | None = None

    def layout(self, series: tuple[Series, ...], origin: bytes = b"") -> Layout:
        """See SampleStore."""
        return self._store.layout(series, origin)

    def append(self, entries: Sequence[EnvelopeEntry | RowsEntry]) -> None:
        """See SampleStore."""
        try:
            self._store.append(entries)
        except StoreError as error:
            self.refusal = str(error)
            raise
        self.refusal = None

    def marks(self) -> Marks:
        """See SampleStore."""
        return self._store.marks()

    def close_epochs(self, sender: bytes, below: int) -> None:
        """See SampleStore."""
        self._store.close_epochs(sender, below)

    @property
    def horizon_ms(self) -> int:
        """See SampleStore."""
        return self._store.horizon_ms
