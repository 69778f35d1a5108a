"""fsck finds every damaged byte, isolates it, and keeps all that is good."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerwatch.errors import StoreError
from peerwatch.model import SampleMatrix
from peerwatch.store.config import StoreConfig
from peerwatch.store.dictionary_log import MAGIC as DICTIONARY_MAGIC
from peerwatch.store.fsck import fsck
from peerwatch.store.record import decode_file_header, scan
from peerwatch.store.store import Store
from peerwatch.store.wal import MAGIC as WAL_MAGIC
from peerwatch.telemetry import CollectorRegistry
from tests.store.material import EVERYTHING_MS, Cells, ManualClock, cells_of, decode, envelope, put, series
from tests.store.memory_disk import MemoryDisk

FOLDER = Path("/store")
SPAN = 10_000
CONFIG = StoreConfig(compact_span_ms=SPAN, segment_bytes=1500, min_free_bytes=0, flush_interval_s=1)


def open_store(disk: MemoryDisk, clock: ManualClock | None = None) -> Store:
    return Store.open(
        FOLDER,
        CONFIG,
        clock=clock or ManualClock(100 * SPAN),
        decode_envelope=decode,
        registry=CollectorRegistry(),
        disk=disk,
    )


def filled() -> tuple[MemoryDisk, Cells]:
    """A copy of the same store each time."""
    disk, model = _filled()
    return disk.twin(), model


@cache
def _filled() -> tuple[MemoryDisk, Cells]:
    """A store with two compacted windows, a fresh block, and samples that are only in the WAL."""
    disk, model = MemoryDisk(7), Cells()
    store = open_store(disk)
    rng = np.random.default_rng(3)
    layouts = [store.layout(tuple(series(f"m{i}", host=f"h{host}") for i in range(12)), b"schema") for host in range(3)]
    for seq in range(30):
        for host, layout in enumerate(layouts):
            m = SampleMatrix(np.arange(3) * 100 + seq * 1000, np.round(rng.normal(0, 50, (12, 3)), host))
            put(model, layout, m)
            store.append([envelope(seq * 3 + host, (layout, m), root=b"root")])
        if seq in (4, 8, 13, 18, 22):
            store.flush()
    while store.compact():
        pass
    store.close()
    return disk, model


def test_a_whole_store_has_no_findings() -> None:
    """Nothing is reported where nothing is wrong, and everything was looked at."""
    disk, _ = filled()
    report = fsck(FOLDER, repair=False, disk=disk)
    assert report.clean
    assert report.series == 36 and report.blocks >= 3 and report.records > 10 and report.segments > 1


DISK, MODEL = filled()
PLACES = [(path, size) for path, data in DISK.files().items() if (size := len(data)) and path.name != "lock"]


def _is_torn_tail(path: Path, data: bytes, offset: int) -> bool:
    """Damage behind the last whole record of a log looks like a write that was cut off, which is no damage."""
    magic = {".wal": WAL_MAGIC, ".log": DICTIONARY_MAGIC}.get(path.suffix)
    header = None if magic is None else decode_file_header(data, magic)
    return header is not None and scan(data, header[1]).good_end <= offset


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(PLACES), st.floats(0, 1, exclude_max=True), st.integers(1, 255))
def test_a_flipped_byte_is_found_and_isolated(place: tuple[Path, int], share: float, mask: int) -> None:
    """Any byte of any file: fsck reports it, repair isolates it, a second run is content, the store opens, every
    sample that it still answers is right, and what was damaged is kept in quarantine."""
    disk, model = filled()
    path, size = place
    offset = int(share * size)
    before = disk.files()
    disk.flip(path, offset, mask)
    report = fsck(FOLDER, repair=True, disk=disk)
    if report.clean:
        assert _is_torn_tail(path, disk.files()[path], offset) or _is_spare(path, offset)
    else:
        assert {finding.path for finding in report.findings} <= {path, FOLDER / "dictionary.log"}
        assert all(finding.action for finding in report.findings)
        damaged = bytearray(before[path])
        damaged[offset] ^= mask
        assert bytes(damaged) in disk.files().values()
    assert fsck(FOLDER, repair=False, disk=disk).clean
    store = open_store(disk)
    found = cells_of(store.select([], *EVERYTHING_MS))
    for labels, cells in found.items():
        assert cells.items() <= model[labels].items()
    kept = sum(map(len, found.values())) / sum(map(len, model.values()))
    assert kept >= 0.6, "at most one block of three is out of service"
    store.close()


def _is_spare(path: Path, offset: int) -> bool:
    """One of two copies of a header may be damaged without harm."""
    return path.suffix in (".wal", ".log") and offset < 40


def test_reads_go_on_around_a_damaged_tile() -> None:
    """A damaged tile costs its own samples only, is counted once, and is never merged away."""
    disk, model = filled()
    largest = max((p for p in disk.files() if p.suffix == ".blk"), key=lambda p: len(disk.files()[p]))
    disk.flip(largest, 40, 0xFF)
    store = open_store(disk)
    for _ in range(2):
        found = cells_of(store.select([], *EVERYTHING_MS))
        assert 0 < sum(map(len, found.values())) < sum(map(len, model.values()))
        assert all(cells.items() <= model[labels].items() for labels, cells in found.items())
        assert store.stats().damage == 1
    store.close()


def test_a_lost_dictionary_is_restored_from_blocks() -> None:
    """Compacted blocks know the names of their series."""
    disk, model = filled()
    path = FOLDER / "dictionary.log"
    for at in (2, 30):
        disk.flip(path, at, 0xFF)
    with pytest.raises(StoreError, match="peerwatch fsck"):
        open_store(disk)
    assert not fsck(FOLDER, repair=False, disk=disk).clean
    report = fsck(FOLDER, repair=True, disk=disk)
    assert report.series == 36
    found = cells_of(open_store(disk).select([], *EVERYTHING_MS))
    assert set(found) == set(model)
    assert all(cells.items() <= model[labels].items() for labels, cells in found.items())


def test_a_store_in_use_is_not_checked() -> None:
    """fsck refuses while a process has the store open."""
    disk, _ = filled()
    store = open_store(disk)
    with pytest.raises(StoreError, match="in use"):
        fsck(FOLDER, repair=True, disk=disk)
    store.close()
