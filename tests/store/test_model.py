"""Whatever happens, and whenever power goes: a store answers as a dictionary of cells would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from peerwatch.errors import StoreError
from peerwatch.model import EnvelopeEntry, Layout, Part, RowsEntry, SampleMatrix
from peerwatch.store.config import StoreConfig
from peerwatch.store.store import Store
from peerwatch.telemetry import CollectorRegistry
from tests.store.material import (
    EVERYTHING_MS,
    Cells,
    ManualClock,
    between,
    cells_of,
    decode,
    envelope,
    put,
    series,
)
from tests.store.memory_disk import Fault, MemoryDisk, PowerCutError

SPAN = 1000
CONFIG = StoreConfig(
    compact_span_ms=SPAN, retention_ms=4 * SPAN, segment_bytes=600, min_free_bytes=0, flush_interval_s=0.5
)
SCHEMAS = (
    (series("a", i="1"), series("a", i="2"), series("b", i="1")),
    (series("b", i="1"), series("a", i="2"), series("c")),
    (series("d"),),
)
VALUES = [0, 1, 0x3FF0000000000000, 0x4059000000000000, 0x7FF0000000000002, 0x8000000000000000, 0x3FB999999999999A]
FOLDER = Path("/store")


@st.composite
def matrices(draw: st.DrawFn, rows: int) -> SampleMatrix:
    base = draw(st.integers(0, 11)) * 500
    times = sorted(draw(st.sets(st.sampled_from([0, 1, 100, 250, 400, 499, 600, 1500]), min_size=1, max_size=4)))
    count = rows * len(times)
    values = draw(st.lists(st.sampled_from(VALUES), min_size=count, max_size=count))
    mask = draw(st.none() | st.lists(st.booleans(), min_size=count, max_size=count))
    shape = (rows, len(times))
    return SampleMatrix(
        np.array(times, np.int64) + base,
        np.array(values, np.uint64).view(np.float64).reshape(shape),
        None if mask is None else np.array(mask, np.bool_).reshape(shape),
    )


parts = st.integers(0, 2).flatmap(lambda schema: st.tuples(st.just(schema), matrices(len(SCHEMAS[schema]))))
entries = st.tuples(st.sampled_from(["envelope", "rows"]), st.lists(parts, max_size=2))
operations = st.one_of(
    st.tuples(st.just("append"), st.lists(entries, min_size=1, max_size=3)),
    st.tuples(st.just("append"), st.lists(entries, min_size=1, max_size=3)),
    st.tuples(st.just("append"), st.lists(entries, min_size=1, max_size=3)),
    st.tuples(st.sampled_from(["flush", "flush", "compact", "compact", "retain", "maintain", "reopen", "power"])),
    st.tuples(st.sampled_from(["flush", "compact"])),
    st.tuples(st.just("power_while_starting"), st.integers(1, 8)),
    st.tuples(st.just("wait"), st.integers(100, 3000)),
    st.tuples(st.just("fault"), st.integers(1, 12), st.sampled_from(["error", "full", "power", "power"])),
)


class Checked:
    """A store and the dictionary that it must equal."""

    def __init__(self, seed: int) -> None:
        self.disk = MemoryDisk(seed)
        self.clock = ManualClock(8 * SPAN)
        self.model: Cells = {}
        self.unsure: list[EnvelopeEntry | RowsEntry] = []
        self.acknowledged: set[int] = set()
        self.sent: dict[int, EnvelopeEntry] = {}
        self.seq = 0
        self.horizon = -(1 << 62)
        self.handles: dict[int, Layout] = {}
        self.only_power_failed = True
        self.store = self._open()

    def _open(self) -> Store:
        self.handles = {}
        return Store.open(
            FOLDER,
            CONFIG,
            clock=self.clock,
            decode_envelope=decode,
            registry=CollectorRegistry(),
            disk=self.disk,
        )

    def run(self, operation: tuple[Any, ...]) -> None:
        name, *arguments = operation
        try:
            getattr(self, name)(*arguments)
        except StoreError:
            pass  # refused or failed: nothing may be lost, which is checked next
        except PowerCutError:
            self.power()
        self.check()

    def append(self, described: list[tuple[str, list[tuple[int, SampleMatrix]]]]) -> None:
        group: list[EnvelopeEntry | RowsEntry] = []
        try:
            for kind, listed in described:
                named = [(self._layout(schema), m) for schema, m in listed]
                group.append(self._entry(kind, named))
            self.store.append(group)
        except BaseException:
            self.unsure += group
            raise
        for entry in group:
            self._into_model(entry)

    def _layout(self, schema: int) -> Layout:
        """Handles are kept for as long as the store is open, as a collector keeps them."""
        if schema not in self.handles:
            self.handles[schema] = self.store.layout(SCHEMAS[schema], b"origin")
        return self.handles[schema]

    def _entry(self, kind: str, named: list[tuple[Layout, SampleMatrix]]) -> EnvelopeEntry | RowsEntry:
        if kind == "rows":
            return RowsEntry(tuple(Part(layout, m) for layout, m in named))
        self.seq += 1
        self.sent[self.seq] = envelope(self.seq, *named, root=b"root" if self.seq % 3 == 0 else b"")
        return self.sent[self.seq]

    def _into_model(self, entry: EnvelopeEntry | RowsEntry) -> None:
        for part in entry.parts:
            put(self.model, part.layout, part.matrix)
        if isinstance(entry, EnvelopeEntry):
            self.acknowledged.add(entry.seq)

    def flush(self) -> None:
        self.store.flush()

    def compact(self) -> None:
        self.clock.now += 10 * SPAN  # windows are closed by the clock, which alone deletes nothing
        try:
            while self.store.compact():
                self.check()
        finally:
            self.clock.now -= 10 * SPAN

    def retain(self) -> None:
        self.store.retain()

    def maintain(self) -> None:
        self.store.maintain()

    def wait(self, step: int) -> None:
        self.clock.now += step

    def fault(self, at: int, kind: str) -> None:
        self.disk.fault = Fault(at, kind)
        self.only_power_failed &= kind == "power"

    def reopen(self) -> None:
        try:
            self.store.close()
        finally:
            self._restart()

    def power(self) -> None:
        self._restart()

    def power_while_starting(self, at: int) -> None:
        self.disk.cut_power()
        self.disk.fault = Fault(at, "power")
        try:
            self.store = self._open()
        except PowerCutError:
            self._restart()
        else:
            self.disk.fault = None
            self._settle()

    def _restart(self) -> None:
        self.disk.cut_power()
        self.store = self._open()
        self._settle()

    def _settle(self) -> None:
        """What was not acknowledged is now either there as a whole, entry by entry, or it is not."""
        found = cells_of(self.store.select([], *EVERYTHING_MS))
        self._see_horizon()
        marks = self.store.marks()
        for seq in self.acknowledged:
            assert marks.contains(b"agent-1", 1, seq), f"mark of {seq} lost"
        allowed: Cells = {one: dict(cells) for one, cells in self.model.items()}
        for entry in self.unsure:
            kept = isinstance(entry, EnvelopeEntry) and marks.contains(b"agent-1", 1, entry.seq)
            one: Cells = {}
            for part in entry.parts:
                put(one, part.layout, part.matrix)
            for labels, cells in between(one, self.horizon, 1 << 60).items():
                for time_ms, bits in cells.items():
                    here = found.get(labels, {}).get(time_ms)
                    if kept:
                        assert here is not None and here >= bits
                    if here == bits:
                        cell = allowed.setdefault(labels, {})
                        cell[time_ms] = max(cell.get(time_ms, 0), bits)
            if kept and isinstance(entry, EnvelopeEntry):
                self.acknowledged.add(entry.seq)
        assert found == between(allowed, self.horizon, 1 << 60)
        self.model, self.unsure = allowed, []

    def _see_horizon(self) -> None:
        assert self.store.horizon_ms >= self.horizon
        self.horizon = self.store.horizon_ms
        self.model = between(self.model, self.horizon, 1 << 60)

    def check(self) -> None:
        self._see_horizon()
        everything = cells_of(self.store.select([], *EVERYTHING_MS))
        assert everything == self.model
        assert not self.only_power_failed or self.store.stats().damage == 0, "a power cut is no damage"
        low, high = 300, 2600
        assert cells_of(self.store.select([], low, high)) == between(self.model, low, high)
        names = {one.metric for one in between(self.model, low, high)}
        assert names <= set(self.store.label_values("__name__", [], low, high))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1 << 30), st.lists(operations, min_size=8, max_size=25))
def test_a_store_equals_a_dictionary(seed: int, steps: list[tuple[Any, ...]]) -> None:
    """Appends in any shape and order, flush, compaction, retention, errors and power cuts at any write, restarts:
    every acknowledged cell is there exactly once, with the value that the rule says, and nothing else is."""
    checked = Checked(seed)
    for step in steps:
        checked.run(step)
    checked.disk.fault = None
    checked.run(("reopen",))
    checked.run(("flush",))
    checked.run(("compact",))
    checked.run(("reopen",))
