"""Histograms and start timestamps in the store: through WAL, blocks, restarts; their parts are not seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerwatch.errors import LimitError
from peerwatch.model import KEY_BIAS, Labels, Matcher, MatchOp, MetricType, Part, RowsEntry, SampleMatrix, Series
from peerwatch.model.parts import PART
from peerwatch.store.config import StoreConfig
from peerwatch.store.store import Store
from peerwatch.telemetry import CollectorRegistry
from tests.model.native import MARKER, NATIVES, Native, Stored, bits, stored, told
from tests.store.material import BASE_MS, EVERYTHING_MS, ManualClock, decode, named

H, M = Labels.of(__name__="h", job="a"), Labels.of(__name__="m", job="a")
ALL = [Matcher("__name__", MatchOp.REGEX, ".+")]
SAMPLES = st.one_of(NATIVES, st.floats(allow_nan=False))
STEPS = st.sampled_from(["nothing", "flush", "compact", "reopen"])
Story = dict[tuple[Labels, int], tuple[float | Native, int]]
Opener = Callable[[], Store]


def opener(folder: Path) -> Opener:
    """Opens the same folder each time; the one before is closed first."""
    stores: list[Store] = []

    def open_store() -> Store:
        if stores:
            stores[-1].close()
        config = StoreConfig(min_free_bytes=0)
        stores.append(
            Store.open(folder, config, clock=ManualClock(), decode_envelope=decode, registry=CollectorRegistry())
        )
        return stores[-1]

    return open_store


def write(store: Store, cells: Stored) -> None:
    """These cells, one layout for each series."""
    parts = []
    for labels, own in cells.items():
        layout = store.layout((Series(labels, MetricType.HISTOGRAM, "", ""),))
        times = sorted(own)
        values = np.array([[own[at] for at in times]], np.uint64).view(np.float64)
        parts.append(Part(layout, SampleMatrix(np.array(times, np.int64), values, None)))
    store.append([RowsEntry(tuple(parts))])


def flat(story: Story) -> list[tuple[Labels, int, float | Native, int]]:
    return [(labels, at, *sample) for (labels, at), sample in story.items()]


def expected(story: Story) -> dict[Labels, dict[int, tuple[object, int]]]:
    found: dict[Labels, dict[int, tuple[object, int]]] = {}
    for labels, at, sample, start in flat(story):
        found.setdefault(labels, {})[at] = (sample.told if isinstance(sample, Native) else bits(sample), start)
    return found


PLACES = st.tuples(st.sampled_from([H, M]), st.integers(0, 400).map(lambda at: BASE_MS + at * 60_000))
STORIES = st.dictionaries(PLACES, st.tuples(SAMPLES, st.sampled_from([0, BASE_MS - 5])), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None)
@given(steps=st.lists(st.tuples(STORIES, STEPS), min_size=1, max_size=5))
def test_what_was_written_is_read_whatever_happened_meanwhile(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[Story, str]]
) -> None:
    """From memory, WAL, blocks, compacted blocks, and any mixture."""
    open_store = opener(tmp_path_factory.mktemp("store"))
    store = open_store()
    whole: Story = {}
    for story, step in steps:
        fresh = {place: sample for place, sample in story.items() if place not in whole}
        whole |= fresh
        if fresh:
            write(store, stored(flat(fresh)))
        if step == "flush":
            store.flush()
        elif step == "compact":
            store.flush()
            while store.compact():
                pass
        elif step == "reopen":
            store = open_store()
        assert told(store.select(ALL, *EVERYTHING_MS)) == expected(whole)
    middle = BASE_MS + 200 * 60_000
    late = {place: sample for place, sample in whole.items() if place[1] >= middle}
    assert told(store.select(ALL, middle, EVERYTHING_MS[1])) == expected(late)
    store.close()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A histogram with its start, and a number with one."""
    one = opener(tmp_path)()
    native = Native(3, 0, 5.0, 1.0, buckets=((KEY_BIAS, 2.0), (KEY_BIAS + 1, 3.0)))
    write(one, stored([(H, 1000, native, 7), (M, 1000, 1.0, 7), (H, 2000, MARKER, 0)]))
    return one


def test_parts_are_seen_by_nobody(store: Store) -> None:
    """A histogram is one series, with the labels that it came with."""
    assert store.series((), *EVERYTHING_MS) == [H, M]
    assert store.label_names((), *EVERYTHING_MS) == ["__name__", "job"]
    assert store.label_values(PART, (), *EVERYTHING_MS) == []
    assert store.label_values("job", named("h"), *EVERYTHING_MS) == ["a"]
    assert sorted(store.metadata()) == ["h", "m"]
    assert list(store.select(ALL, *EVERYTHING_MS).labels) == [H, M]


@pytest.mark.parametrize(
    ("op", "value", "found"),
    [
        (MatchOp.EQUAL, "", True),
        (MatchOp.NOT_EQUAL, "count", True),
        (MatchOp.EQUAL, "count", False),
        (MatchOp.REGEX, ".+", False),
        (MatchOp.NOT_REGEX, "p.*", True),
    ],
)
def test_a_matcher_sees_no_part(store: Store, op: MatchOp, value: str, found: bool) -> None:
    """For matchers the label is absent everywhere."""
    matchers = [*ALL, Matcher(PART, op, value)]
    assert store.series(matchers, *EVERYTHING_MS) == ([H, M] if found else [])
    assert list(store.select(matchers, *EVERYTHING_MS).labels) == ([H, M] if found else [])


def test_parts_count_for_the_limit_of_a_read(store: Store) -> None:
    """What is read is what is held in memory."""
    assert len(store.select(named("h"), *EVERYTHING_MS, max_samples=7).values) == 2
    with pytest.raises(LimitError, match="more than 6 samples"):
        store.select(named("h"), *EVERYTHING_MS, max_samples=6)
