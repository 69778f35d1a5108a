"""Power may go at any single operation of any piece of upkeep: nothing is lost, nothing is there twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from peerwatch.errors import StoreError
from peerwatch.store.config import StoreConfig
from peerwatch.store.store import Store
from peerwatch.telemetry import CollectorRegistry
from tests.store.material import (
    EVERYTHING_MS,
    Cells,
    ManualClock,
    cells_of,
    decode,
    envelope,
    matrix,
    put,
    series,
    stored_origins,
)
from tests.store.memory_disk import Fault, MemoryDisk, PowerCutError

FOLDER = Path("/store")
SPAN = 1000
CHECKPOINT = FOLDER / "checkpoint"


def open_store(disk: MemoryDisk) -> Store:
    return Store.open(
        FOLDER,
        StoreConfig(compact_span_ms=SPAN, min_free_bytes=0, segment_bytes=500),
        clock=ManualClock(1000 * SPAN),
        decode_envelope=decode,
        registry=CollectorRegistry(),
        disk=disk,
    )


def filled(seed: int) -> tuple[MemoryDisk, Store, Cells]:
    """Three windows, blocks in each, and a head that touches all three."""
    disk, model = MemoryDisk(seed), Cells()
    store = open_store(disk)
    layout = store.layout((series("a"), series("b")))
    for seq in range(9):
        times = sorted({seq * 300, seq * 300 + 50, seq * 700 % 2700 + 7})
        one = matrix(times, [[seq] * len(times), [-seq] * len(times)])
        put(model, layout, one)
        store.append([envelope(seq, (layout, one), root=b"r")])
        if seq in (2, 5):
            store.flush()
    return disk, store, model


def compact_all(store: Store) -> None:
    while store.compact():
        pass


def flush_then_compact(store: Store) -> None:
    store.flush()
    compact_all(store)


WORK: list[Callable[[Store], object]] = [flush_then_compact, Store.close]


@pytest.mark.parametrize("work", WORK, ids=lambda work: str(work.__name__))
@pytest.mark.parametrize("kind", ["power", "error"])
def test_power_may_go_at_any_operation(work: Callable[[Store], object], kind: str) -> None:
    """For each operation on the disk, and several fates of what was not yet synced: all cells, all marks, also when
    the checkpoint is lost, also after the work is done once more."""
    for at in range(1, 200):
        done = True
        for seed in range(2 if kind == "power" else 1):
            disk, store, model = filled(seed * 1000 + at)
            disk.fault = Fault(at, kind)
            try:
                work(store)
            except PowerCutError:
                done = False
            except StoreError:
                done = False
                store.flush()  # tried again, it works, and what the failure left behind is replaced
            done = done and disk.fault is not None
            disk.cut_power()
            if seed % 2 and CHECKPOINT in disk.files():
                disk.unlink(CHECKPOINT)
            check(disk, model)
        if done:
            return
    raise AssertionError("more than 200 operations")


def check(disk: MemoryDisk, model: Cells) -> None:
    store = open_store(disk)
    assert store.stats().samples == sum(map(len, model.values()))
    for again in (lambda: None, store.flush, lambda: compact_all(store)):
        again()
        assert cells_of(store.select([], *EVERYTHING_MS)) == model
    assert [list(runs) for _, _, runs in store.marks()] == [[(0, 8)]]
    rows, roots = stored_origins(FOLDER, disk)
    assert {row.seq for row in rows} == {root.seq for root in roots} == set(range(9))
    assert store.stats().samples == sum(map(len, model.values()))
    assert store.stats().damage == 0


def test_a_torn_tail_is_cut_once_and_for_all() -> None:
    """The unfinished end of a log is neither read nor taken for damage, also when further segments follow it."""
    for seed in range(20):
        disk = MemoryDisk(seed)
        store = open_store(disk)
        layout = store.layout((series("a"),))
        store.append([envelope(1, (layout, matrix([1], [[1]])))])
        disk.fault = Fault(1, "power")
        with pytest.raises(PowerCutError):
            store.append([envelope(2, (layout, matrix([2], [[1]])))])
        disk.cut_power()
        store = open_store(disk)
        unsure = len(store.select([], *EVERYTHING_MS).values)
        store.append([envelope(3, (store.layout((series("a"),)), matrix([3], [[1]])))])
        disk.cut_power()
        store = open_store(disk)
        assert len(store.select([], *EVERYTHING_MS).values) == unsure + 1
        assert store.stats().damage == 0
