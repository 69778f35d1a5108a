"""Logged batches: what lies in the WAL is the signed envelope itself; with a run it is compared with that, too."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from peerwatch.audit.claims import Claims
from peerwatch.audit.report import Reason
from peerwatch.audit.window import BatchResult, Rest, Scope
from peerwatch.errors import PeerError
from peerwatch.model import BoolArray, Int64Array, Matrix
from peerwatch.store.reader import LoggedBatch
from peerwatch.wire.envelope import parse_envelope
from peerwatch.wire.identity_labels import INSTANCE
from peerwatch.wire.leaf import leaf_of, matrix_digest


def logged_result(scope: Scope, name: str, batch: LoggedBatch) -> BatchResult:
    """A batch in the WAL as it is now."""
    digests, samples = [], 0
    problem: Reason | None = None
    for layout_id, matrix in zip(batch.record.layout_ids, batch.matrices, strict=True):
        layout = scope.layouts.get(layout_id)
        problem = problem or scope.problem(layout, name)
        if layout.head is not None and len(layout.ids) == matrix.rows:
            digests.append(matrix_digest(layout.head, matrix))
            samples += _counted(scope, matrix, layout.chosen)
        else:
            problem = problem or Reason.CHANGED
    return BatchResult(
        (batch.record.epoch, batch.record.seq),
        leaf_of([one for one in digests if one is not None]),
        samples,
        min(int(one.times_ms[0]) for one in batch.matrices),
        max(int(one.times_ms[-1]) for one in batch.matrices),
        batch.place,
        problem,
        lambda: None,
    )


def check_envelope(batch: LoggedBatch, claims: Claims) -> None:
    """Raise PeerError unless the envelope is signed by its sender and bears the number under which it is stored."""
    record, envelope = batch.record, parse_envelope(batch.record.raw)
    header = envelope.header
    envelope.verify(claims.verifier)
    if (header.sender, header.epoch, header.seq) != (record.sender, record.epoch, record.seq):
        raise PeerError(f"envelope {header.epoch}/{header.seq} is stored as {record.epoch}/{record.seq}")


def logged_rest(scope: Scope) -> Iterator[Rest]:
    """Samples in the WAL that came in no batch: of series of an agent's batches, or of others under its name."""
    for part in scope.reader.logged_rows():
        chosen = scope.layouts.chosen(part.series_ids)
        signed = np.isin(part.series_ids, scope.signed_ids)
        names = [
            one.get(INSTANCE) if one is not None else "" for one in scope.reader.dictionary.labels_of(part.series_ids)
        ]
        for name in {one for one in names if one in scope.names}:
            own = chosen & np.array([one == name for one in names])
            for reason, rows in ((Reason.ADDED, own & signed), (None, own & ~signed)):
                count = _counted(scope, part.matrix, rows)
                if count:
                    times: Int64Array = part.matrix.times_ms
                    yield Rest(name, reason, count, int(times[0]), int(times[-1]))


def _counted(scope: Scope, matrix: Matrix, rows: BoolArray) -> int:
    """How many of a matrix's samples count."""
    ticks = (matrix.times_ms >= scope.start_ms) & (matrix.times_ms <= scope.end_ms)
    if matrix.presence is None:
        return int(rows.sum() * ticks.sum())
    return int(matrix.presence[np.ix_(rows, ticks)].sum())
