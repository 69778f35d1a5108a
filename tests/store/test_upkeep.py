"""What the store does beside answering: retention, guards, provenance, snapshots, and all of it at once."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from peerwatch.errors import DiskFullError
from peerwatch.model import Labels, Matcher, MatchOp, Part, RowsEntry, SampleMatrix
from peerwatch.store.config import StoreConfig
from peerwatch.store.disk import Disk
from peerwatch.store.provenance import Provenance, RunRoot
from peerwatch.store.store import HeadFullError, Store
from peerwatch.telemetry import CollectorRegistry, generate_latest
from tests.store.material import (
    EVERYTHING_MS,
    Cells,
    ManualClock,
    cells_of,
    decode,
    envelope,
    matrix,
    named,
    put,
    series,
    stored_origins,
)
from tests.store.memory_disk import MemoryDisk

SPAN = 10_000
LONG = 2_000_000  # more than the ranges of series are widened ahead


def open_store(
    folder: Path, disk: Disk | None = None, clock: ManualClock | None = None, **settings: float | None
) -> Store:
    defaults: dict[str, float | None] = {"compact_span_ms": SPAN, "min_free_bytes": 0, "flush_interval_s": 1}
    return Store.open(
        folder,
        StoreConfig(**(defaults | settings)),  # type: ignore[arg-type]
        clock=clock or ManualClock(1000 * LONG),
        decode_envelope=decode,
        registry=CollectorRegistry(),
        disk=disk,
    )


def test_old_windows_go_and_stay_away(tmp_path: Path) -> None:
    """After retention old samples are not shown, not accepted, and not back after a restart; their series go too."""
    store = open_store(tmp_path, compact_span_ms=LONG, retention_ms=3 * LONG)
    old, new = store.layout((series("old"),)), store.layout((series("new"),))
    store.append([envelope(1, (old, matrix([5], [[1]])))])
    store.append([envelope(2, (new, matrix([5, 5 * LONG], [[1, 2]])))])
    store.flush()
    assert store.retain() == 1
    expected = {Labels.of(__name__="new"): {5 * LONG: 0x4000000000000000}}
    assert store.horizon_ms == 2 * LONG
    assert cells_of(store.select([], *EVERYTHING_MS)) == expected
    store.append([envelope(3, (old, matrix([6], [[1]])))])
    store.maintain()
    assert cells_of(store.select([], *EVERYTHING_MS)) == expected
    assert store.series([], *EVERYTHING_MS) == [Labels.of(__name__="new")]
    assert store.stats().series == 1
    store.close()
    again = open_store(tmp_path, compact_span_ms=LONG, retention_ms=3 * LONG)
    assert again.horizon_ms == 2 * LONG
    assert cells_of(again.select([], *EVERYTHING_MS)) == expected
    assert again.marks().contains(b"agent-1", 1, 3)
    back = again.layout((series("old"),))
    again.append([envelope(4, (back, matrix([6 * LONG], [[1]])))])
    assert len(again.select(named("old"), *EVERYTHING_MS).values) == 1


@pytest.mark.parametrize("rows", [False, True])
def test_a_forgotten_layout_still_works(tmp_path: Path, rows: bool) -> None:
    """A handle is good for as long as its store is open, also when its series were pruned in between."""
    store = open_store(tmp_path, compact_span_ms=LONG, retention_ms=3 * LONG)
    handle = store.layout((series("sleeper"),))
    other = store.layout((series("other"),))
    store.append([envelope(1, (handle, matrix([5], [[1]])))])
    store.append([envelope(2, (other, matrix([9 * LONG], [[1]])))])
    store.flush()
    store.maintain()
    assert store.stats().series == 1
    late = matrix([9 * LONG], [[3]])
    store.append([RowsEntry((Part(handle, late),)) if rows else envelope(3, (handle, late))])
    expected = {Labels.of(__name__="sleeper"): {9 * LONG: 0x4008000000000000}}
    assert cells_of(store.select(named("sleeper"), *EVERYTHING_MS)) == expected
    store.close()
    assert cells_of(open_store(tmp_path).select(named("sleeper"), *EVERYTHING_MS)) == expected


def test_series_are_forgotten_many_at_once_and_not_before_they_could_have_a_sample(tmp_path: Path) -> None:
    """Each time all others are written anew: a fleet that is just joining would have its hub do nothing else."""
    store = open_store(tmp_path)
    known = store.layout(tuple(series(f"known{n}") for n in range(100)))
    store.append([envelope(1, (known, matrix([5], [[1]] * 100)))])
    store.layout((series("late"),))
    for _ in range(3):
        store.maintain()
    assert store.stats().series == 101, "one of them is not worth it"
    store.layout(tuple(series(f"later{n}") for n in range(20)))
    store.maintain()
    assert store.stats().series == 121, "their first samples may be on their way"
    store.maintain()
    assert store.stats().series == 100


def test_too_much_is_cut_from_the_old_end(tmp_path: Path) -> None:
    """With a limit in bytes the oldest windows make room."""
    rng = np.random.default_rng(1)
    store = open_store(tmp_path, retention_bytes=20_000)
    layout = store.layout((series("x"),))
    for window in range(5):
        times = np.arange(1000, dtype=np.int64) * 10 + window * SPAN
        store.append([envelope(window, (layout, SampleMatrix(times, rng.random((1, 1000)))))])
    store.flush()
    store.maintain()
    assert store.horizon_ms == 3 * SPAN
    assert store.stats().disk_bytes < 20_000
    assert store.stats().oldest_ms == 3 * SPAN


def test_the_low_disk_guard_refuses_and_opens_again() -> None:
    """The message names the folder, what is free, the limit and the setting; nothing of the batch is stored."""
    disk = MemoryDisk()
    store = open_store(Path("/s"), disk, min_free_bytes=1000)
    layout = store.layout((series("x"),))
    disk.free_bytes = 999
    with pytest.raises(DiskFullError, match=r"/s has 999 bytes free, limit 1000 \(store.min_free_bytes\)"):
        store.append([envelope(1, (layout, matrix([1], [[1]])))])
    assert not store.stats().writable
    assert cells_of(store.select([], *EVERYTHING_MS)) == {}
    disk.free_bytes = 1000
    store.append([envelope(1, (layout, matrix([1], [[1]])))])
    assert store.stats().writable


def test_a_full_disk_is_first_answered_by_retention() -> None:
    """What is too old anyway makes room before an append is refused."""
    disk = MemoryDisk()
    store = open_store(Path("/s"), disk, min_free_bytes=1000, retention_ms=SPAN)
    layout = store.layout((series("x"),))
    store.append([envelope(1, (layout, matrix([1, 9 * SPAN], [[1, 2]])))])
    store.flush()
    disk.free_bytes = 999
    with pytest.raises(DiskFullError):
        store.append([envelope(2, (layout, matrix([9 * SPAN + 1], [[1]])))])
    assert store.horizon_ms == 8 * SPAN
    assert store.stats().blocks == 1


def test_memory_is_bounded(tmp_path: Path) -> None:
    """Over twice the head budget appends are refused until a flush succeeds."""
    store = open_store(tmp_path, head_budget_bytes=10_000)
    layout = store.layout((series("x"),))
    store.append([envelope(1, (layout, SampleMatrix(np.arange(2000), np.zeros((1, 2000)))))])
    with pytest.raises(HeadFullError, match="limit 20000"):
        store.append([envelope(2, (layout, matrix([2000], [[1]])))])
    store.maintain()
    store.append([envelope(2, (layout, matrix([2000], [[1]])))])
    assert store.stats().samples == 2001


def test_conflicts_and_duplicates_are_counted(tmp_path: Path) -> None:
    """Operators see when two senders disagree about a sample."""
    registry = CollectorRegistry()
    store = Store.open(
        tmp_path,
        StoreConfig(compact_span_ms=SPAN, min_free_bytes=0),
        clock=ManualClock(),
        decode_envelope=decode,
        registry=registry,
    )
    layout = store.layout((series("x"),))
    for seq, value in enumerate((1, 2, 2)):
        store.append([envelope(seq, (layout, matrix([1], [[value]])))])
    store.flush()
    text = generate_latest(registry).decode()
    assert "peerwatch_store_conflicting_samples_total 1.0" in text
    assert "peerwatch_store_duplicate_samples_total 1.0" in text


def test_provenance_survives_flush_compaction_and_restart(tmp_path: Path) -> None:
    """Who sent which ticks, and the signed run roots, are there as long as the samples are."""
    store = open_store(tmp_path)
    layout = store.layout((series("x"),), b"schema id")
    big = (1 << 64) - 1
    for seq in (1, 2, big):
        at = min(seq, 3) * 100
        entry = envelope(seq, (layout, matrix([at, at + 1], [[1, 2]])), root=b"root %d" % (seq & 3))
        store.append([entry])
        if seq == 1:
            store.flush()
    expected = [
        Provenance(b"agent-1", 1, seq, layout.id, at, at + 1, 2) for seq, at in ((1, 100), (2, 200), (big, 300))
    ]
    roots = sorted(RunRoot(b"agent-1", 1, seq, b"root %d" % (seq & 3)) for seq in (1, 2, big))
    assert stored_origins(tmp_path) == (expected, roots)
    store.flush()
    while store.compact():
        pass
    assert store.stats().blocks == 1
    store.close()
    open_store(tmp_path)
    assert stored_origins(tmp_path) == (expected, roots)


def test_marks_are_complete_without_a_checkpoint(tmp_path: Path) -> None:
    """The checkpoint only makes a start quick: blocks and WAL know all."""
    store = open_store(tmp_path)
    layout = store.layout((series("x"),))
    for seq in range(4):
        store.append([envelope(seq, (layout, matrix([seq], [[1]])))])
        if seq < 3:
            store.flush()
    assert store.compact()
    marks = store.marks()
    store.close()
    (tmp_path / "checkpoint").unlink()
    again = open_store(tmp_path)
    assert again.marks() == marks
    assert again.label_names([], 0, 5) == ["__name__"]


@pytest.mark.parametrize("checkpoint", [True, False])
def test_closed_epochs_are_told_after_a_restart(tmp_path: Path, checkpoint: bool) -> None:
    """By the checkpoint; after a crash without a new one, by the numbers themselves."""
    store = open_store(tmp_path)
    layout = store.layout((series("x"),))
    store.append([envelope(0, (layout, matrix([0], [[1]])))])
    store.close_epochs(b"agent-1", 5)
    assert [(epoch, list(runs)) for _, epoch, runs in store.marks()] == [(0, [(0, 4)])]
    store.close()
    if not checkpoint:
        (tmp_path / "checkpoint").unlink()
    marks = open_store(tmp_path).marks()
    assert marks.contains(b"agent-1", 1, 0)  # the WAL still has it
    assert marks.floors() == ({b"agent-1": 5} if checkpoint else {})


def test_a_snapshot_is_a_store(tmp_path: Path) -> None:
    """A copy taken while the store runs has what was acknowledged before, and lives on its own."""
    store = open_store(tmp_path / "live")
    layout = store.layout((series("x"),))
    model = Cells()
    for seq in range(6):
        one = matrix([seq * 4000], [[seq]])
        put(model, layout, one)
        store.append([envelope(seq, (layout, one))])
        if seq in (1, 3):
            store.flush()
    store.snapshot(tmp_path / "backups" / "first")
    store.append([envelope(9, (layout, matrix([99_999], [[9]])))])
    store.flush()
    while store.compact():
        pass
    copy = open_store(tmp_path / "backups" / "first")
    assert cells_of(copy.select([], *EVERYTHING_MS)) == model
    assert copy.marks().contains(b"agent-1", 1, 5) and not copy.marks().contains(b"agent-1", 1, 9)
    copy.close()
    with pytest.raises(Exception, match="exists; choose another"):
        store.snapshot(tmp_path / "backups" / "first")


def test_reads_are_exact_beside_appends_flushes_and_compactions(tmp_path: Path) -> None:
    """While one thread appends and another flushes and compacts, every read sees each acknowledged sample once."""
    store = open_store(tmp_path, segment_bytes=4000)
    layout = store.layout(tuple(series("x", i=str(i)) for i in range(4)))
    acknowledged = 0
    stop = threading.Event()
    failures: list[str] = []

    def keep_up() -> None:
        while not stop.is_set():
            store.flush()
            store.compact()

    def read() -> None:
        while not stop.is_set():
            before = acknowledged
            found = store.select([Matcher("i", MatchOp.EQUAL, "2")], *EVERYTHING_MS)
            times = found.times_ms.tolist()
            if len(times) < before or times != [100 * at for at in range(len(times))]:
                failures.append(f"{len(times)} samples where at least {before} were acknowledged")

    threads = [threading.Thread(target=work) for work in (keep_up, read, read)]
    for thread in threads:
        thread.start()
    try:
        for seq in range(400):
            store.append([envelope(seq, (layout, SampleMatrix(np.array([100 * seq]), np.full((4, 1), float(seq)))))])
            acknowledged += 1
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []
    store.flush()
    while store.compact():
        pass
    found = cells_of(store.select([], *EVERYTHING_MS))
    assert {len(cells) for cells in found.values()} == {400} and len(found) == 4
    assert store.stats().blocks == 4
    store.close()


def test_late_samples_are_merged_into_their_window(tmp_path: Path) -> None:
    """Back-fill lands in old windows and ends in one block each."""
    store = open_store(tmp_path)
    layout = store.layout((series("a"), series("b")))
    model = Cells()
    for seq, start in enumerate((50_000, 0, 20_000, 500, 50_500)):
        one = matrix([start, start + 100], [[seq, seq], [1, 2]], [[True, seq % 2 == 0], [True, True]])
        put(model, layout, one)
        store.append([RowsEntry((Part(layout, one),)) if seq % 2 else envelope(seq, (layout, one))])
        store.flush()
    while store.compact():
        pass
    assert store.stats().blocks == 3
    assert cells_of(store.select([], *EVERYTHING_MS)) == model
