"""The embedded time-series store: WAL, head, blocks. No acknowledged sample is lost, none is stored twice."""

from peerwatch.store.config import StoreConfig
from peerwatch.store.entry import EnvelopeEntry, Layout, Part, RowsEntry
from peerwatch.store.stats import StoreStats
from peerwatch.store.store import HeadFullError, Store

__all__ = [
    "EnvelopeEntry",
    "HeadFullError",
    "Layout",
    "Part",
    "RowsEntry",
    "Store",
    "StoreConfig",
    "StoreStats",
]
