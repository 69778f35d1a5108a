"""What the wire tests feed on: any matrix, any series, any batch."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from peerwatch.model import Batch, BatchBlock, Labels, MetricType, SampleMatrix, Series

BITS = st.one_of(
    st.integers(0, 2**64 - 1),
    st.floats(allow_nan=True).map(lambda v: int(np.float64(v).view(np.uint64))),
    st.integers(-(10**6), 10**6).map(lambda v: int(np.float64(v / 100).view(np.uint64))),
    st.sampled_from([0x8000000000000000, 0x7FF0000000000002, 0x7FF8000000000001, 0x7FF0000000000000]),
)


@st.composite
def values(draw: st.DrawFn, max_rows: int = 6, max_ticks: int = 6) -> np.ndarray:
    """A float64 matrix of any bit patterns."""
    rows, ticks = draw(st.integers(1, max_rows)), draw(st.integers(1, max_ticks))
    bits = draw(hnp.arrays(np.uint64, (rows, ticks), elements=BITS))
    return bits.view(np.float64)


@st.composite
def matrices(draw: st.DrawFn) -> SampleMatrix:
    """A matrix with rising times and perhaps holes (whose value is 0.0, as a decoder leaves it)."""
    cells = draw(values())
    rows, ticks = cells.shape
    times = draw(st.lists(st.integers(0, 2**45), min_size=ticks, max_size=ticks, unique=True).map(sorted))
    presence = draw(st.none() | hnp.arrays(np.bool_, (rows, ticks)))
    if presence is not None:
        cells = np.where(presence, cells, 0.0)
        presence = None if presence.all() else presence
    return SampleMatrix(np.array(times, np.int64), cells, presence)


WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).filter(lambda word: word[0] != "\0")
"""Names of labels, too: those that begin with a NUL are reserved."""


@st.composite
def series_lists(draw: st.DrawFn, count: int) -> tuple[Series, ...]:
    """`count` distinct series."""
    out = []
    for row in range(count):
        extra = draw(st.dictionaries(WORDS.filter(lambda w: w not in ("__name__", "row")), WORDS, max_size=3))
        labels = Labels.of({**extra, "__name__": draw(WORDS), "row": str(row)})
        out.append(
            Series(
                labels,
                draw(st.sampled_from(MetricType)),
                draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=5)),
                "",
            )
        )
    return tuple(out)


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    """One to three blocks."""
    blocks = []
    for _ in range(draw(st.integers(1, 3))):
        matrix = draw(matrices())
        series = draw(series_lists(len(matrix.values)))
        blocks.append(
            BatchBlock(
                series,
                matrix,
                draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=4)),
                draw(st.text(max_size=4)),
            )
        )
    return Batch(tuple(blocks))


def same_matrix(left: SampleMatrix, right: SampleMatrix) -> bool:
    """Equal bit for bit, presence included."""
    return (
        np.array_equal(left.times_ms, right.times_ms)
        and np.array_equal(left.values.view(np.uint64), np.ascontiguousarray(right.values).view(np.uint64))
        and (left.presence is None) == (right.presence is None)
        and (left.presence is None or right.presence is None or np.array_equal(left.presence, right.presence))
    )
