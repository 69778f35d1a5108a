"""Native histograms for tests, one object each, and what a store would find of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from peerwatch.model import CUSTOM_SCHEMA, KEY_BIAS, STALE, Histograms, Labels, SeriesSet
from peerwatch.model.histograms import offsets_of
from peerwatch.model.parts import names_of, part_of, split

Bits = int
"""A float64, so that NaN payloads and -0.0 can be told apart."""


def bits(value: float) -> Bits:
    return int(np.float64(value).view(np.uint64))


@dataclass(frozen=True, slots=True)
class Native:
    """One histogram. buckets: key -> count. bounds: None for exponential schemas. A stale marker is `MARKER`."""

    schema: int = 0
    hint: int = 0
    count: float = 0.0
    sum: float = 0.0
    zero: float = 0.0
    width: float = 0.0
    buckets: tuple[tuple[int, float], ...] = ()
    bounds: tuple[float, ...] | None = None

    @property
    def told(self) -> tuple[object, ...]:
        """Everything, floats as bits."""
        real = tuple(map(bits, (self.count, self.sum, self.zero, self.width)))
        inside = tuple((key, bits(count)) for key, count in self.buckets)
        return self.schema, self.hint, real, inside, None if self.bounds is None else tuple(map(bits, self.bounds))


MARKER = Native(sum=float(STALE))


def column(natives: Sequence[Native]) -> Histograms:
    """All of them in columns."""
    bounds = list(dict.fromkeys(one.bounds for one in natives if one.bounds is not None))
    real = {
        name: np.array([getattr(one, name) for one in natives], np.float64)
        for name in ("count", "sum", "zero", "width")
    }
    return Histograms(
        np.array([one.schema for one in natives], np.int64),
        np.array([one.hint for one in natives], np.int64),
        real["count"],
        real["sum"],
        real["zero"],
        real["width"],
        offsets_of(np.array([len(one.buckets) for one in natives], np.int64)),
        np.array([key for one in natives for key, _ in one.buckets], np.int64),
        np.array([count for one in natives for _, count in one.buckets], np.float64),
        np.array([-1 if one.bounds is None else bounds.index(one.bounds) for one in natives], np.int64),
        tuple(bounds),
    )


def natives(found: Histograms) -> list[Native]:
    """The way back."""
    return [_native(found, at) for at in range(len(found))]


def _native(found: Histograms, at: int) -> Native:
    part = slice(int(found.offsets[at]), int(found.offsets[at + 1]))
    bounds = int(found.bounds_of[at])
    return Native(
        int(found.schemas[at]),
        int(found.hints[at]),
        float(found.counts[at]),
        float(found.sums[at]),
        float(found.zero_counts[at]),
        float(found.zero_widths[at]),
        tuple(zip(found.keys[part].tolist(), found.buckets[part].tolist(), strict=True)),
        found.bounds[bounds] if bounds >= 0 else None,
    )


Sample = tuple[float | Native, int]
"""(a number or a histogram, its start timestamp in ms or 0)."""
Story = Mapping[Labels, Mapping[int, Sample]]
Stored = dict[Labels, dict[int, Bits]]


def stored(story: Iterable[tuple[Labels, int, float | Native, int]]) -> Stored:
    """The cells of a store that got these samples (labels, time, sample, start)."""
    cells: Stored = {}

    def put(labels: Labels, time_ms: int, value: float) -> None:
        own = cells.setdefault(labels, {})
        own[time_ms] = max(own.get(time_ms, 0), bits(value))

    for labels, time_ms, sample, start_ms in story:
        if isinstance(sample, Native):
            pieces = split(column([sample]), np.array([start_ms]))
            for name, value in zip(names_of(pieces.shapes[0]), pieces.values.tolist(), strict=True):
                put(part_of(labels, name), time_ms, value)
        else:
            put(labels, time_ms, sample)
            if start_ms:
                put(part_of(labels, "start"), time_ms, float(start_ms))
    return cells


def series_set(cells: Stored, start_ms: int = -(1 << 60), end_ms: int = 1 << 60) -> SeriesSet:
    """What the store finds in [start_ms, end_ms], parts and all."""
    cut = {labels: {t: v for t, v in sorted(own.items()) if start_ms <= t <= end_ms} for labels, own in cells.items()}
    rows = [(labels, own) for labels, own in sorted(cut.items()) if own]
    return SeriesSet(
        [labels for labels, _ in rows],
        np.array([t for _, own in rows for t in own], np.int64),
        np.array([v for _, own in rows for v in own.values()], np.uint64).view(np.float64),
        offsets_of(np.array([len(own) for _, own in rows], np.int64)),
    )


def told(found: SeriesSet) -> dict[Labels, dict[int, tuple[object, int]]]:
    """Every sample of an answer: the bits of a number or all of a histogram, and the start timestamp."""
    assert list(found.labels) == sorted(set(found.labels))
    answer: dict[Labels, dict[int, tuple[object, int]]] = {}
    which = found.histograms.which.tolist() if found.histograms else [-1] * len(found.values)
    column_ = natives(found.histograms.column) if found.histograms else []
    starts = found.starts_ms.tolist() if found.starts_ms is not None else [0] * len(found.values)
    values = found.values.view(np.uint64).tolist()
    assert len(values) == len(found.times_ms) == len(which) == len(starts) == int(found.offsets[-1])
    for row, labels in enumerate(found.labels):
        at = range(int(found.offsets[row]), int(found.offsets[row + 1]))
        times = found.times_ms[at.start : at.stop].tolist()
        assert times == sorted(set(times))
        own = [column_[which[i]].told if which[i] >= 0 else values[i] for i in at]
        answer[labels] = {t: (one, starts[i]) for t, one, i in zip(times, own, at, strict=True)}
    return answer


COUNTS = st.one_of(st.integers(1, 1 << 40).map(float), st.floats(0, 1e12, exclude_min=True), st.just(float("nan")))
REALS = st.floats(allow_nan=True)
HINTS = st.integers(0, 3)


def _bucket_dicts(keys: st.SearchStrategy[int]) -> st.SearchStrategy[tuple[tuple[int, float], ...]]:
    return st.dictionaries(keys, COUNTS, max_size=6).map(lambda found: tuple(sorted(found.items())))


_SIDES = st.tuples(st.integers(-9, 9), st.sampled_from((1, -1))).map(lambda one: one[1] * (one[0] + KEY_BIAS))


@st.composite
def exponential(draw: st.DrawFn) -> Native:
    """A histogram of an exponential schema, counts not checked."""
    zero = draw(st.one_of(st.just(0.0), COUNTS))
    width = draw(st.sampled_from((0.0, 2.938735877055719e-39, 0.5)))
    return Native(
        draw(st.integers(-4, 8)), draw(HINTS), draw(COUNTS), draw(REALS), zero, width, draw(_bucket_dicts(_SIDES))
    )


@st.composite
def custom(draw: st.DrawFn) -> Native:
    """A histogram of custom bounds."""
    bounds = tuple(sorted(draw(st.sets(st.sampled_from((-1.5, 0.0, 0.1, 1e300, 5e-324, 2.0)), max_size=5))))
    buckets = draw(_bucket_dicts(st.integers(KEY_BIAS, KEY_BIAS + len(bounds))))
    return Native(CUSTOM_SCHEMA, draw(HINTS), draw(COUNTS), draw(REALS), buckets=buckets, bounds=bounds)


NATIVES = st.one_of(exponential(), custom(), st.just(MARKER))
