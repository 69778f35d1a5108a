"""The page on which a hub shows a machine's newest samples."""

from __future__ import annotations

import numpy as np

from peerwatch.model import KEY_BIAS, STALE, Labels, MetricType, SeriesSet
from peerwatch.model.assembly import assemble
from peerwatch.query.limits import Budget, Limits
from peerwatch.query.target_page import PageRequest, target_page
from peerwatch.wire.exposition import ExpositionParser
from tests.model.native import MARKER, Native, series_set, stored
from tests.promql.memory import MemoryQueryable
from tests.query.test_api import FixedClock

MEANINGS = {
    "load": (MetricType.GAUGE, "Load.\nOf one minute.", ""),
    "req_bucket": (MetricType.HISTOGRAM, "Requests.", ""),
    "req_count": (MetricType.HISTOGRAM, "Requests.", ""),
    "seen_total": (MetricType.COUNTER, "Seen.", ""),
}
TIMES = np.array([40_000, 70_000], np.int64)


def _page(memory: object, *, timestamps: bool = False, now_ms: int = 100_000, lookback_ms: int = 300_000) -> str:
    asked = PageRequest("web-1", "node", now_ms, lookback_ms, timestamps)
    budget = Budget.start(Limits(), FixedClock())
    return target_page(memory, MEANINGS, budget, asked).decode()  # type: ignore[arg-type]  # whatever can select


def _source() -> MemoryQueryable:
    memory = MemoryQueryable()
    mine = {"instance": "web-1", "job": "node"}
    memory.add(Labels.of(mine, __name__="load"), TIMES, np.array([1.0, 0.25]))
    memory.add(Labels.of(mine, __name__="load", instance="web-2"), TIMES, np.array([7.0, 7.0]))
    memory.add(Labels.of(mine, __name__="up"), TIMES, np.array([1.0, 1.0]))
    memory.add(Labels.of(mine, __name__="ended"), TIMES, np.array([1.0, float(STALE)]))
    memory.add(Labels.of(mine, __name__="req_bucket", le="+Inf"), TIMES, np.array([1.0, 2.0]))
    memory.add(Labels.of(mine, __name__="req_count"), TIMES, np.array([1.0, 2.0]))
    memory.add(
        Labels.of(instance="web-1", job="shop", target="a:1", __name__="seen_total"), TIMES, np.array([3.0, 4.0])
    )
    memory.add(Labels.of({"instance": "web-1", "__name__": "odd.name", "a-b": 'x"y'}), TIMES, np.array([1.0, np.nan]))
    memory.add(Labels.of(instance="web-1", nameless="1"), TIMES, np.array([1.0, 1.0]))
    return memory


def test_the_newest_samples_as_the_machine_itself_would_show_them() -> None:
    """Types and help; no instance, no job of its own, no `up`, nothing that ended, nobody else's, no timestamps."""
    assert _page(_source()) == (
        "# HELP load Load.\\nOf one minute.\n"
        "# TYPE load gauge\n"
        "load 0.25\n"
        "# TYPE odd_name untyped\n"
        'odd_name{a_b="x\\"y"} NaN\n'
        "# HELP req Requests.\n"
        "# TYPE req histogram\n"
        'req_bucket{le="+Inf"} 2\n'
        "req_count 2\n"
        "# HELP seen_total Seen.\n"
        "# TYPE seen_total counter\n"
        'seen_total{job="shop",target="a:1"} 4\n'
    )


def test_with_timestamps_every_line_has_one() -> None:
    """In milliseconds, and our own parser reads them back."""
    page = _page(_source(), timestamps=True)
    assert "load 0.25 70000\n" in page
    times = ExpositionParser().parse(page.encode()).times_ms
    assert times is not None and set(times.tolist()) == {70_000}


def test_what_is_older_than_the_lookback_is_not_shown() -> None:
    """The oldest that counts is one millisecond inside."""
    assert _page(_source(), lookback_ms=30_000) == ""
    assert "load 0.25\n" in _page(_source(), lookback_ms=30_001)


class Fixed:
    """Gives one answer to every select."""

    def __init__(self, found: SeriesSet) -> None:
        self._found = found

    def select(self, *_: object, **__: object) -> SeriesSet:
        return self._found


def test_histograms_with_custom_bounds_become_classic_ones() -> None:
    """As in federation; exponential ones have no place in this format, and an ended one is gone."""
    custom = Native(-53, 0, 7.0, 2.5, buckets=((KEY_BIAS, 2.0), (KEY_BIAS + 2, 4.0)), bounds=(0.5, 1.0, 2e6))
    h, n, ended = (Labels.of(__name__="h", instance="web-1", job="node", n=n) for n in "123")
    rows = [(h, 1000, custom, 0), (n, 3000, Native(3, 0, 1.0), 0), (ended, 1000, custom, 0), (ended, 2000, MARKER, 0)]
    assert _page(Fixed(assemble(series_set(stored(rows))))) == (
        "# TYPE h histogram\n"
        'h_bucket{le="0.5",n="1"} 2\n'
        'h_bucket{le="1",n="1"} 2\n'
        'h_bucket{le="2e+06",n="1"} 6\n'
        'h_bucket{le="+Inf",n="1"} 7\n'
        'h_sum{n="1"} 2.5\n'
        'h_count{n="1"} 7\n'
    )
