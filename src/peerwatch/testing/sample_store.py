"""MemorySampleStore: a store that is plain enough to be obviously right, and can be told to fail."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from peerwatch.errors import DiskFullError, StoreError
from peerwatch.model import EnvelopeEntry, Labels, Layout, Marks, Part, RowsEntry, Series

Cells = dict[Labels, dict[int, int]]
"""Labels -> time in ms -> the bits of the value, so that NaN payloads and -0.0 can be told apart."""


class MemorySampleStore:
    """What the collector needs of a store, as a dictionary. Mutable; owned by the test that made it.

    Unbounded unless `max_cells` is given: past it `append` raises DiskFullError and stores nothing. `appends` holds the
    number of entries of every append that was tried; `envelopes` how often each number was stored; `contexts` what
    came as their context.
    """

    def __init__(self, *, max_cells: int | None = None, horizon_ms: int = 0) -> None:
        self.cells: Cells = {}
        self.envelopes: dict[tuple[bytes, int, int], int] = {}
        self.run_roots: list[bytes] = []
        self.contexts: dict[bytes, bytes] = {}
        self.origins: list[bytes] = []
        self.appends: list[int] = []
        self.layouts_made = 0
        self.horizon_ms = horizon_ms
        self._max_cells = max_cells
        self._marks = Marks()
        self._ids: dict[Labels, int] = {}
        self._layouts: dict[tuple[tuple[Series, ...], bytes], Layout] = {}
        self._failures: list[Exception] = []
        self._layout_failures: list[Exception] = []
        self._gate = threading.Event()
        self._gate.set()

    # --- orders to the fake

    def fail(self, error: Exception | None = None, times: int = 1) -> None:
        """The next `times` appends raise this (a StoreError by default) and store nothing."""
        self._failures += [error or StoreError("the disk does not answer")] * times

    def mend(self) -> None:
        """Appends work again, whatever was ordered."""
        self._failures = []

    def fail_layout(self, error: Exception | None = None, times: int = 1) -> None:
        """The next `times` new layouts raise this."""
        self._layout_failures += [error or StoreError("the dictionary cannot be written")] * times

    def pause(self) -> None:
        """Appends wait until `resume`, as on a disk that is busy."""
        self._gate.clear()

    def resume(self) -> None:
        """Waiting appends go on."""
        self._gate.set()

    # --- SampleStore

    def layout(self, series: tuple[Series, ...], origin: bytes = b"") -> Layout:
        """See SampleStore."""
        known = self._layouts.get((series, origin))
        if known is not None:
            return known
        if self._layout_failures:
            raise self._layout_failures.pop(0)
        ids = np.array([self._ids.setdefault(one.labels, len(self._ids)) for one in series], np.int64)
        self.layouts_made += 1
        self.origins.append(origin)
        made = self._layouts[(series, origin)] = Layout(self.layouts_made, series, ids)
        return made

    def append(self, entries: Sequence[EnvelopeEntry | RowsEntry]) -> None:
        """See SampleStore."""
        self._gate.wait(10)
        self.appends.append(len(entries))
        if self._failures:
            raise self._failures.pop(0)
        self._refuse_if_full(entries)
        for entry in entries:
            for part in entry.parts:
                self._put(part)
            if isinstance(entry, EnvelopeEntry):
                self._note(entry)

    def marks(self) -> Marks:
        """See SampleStore."""
        return self._marks.copy()

    def close_epochs(self, sender: bytes, below: int) -> None:
        """See SampleStore."""
        self._marks.close_below(sender, below)

    # --- reading, for tests

    def layouts(self) -> list[Layout]:
        """Every layout made, in order."""
        return list(self._layouts.values())

    def samples(self, labels: Labels) -> dict[int, float]:
        """The values of one series by time."""
        bits = list(self.cells.get(labels, {}).items())  # at once: a store's thread may be adding to it
        return {time_ms: float(np.uint64(value).view(np.float64)) for time_ms, value in bits}

    @property
    def cell_count(self) -> int:
        """Samples held."""
        return sum(len(times) for times in self.cells.values())

    def _refuse_if_full(self, entries: Sequence[EnvelopeEntry | RowsEntry]) -> None:
        coming = sum(part.matrix.sample_count for entry in entries for part in entry.parts)
        if self._max_cells is not None and self.cell_count + coming > self._max_cells:
            raise DiskFullError(f"store: {self.cell_count + coming} samples, limit {self._max_cells}")

    def _put(self, part: Part) -> None:
        matrix = part.matrix
        if len(part.layout.series) != len(matrix.values):
            raise ValueError(f"matrix of {len(matrix.values)} rows for {len(part.layout.series)} series")
        for row, series in enumerate(part.layout.series):
            times = self.cells.setdefault(series.labels, {})
            for tick, time_ms in enumerate(matrix.times_ms.tolist()):
                if matrix.presence is None or matrix.presence[row, tick]:
                    bits = int(matrix.values[row, tick].view(np.uint64))
                    times[time_ms] = max(bits, times.get(time_ms, 0))  # design.md 5: the larger pattern wins

    def _note(self, entry: EnvelopeEntry) -> None:
        self.contexts.update(entry.context)
        number = (entry.sender, entry.epoch, entry.seq)
        self.envelopes[number] = self.envelopes.get(number, 0) + 1
        self._marks.add(*number)
        if entry.run_root:
            self.run_roots.append(entry.run_root)
