"""Makes the store under `fixtures/format-1`. Run once per format: `python -m tests.store.old_format FOLDER`.

The files are committed and never made again: they stand for stores in the field.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from peerwatch.model import STALE, Part, RowsEntry, SampleMatrix
from peerwatch.store.config import StoreConfig
from peerwatch.store.store import Store
from peerwatch.telemetry import CollectorRegistry
from tests.store.material import BASE_MS, HOUR_MS, Cells, ManualClock, decode, envelope, put, series

FOLDER = Path(__file__).parent / "fixtures" / "format-1"
SCHEMA = (
    series("counter", host="a"),
    series("gauge", host="a"),
    series("ratio", host="a"),
    series("sometimes", host="a"),
)


def batches() -> list[SampleMatrix]:
    """Twelve ticks every ten minutes for five hours: integers, decimals, full mantissas, gaps, odd values."""
    rng = np.random.default_rng(1)
    found = []
    for part in range(30):
        times = BASE_MS + part * 600_000 + np.arange(12, dtype=np.int64) * 50_000
        values = np.stack(
            [
                np.cumsum(rng.integers(0, 9, 12)) + 1e6 * part,
                np.round(rng.normal(20, 3, 12), 2),
                rng.random(12),
                np.full(12, 7.0),
            ]
        )
        values[1, 3], values[1, 4], values[2, 5] = STALE, -0.0, np.inf
        presence = np.ones((4, 12), np.bool_)
        presence[3, ::3] = False
        found.append(SampleMatrix(times, values, presence))
    return found


def expected(store: Store) -> Cells:
    """What such a store holds."""
    layout = store.layout(SCHEMA, b"schema")
    model: Cells = {}
    for one in batches():
        put(model, layout, one)
    return model


def make(folder: Path) -> None:
    """A store with a compacted block, blocks of flushes, and samples in the WAL alone."""
    clock = ManualClock(BASE_MS + 5 * HOUR_MS)
    config = StoreConfig(min_free_bytes=0)
    store = Store.open(folder, config, clock=clock, decode_envelope=decode, registry=CollectorRegistry())
    layout = store.layout(SCHEMA, b"schema")
    for seq, one in enumerate(batches()):
        if seq % 5 == 4:
            store.append([RowsEntry((Part(layout, one),))])
        else:
            store.append([envelope(seq, (layout, one), root=b"root" if seq == 7 else b"")])
        if seq in (5, 15, 20, 26):
            store.flush()
    while store.compact():
        pass
    store.close()


if __name__ == "__main__":
    make(Path(sys.argv[1]))
