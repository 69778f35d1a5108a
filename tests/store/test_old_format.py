"""Stores written by earlier versions are read."""

from __future__ import annotations

import shutil
from pathlib import Path

from peerwatch.store.config import StoreConfig
from peerwatch.store.fsck import fsck
from peerwatch.store.provenance import RunRoot
from peerwatch.store.store import Store
from peerwatch.telemetry import CollectorRegistry
from tests.store.material import BASE_MS, EVERYTHING_MS, HOUR_MS, ManualClock, cells_of, decode, stored_origins
from tests.store.old_format import FOLDER, expected


def test_format_1_is_read(tmp_path: Path) -> None:
    """Every cell, mark and run root of a committed store of format 1 is there, and the store goes on from it."""
    folder = tmp_path / "store"
    shutil.copytree(FOLDER, folder)
    assert fsck(folder, repair=False).clean
    store = Store.open(
        folder,
        StoreConfig(min_free_bytes=0),
        clock=ManualClock(BASE_MS + 5 * HOUR_MS),
        decode_envelope=decode,
        registry=CollectorRegistry(),
    )
    model = expected(store)
    assert cells_of(store.select([], *EVERYTHING_MS)) == model
    assert [seq for _, _, runs in store.marks() for run in runs for seq in range(run[0], run[1] + 1)] == [
        seq for seq in range(30) if seq % 5 != 4
    ]
    assert stored_origins(folder)[1] == [RunRoot(b"agent-1", 1, 7, b"root")]
    store.flush()
    while store.compact():
        pass
    assert cells_of(store.select([], *EVERYTHING_MS)) == model
    store.close()
