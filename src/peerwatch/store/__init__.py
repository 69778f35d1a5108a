"""The embedded time-series store: WAL, head, blocks. No acknowledged sample is lost, none is stored twice."""

from peerwatch.store.config import StoreConfig
from peerwatch.store.entry import EnvelopeEntry, Layout, Part, RowsEntry
from peerwatch.store.fsck import Finding, FsckReport, fsck
from peerwatch.store.provenance import Provenance, RunRoot
from peerwatch.store.stats import StoreStats
from peerwatch.store.store import HeadFullError, Store

__all__ = [
    "EnvelopeEntry",
    "Finding",
    "FsckReport",
    "HeadFullError",
    "Layout",
    "Part",
    "Provenance",
    "RowsEntry",
    "RunRoot",
    "Store",
    "StoreConfig",
    "StoreStats",
    "fsck",
]
