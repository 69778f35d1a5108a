"""Entries: what is handed to a store, by the collector and by the hub itself."""

from __future__ import annotations

from dataclasses import dataclass

from peerwatch.model.arrays import Int64Array
from peerwatch.model.batch import Matrix
from peerwatch.model.series import Series


@dataclass(frozen=True, slots=True)
class Layout:
    """A store's handle for an ordered list of its series; row i of a matrix belongs to series i.

    Good for as long as its store is open, also when the store forgot it in between. `origin` is the caller's own name
    for the list (an agent's schema), kept beside the data for provenance.
    """

    id: int
    series: tuple[Series, ...]
    series_ids: Int64Array
    origin: bytes = b""


@dataclass(frozen=True, slots=True)
class Part:
    """Samples of one layout. The arrays belong to the store from `append` on: do not write to them again."""

    layout: Layout
    matrix: Matrix


@dataclass(frozen=True, slots=True)
class EnvelopeEntry:
    """A verified batch. `raw` is the signed bytes exactly as they came; `run_root` an opaque signed blob.

    `context`: (name, content) of what `raw` cannot be read without; the same name always has the same content.
    """

    sender: bytes
    epoch: int
    seq: int
    raw: bytes
    parts: tuple[Part, ...]
    run_root: bytes = b""
    context: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class RowsEntry:
    """Remote-written or hub-made rows; the store encodes them itself."""

    parts: tuple[Part, ...]
