"""Reads of long runs: over blocks, tiles with gaps, several targets and the head, cut anywhere, each sample once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from peerwatch.errors import LimitError
from peerwatch.model import Matcher, MatchOp, SampleMatrix, SeriesSet
from peerwatch.store.config import StoreConfig
from peerwatch.store.found_cache import Found, FoundCache
from peerwatch.store.store import Store
from peerwatch.telemetry import CollectorRegistry
from tests.store.material import (
    BASE_MS,
    EVERYTHING_MS,
    HOUR_MS,
    Cells,
    ManualClock,
    between,
    cells_of,
    decode,
    envelope,
    put,
    series,
)

_ANY = [Matcher("__name__", MatchOp.REGEX, ".+")]


def _filled(folder: Path) -> tuple[Store, Cells]:
    """Three targets of 40 series, a sample in 15 s for 5 h, the end in memory; all but the first with gaps and with
    samples that come twice."""
    clock = ManualClock()
    store = Store.open(folder, StoreConfig(), clock=clock, decode_envelope=decode, registry=CollectorRegistry())
    random, model, seq = np.random.default_rng(7), Cells(), 0
    layouts = [store.layout(tuple(series(f"m{n}", host=f"h{host}") for n in range(40))) for host in range(3)]
    for start_ms in range(BASE_MS, BASE_MS + 5 * HOUR_MS, HOUR_MS // 2):
        for host, layout in enumerate(layouts):
            times = start_ms + np.arange(0, HOUR_MS // 2 + min(host, 1) * 30_000, 15_000, dtype=np.int64) + host
            values = random.integers(0, 1000, (40, len(times))).astype(np.float64)
            presence = None if host == 0 else random.random(values.shape) > 0.1 * host
            if presence is not None:
                presence[:20] = True
            seq += 1
            part = SampleMatrix(times, values, presence)
            put(model, layout, part)
            store.append([envelope(seq, (layout, part))])
        if start_ms < BASE_MS + 4 * HOUR_MS:
            store.flush()
    return store, model


def _same_times(found: SeriesSet) -> None:
    """Where timelines are told, equal numbers stand for equal times."""
    assert found.timelines is not None
    leaders: dict[int, list[int]] = {}
    for at, timeline in enumerate(found.timelines.tolist()):
        times = found.times_ms[found.offsets[at] : found.offsets[at + 1]].tolist()
        assert leaders.setdefault(timeline, times) == times


@pytest.mark.parametrize("widths", [0, 10_000])
def test_long_reads_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, widths: int) -> None:
    """Whichever way runs are copied, before and after compaction, of all series or of one."""
    monkeypatch.setattr("peerwatch.store.strip._MANY_WIDTHS", widths)
    store, model = _filled(tmp_path)
    for _ in range(2):
        for start_ms, end_ms in (
            EVERYTHING_MS,
            (BASE_MS + 7 * 60_000 + 1, BASE_MS + 4 * HOUR_MS + 3),
            (BASE_MS + 3 * HOUR_MS, BASE_MS + 3 * HOUR_MS + 1),
            (BASE_MS + 20_000, BASE_MS + 20_001),
        ):
            assert cells_of(store.select(_ANY, start_ms, end_ms)) == between(model, start_ms, end_ms)
            one = [Matcher("host", MatchOp.EQUAL, "h2"), Matcher("__name__", MatchOp.REGEX, "m3.*")]
            wanted = {
                labels: cells
                for labels, cells in between(model, start_ms, end_ms).items()
                if labels.get("host") == "h2" and labels.metric.startswith("m3")
            }
            assert cells_of(store.select(one, start_ms, end_ms)) == wanted
        while store.compact():
            pass
    store.close()


def test_one_series_in_a_block_and_many_in_memory(tmp_path: Path) -> None:
    """Each is answered."""
    store = Store.open(
        tmp_path, StoreConfig(), clock=ManualClock(), decode_envelope=decode, registry=CollectorRegistry()
    )
    model = Cells()
    for number, size in enumerate((1, 40)):
        layout = store.layout(tuple(series("m", n=f"{number}-{n}") for n in range(size)))
        part = SampleMatrix(np.array([BASE_MS, BASE_MS + 1], np.int64), np.ones((size, 2)), None)
        put(model, layout, part)
        store.append([envelope(number + 1, (layout, part))])
        if number == 0:
            store.flush()
    assert cells_of(store.select(_ANY, *EVERYTHING_MS)) == model
    store.close()


@pytest.mark.parametrize("name", ["_MOST_TOGETHER", "_SOME_BLOCKS", "_MOST_BYTES", "_FEW_SERIES", "_FEW_RUNS"])
def test_what_is_kept_changes_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Nor does how strips are put together."""
    monkeypatch.setattr(f"peerwatch.store.selection.{name}", 1 if name == "_SOME_BLOCKS" else 0)
    store, model = _filled(tmp_path)
    for start_ms, end_ms in (EVERYTHING_MS, (BASE_MS + 20_000, BASE_MS + 3 * HOUR_MS)):
        for _ in range(2):
            one = [Matcher("host", MatchOp.EQUAL, "h0")]
            wanted = {k: v for k, v in between(model, start_ms, end_ms).items() if k.get("host") == "h0"}
            found = store.select(one, start_ms, end_ms)
            assert cells_of(found) == wanted
            _same_times(found)
            assert cells_of(store.select(_ANY, start_ms, end_ms)) == between(model, start_ms, end_ms)
    store.close()


