"""A head answers as a dictionary of cells would, whatever waits in it packed or late."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from peerwatch.model import Int64Array, Matrix
from peerwatch.store.cells import Columns
from peerwatch.store.head import LayoutHead
from tests.store.material import matrix, packed

ROWS = 2
Cells = dict[tuple[int, int], int]


def cells(columns: Columns) -> Cells:
    """(time, row) -> bit pattern; fails when times do not rise."""
    times: Int64Array = columns.times_ms
    assert (times[1:] > times[:-1]).all()
    patterns = np.ascontiguousarray(columns.values).view(np.uint64)
    return {
        (time_ms, row): int(patterns[tick, row])
        for tick, time_ms in enumerate(times.tolist())
        for row in range(ROWS)
        if columns.presence is None or columns.presence[tick, row]
    }


@st.composite
def batches(draw: st.DrawFn) -> list[Matrix]:
    """Mostly one after the other and without gaps, as agents report."""
    made: list[Matrix] = []
    now_ms = 0
    for _ in range(draw(st.integers(1, 30))):
        ticks = draw(st.sampled_from([1, 2, 2, 2, 3]))
        start = now_ms if draw(st.integers(0, 9)) else max(0, now_ms - draw(st.integers(1, 60)))
        times = [start + 10 * tick for tick in range(ticks)]
        now_ms = max(now_ms, times[-1] + 10)
        values = draw(st.lists(st.sampled_from([0.0, 1.5, -2.0, 1e300]), min_size=ROWS * ticks, max_size=ROWS * ticks))
        holes = draw(st.lists(st.booleans(), min_size=ROWS * ticks, max_size=ROWS * ticks)) if now_ms % 7 == 0 else None
        shaped = None if holes is None else np.reshape(holes, (ROWS, ticks))
        plain = matrix(times, np.reshape(values, (ROWS, ticks)), shaped)
        made.append(packed(plain) if draw(st.integers(0, 9)) else plain)
    return made


@given(batches(), st.data())
def test_a_head_equals_a_dictionary(made: list[Matrix], data: st.DataObject) -> None:
    """Looked at now and then by readers, whose view stays what it was, and at the end by the flush."""
    head = LayoutHead(np.arange(ROWS))
    model: Cells = {}
    views = []
    for one in made:
        head.upsert(one)
        patterns = np.ascontiguousarray(one.values).view(np.uint64)
        for tick, time_ms in enumerate(one.times_ms.tolist()):
            for row in range(ROWS):
                if one.presence is None or one.presence[row, tick]:
                    model[time_ms, row] = max(model.get((time_ms, row), 0), int(patterns[row, tick]))
        times = [time_ms for time_ms, _ in model] or [one.times_ms.item(0)]
        assert head.first_ms <= min(times) and head.last_ms >= max(times)
        if data.draw(st.integers(0, 4)) == 0:
            views.append((head.view(), dict(model)))
    for view, then in views:
        assert cells(view.columns()) == then
    assert cells(head.columns()) == model


def test_batches_wait_packed_and_count_their_bytes() -> None:
    """Seven wait; the eighth has all of them unpacked."""
    head = LayoutHead(np.arange(ROWS))
    sizes = []
    for at in range(8):
        head.upsert(packed(matrix([10 * at], [[1.0], [2.0]])))
        sizes.append(head.size_bytes)
        assert len(head.view().packed) == (at + 1) % 8
    waiting = [b - a for a, b in pairwise(sizes[:7])]
    assert waiting == [8 + 8 * ROWS] * 6  # as if they were unpacked already
    assert sizes[7] == 8 * 8 + 8 * 8 * ROWS
