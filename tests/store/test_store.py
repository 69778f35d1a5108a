"""What was appended is there: at once, after a restart, and in every form a batch can have."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from peerwatch.errors import LimitError, StoreError
from peerwatch.model import STALE, Labels, Matcher, MatchOp, MetricType, Part, RowsEntry, Series
from peerwatch.store.config import StoreConfig
from peerwatch.store.store import Store
from peerwatch.telemetry import CollectorRegistry
from tests.store.material import (
    BASE_MS,
    EVERYTHING_MS,
    Cells,
    ManualClock,
    bits,
    cells_of,
    decode,
    envelope,
    matrix,
    named,
    put,
    series,
)

Opener = Callable[[], Store]


@pytest.fixture
def opened(tmp_path: Path) -> Opener:
    """Opens the same folder each time; the one before is closed first."""
    stores: list[Store] = []

    def open_store() -> Store:
        if stores:
            stores[-1].close()
        config = StoreConfig(min_free_bytes=0)
        stores.append(
            Store.open(tmp_path, config, clock=ManualClock(), decode_envelope=decode, registry=CollectorRegistry())
        )
        return stores[-1]

    return open_store


def test_an_appended_sample_is_readable_at_once_and_after_a_restart(opened: Opener) -> None:
    """Append returns, the sample is there; so it is when the store is opened again."""
    store = opened()
    layout = store.layout((series("load", host="a"), series("load", host="b")))
    store.append([envelope(1, (layout, matrix([BASE_MS, BASE_MS + 5000], [[1, 2], [3, float(STALE)]])))])
    expected = {
        Labels.of(__name__="load", host="a"): {BASE_MS: bits(1), BASE_MS + 5000: bits(2)},
        Labels.of(__name__="load", host="b"): {BASE_MS: bits(3), BASE_MS + 5000: 0x7FF0000000000002},
    }
    assert cells_of(store.select(named("load"), *EVERYTHING_MS)) == expected
    again = opened()
    assert cells_of(again.select(named("load"), *EVERYTHING_MS)) == expected
    assert again.marks().contains(b"agent-1", 1, 1)
    assert again.layout(layout.series).id == layout.id


def test_rows_survive_a_restart(opened: Opener) -> None:
    """Rows without an envelope are as durable as envelopes, absent cells stay absent."""
    store = opened()
    layout = store.layout((series("up", host="a"), series("up", host="b")))
    rows = matrix([1, 2], [[1, 2], [3, 4]], [[True, False], [False, True]])
    store.append([RowsEntry((Part(layout, rows),))])
    expected = {Labels.of(__name__="up", host="a"): {1: bits(1)}, Labels.of(__name__="up", host="b"): {2: bits(4)}}
    assert cells_of(store.select(named("up"), *EVERYTHING_MS)) == expected
    assert cells_of(opened().select(named("up"), *EVERYTHING_MS)) == expected


def test_of_two_values_for_a_cell_the_larger_bit_pattern_stays_in_any_order(opened: Opener) -> None:
    """Conflicts are settled alike whichever came first; the same value again changes nothing."""
    store = opened()
    layout = store.layout((series("x"),))
    model: Cells = {}
    ticks = [([10, 20], [[1.0, -1.0]]), ([20, 30], [[5.0, np.nan]]), ([5, 10], [[-0.0, 1.0]]), ([30], [[np.inf]])]
    for seq, (times, values) in enumerate(ticks):
        one = matrix(times, values)
        put(model, layout, one)
        store.append([envelope(seq, (layout, one))])
        assert cells_of(store.select(named("x"), *EVERYTHING_MS)) == model
    assert cells_of(opened().select(named("x"), *EVERYTHING_MS)) == model


def test_a_series_in_two_layouts_is_one_series(opened: Opener) -> None:
    """A schema change does not split a series, and its ranges do not hide each other."""
    store = opened()
    first = store.layout((series("a"), series("b")))
    second = store.layout((series("b"), series("c")))
    store.append([envelope(1, (first, matrix([1, 3], [[1, 3], [10, 30]])))])
    store.append([envelope(2, (second, matrix([2, 3], [[20, 31], [2, 3]])))])
    assert cells_of(store.select(named("b"), *EVERYTHING_MS)) == {
        Labels.of(__name__="b"): {1: bits(10), 2: bits(20), 3: bits(31)}
    }


def test_who_knows_nothing_of_a_metric_does_not_overrule_who_does(opened: Opener) -> None:
    """Remote write 1.0 sends series without a meaning; what an agent said of the metric stays."""
    store = opened()
    labels = Labels.of(__name__="m")
    known = (MetricType.COUNTER, "How many.", "")
    store.layout((Series(labels, *known),))
    store.layout((Series(labels.with_({"job": "x"})),))
    assert store.metadata() == {"m": known}
    store.layout((Series(labels, MetricType.COUNTER, "How often.", ""),))
    assert store.metadata() == {"m": (MetricType.COUNTER, "How often.", "")}


def test_a_read_is_bounded_by_time_and_by_samples(opened: Opener) -> None:
    """Both ends are inclusive; one sample too many is a LimitError."""
    store = opened()
    layout = store.layout((series("x"),))
    store.append([envelope(1, (layout, matrix([1, 2, 3, 4], [[1, 2, 3, 4]])))])
    assert cells_of(store.select(named("x"), 2, 3, max_samples=2)) == {
        Labels.of(__name__="x"): {2: bits(2), 3: bits(3)}
    }
    with pytest.raises(LimitError, match="more than 1 samples"):
        store.select(named("x"), 2, 3, max_samples=1)


def test_labels_are_found_by_matchers(opened: Opener) -> None:
    """Label values and names are those of the series that match; an absent label is the empty string."""
    store = opened()
    layout = store.layout((series("cpu", mode="user", host="a"), series("cpu", mode="idle", host="b"), series("up")))
    store.append([envelope(1, (layout, matrix([BASE_MS], [[1], [2], [3]])))])
    everything = (0, BASE_MS)
    assert store.label_values("mode", [], *everything) == ["idle", "user"]
    assert store.label_values("mode", [Matcher("host", MatchOp.REGEX, "a|c")], *everything) == ["user"]
    assert store.label_values("__name__", [Matcher("mode", MatchOp.EQUAL, "")], *everything) == ["up"]
    assert store.label_names(named("cpu"), *everything) == ["__name__", "host", "mode"]
    assert store.label_names(named("up"), *everything) == ["__name__"]
    assert store.label_names(named("up"), 0, BASE_MS - 1) == []
    assert store.series([Matcher("host", MatchOp.NOT_EQUAL, "")], *everything) == [
        Labels.of(__name__="cpu", host="a", mode="user"),
        Labels.of(__name__="cpu", host="b", mode="idle"),
    ]
    assert store.metadata()["cpu"] == (MetricType.GAUGE, "help of cpu", "")


def test_a_second_process_is_refused(opened: Opener, tmp_path: Path) -> None:
    """Two writers would damage each other's files: the second one is told who has them."""
    opened()
    with pytest.raises(StoreError, match="in use by another peerwatch"):
        Store.open(tmp_path, StoreConfig(), clock=ManualClock(), decode_envelope=decode, registry=CollectorRegistry())