def test_series_of_a_target_share_their_timeline(tmp_path: Path) -> None:
    """Which saves comparing their times; where samples came twice nothing is said."""
    store, _ = _filled(tmp_path)
    assert store.select(_ANY, *EVERYTHING_MS).timelines is None
    for end_ms in (BASE_MS + 2 * HOUR_MS + 1, EVERYTHING_MS[1]):
        _same_times(store.select([Matcher("host", MatchOp.EQUAL, "h0")], BASE_MS + 1, end_ms))
    found = store.select([Matcher("host", MatchOp.EQUAL, "h0")], *EVERYTHING_MS)
    assert found.timelines is not None and len(set(found.timelines.tolist())) == 1, "the series of a target share them"
    store.close()


def test_a_read_ends_at_its_limit(tmp_path: Path) -> None:
    """At one sample more than it may hold."""
    store, model = _filled(tmp_path)
    count = sum(len(cells) for cells in between(model, BASE_MS, BASE_MS + HOUR_MS).values())
    repeated = 2 * 3 * 2 * 40  # cells of which two runs are read
    store.select(_ANY, BASE_MS, BASE_MS + HOUR_MS, max_samples=count + repeated)
    with pytest.raises(LimitError, match="narrow its selectors"):
        store.select(_ANY, BASE_MS, BASE_MS + HOUR_MS, max_samples=count - 1)
    store.close()


def test_series_that_come_later_are_found(tmp_path: Path) -> None:
    """What was found before is not taken for all there is."""
    store = Store.open(
        tmp_path, StoreConfig(), clock=ManualClock(), decode_envelope=decode, registry=CollectorRegistry()
    )
    for number in range(3):
        layout = store.layout((series("m", n=str(number)),))
        part = SampleMatrix(np.array([BASE_MS + number], np.int64), np.ones((1, 1)), None)
        store.append([envelope(number + 1, (layout, part))])
        assert len(store.select(_ANY, *EVERYTHING_MS).labels) == number + 1
        assert len(store.select(_ANY, BASE_MS + number, BASE_MS + number).labels) == 1
    store.close()


def test_what_was_found_is_kept_under_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """The least recently used goes; of another size of the index nothing is known."""
    monkeypatch.setattr("peerwatch.store.found_cache._MAX_ROWS", 5)

    def key(name: str) -> tuple[Matcher, ...]:
        return (Matcher("a", MatchOp.EQUAL, name),)

    def found(rows: int) -> Found:
        return Found(np.arange(rows), np.arange(rows), [series("m").labels] * rows)

    cache = FoundCache()
    cache.put(key("x"), 1, found(2))
    cache.put(key("y"), 1, found(2))
    assert cache.get(key("x"), 1) is not None and cache.get(key("x"), 2) is None
    cache.put(key("z"), 1, found(2))
    assert [cache.get(key(name), 1) is not None for name in "xyz"] == [True, False, True]
    cache.put(key("x"), 2, found(6))
    assert [cache.get(key(name), 2) is not None for name in "xyz"] == [False, False, False]
